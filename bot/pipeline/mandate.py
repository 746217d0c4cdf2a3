"""What the trader has been told to do: which strategies, with how much, within which limits, and how to execute."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from math import inf

from bot.model.spread import Spread, pairs
from bot.pipeline.strategy import Strategy


@dataclass(frozen=True, slots=True)
class Slot:
    """A strategy on the account with its own capital, a share of equity (may sum to more than 1).

    `by_hand` marks the slot of orders that the operator gives: what it holds is kept until another order changes it.
    With `spreads` its opinions are of these, each told in the column of the primary leg, and both legs are held.
    """

    name: str
    strategy: Strategy
    capital: float
    by_hand: bool = False
    spreads: tuple[Spread, ...] = ()


@dataclass(frozen=True, slots=True)
class Sizing:
    """From scores to quantities.

    `position_size` is the share of a strategy's capital in one position at score ±1. With a `volatility_target`
    (annualised fraction of the strategy's capital that one position may contribute) a position is cut where the
    instrument's realised volatility over `volatility_lookback_h` asks for less. Inside the `no_trade_band` (a share
    of the wanted size) nothing is traded. `cooldown_h` keeps an instrument flat after a stop or a liquidation.
    """

    position_size: float = 0.25
    volatility_target: float | None = None
    volatility_lookback_h: int = 168
    no_trade_band: float = 0.25
    cooldown_h: int = 24


@dataclass(frozen=True, slots=True)
class Limits:
    """What no opinion may exceed. Shares and moves are fractions; `inf` switches a limit off."""

    max_position_usd: float = float("inf")
    max_position_share: float = 1.0  # of equity, per instrument
    max_gross_leverage: float = 3.0
    max_net_leverage: float = 2.0
    max_open_interest_share: float = 0.02
    max_volume_share: float = 0.05  # of the last 24 h of volume
    max_data_age_h: int = 3
    max_mark_deviation: float = 0.10  # mark against oracle
    min_free_margin: float = 0.2  # of equity, after initial margin
    min_liquidation_distance: float = 0.10  # relative price move of one instrument
    stress_move: float = 0.15  # all prices against the book at once
    stress_loss: float = 0.5  # of equity, in that case and an hour of funding at the cap
    max_daily_loss: float = 0.05  # of the UTC day's opening equity
    max_drawdown: float = 0.25  # from the high-water mark
    max_depeg: float = 0.02  # relative distance of a spread's legs' prices beyond which it may not grow
    max_venue_leverage: float = float("inf")  # gross at one venue over all equity, where there are several
    min_edge_ratio: float = 0.0  # expected edge over round-trip cost, for opening


class Style(StrEnum):
    """How entries trade: take what is offered at once, or post and wait."""

    TAKER = "taker"
    MAKER = "maker"


@dataclass(frozen=True, slots=True)
class Execution:
    """How targets become orders. Prices are bounded by `slippage_bps` from mark; exits always take.

    `stop_loss` and `take_profit` are relative moves from the entry price at which a reduce-only trigger rests at the
    venue; a resting one is replaced when its price is off by more than `stop_tolerance` of that move. None rests for an
    instrument in `unstopped`: on a leg of a spread it would leave the other leg alone.

    Of a spread one leg is opened ahead of the other by at most `max_unhedged_usd`, and not at all where the venues'
    smallest order is more; what closes may be ahead by such an order. After `hedge_attempts`, each at a worse price, the
    first leg is taken back.
    """

    style: Style = Style.TAKER
    slippage_bps: float = 50.0
    stop_loss: float | None = None
    take_profit: float | None = None
    stop_tolerance: float = 0.1
    taker_fee: float = 0.00045  # fractions of notional, for the edge rule and the strategies' own cost gates
    half_spread: float = 0.0001
    max_unhedged_usd: float = 5_000.0
    hedge_attempts: int = 3
    unstopped: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Guard:
    """The protective distances of one position in place of the mandate's, as fractions of its entry price.

    `sign` is that of the position they were given for; 0 for either.
    """

    stop_loss: float | None = None
    take_profit: float | None = None
    sign: int = 0

    def covers(self, lots: int) -> bool:
        """Whether a position of so many lots is still the one."""
        return lots != 0 and self.sign * lots >= 0


@dataclass(frozen=True, slots=True)
class Mandate:
    """All of it together: the second half of what a decision depends on, beside the snapshot."""

    strategies: tuple[Slot, ...]
    sizing: Sizing = field(default_factory=Sizing)
    limits: Limits = field(default_factory=Limits)
    execution: Execution = field(default_factory=Execution)

    @property
    def spreads(self) -> tuple[Spread, ...]:
        """Of all strategies. A leg belongs to one spread alone, else one could grow by what another gives up."""
        return tuple(each for slot in self.strategies for each in slot.spreads)

    def check_legs(self) -> None:
        """ValueError where an instrument is a leg of two spreads."""
        pairs(self.spreads)
        legs = [leg.name for each in self.spreads for leg in each.legs]
        twice = next((name for name in legs if legs.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice} is a leg of two spreads; a leg belongs to one")

    def cautions(self) -> tuple[str, ...]:
        """What is allowed but should be known before it runs, a sentence each."""
        total = sum(slot.capital for slot in self.strategies if slot.capital)
        if total <= 1 + 1e-9:
            return ()
        parts = " + ".join(f"{slot.name} {slot.capital:g}" for slot in self.strategies if slot.capital)
        sentence = (
            f"the strategies' capital adds up to {total:g} × equity ({parts}), so the same money backs more than one "
            f"opinion; only the limits hold the book, gross leverage at {self.limits.max_gross_leverage:g}"
        )
        return (sentence,)

    def protection_cautions(self, leverage: int, *, isolated: bool, is_daemon: bool) -> tuple[str, ...]:
        """What of the protective stops should be known where positions are opened with so much leverage.

        A position on its own margin dies at about `(1 / leverage - m) / (1 - m)` from entry, `m` being the maintenance
        rate: half of `1 / leverage` for a coin that allows no more. The whole book on cross margin has the same form,
        with the largest gross leverage allowed.
        """
        stop = self.execution.stop_loss
        if stop is None:
            if not is_daemon:
                return ()
            return (
                "no stop rests at the venue: nothing protects what is held while the daemon is down; set execution.stop_loss",
            )
        borrowed = float(leverage) if isolated else self.limits.max_gross_leverage
        rate = 1 / (2 * max(borrowed, 1.0))
        distance = (1 / borrowed - rate) / (1 - rate) if borrowed > 1 else inf
        if stop < distance:
            return ()
        how = f"isolated margin at leverage {leverage}" if isolated else f"a gross leverage of {borrowed:g}"
        sentence = (
            f"execution.stop_loss = {stop:.0%} can lie beyond the liquidation: with {how} that may be {distance:.0%} from "
            "entry; lower the one or the other"
        )
        return (sentence,)
