"""Who earned what: every fill and payment of the one account, divided among the strategies that wanted it.

Strategies are netted before anything is traded, so a fill rarely is one strategy's alone. Each is a book of its own
here, in whole lots and exact dollars, and the books always add up to the account.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np

from bot.errors import StateError
from bot.model.decision import LotsArray, apportion
from bot.model.instrument import Instrument
from bot.model.money import MICRO_USD, ZERO, exact
from bot.model.order import Fill, FundingPayment, Liquidation
from bot.model.panel import FloatArray
from bot.sim.funding import FundingRound


class Attribution:
    """The strategies' shares of one account: `held_lots` (strategies, instruments) and each one's cash.

    `cash_usd` is what a strategy's trades cost it so far (before fees), so that its price profit is
    `cash + Σ held × mark`.
    """

    def __init__(self, held_lots: LotsArray, instruments: tuple[Instrument, ...]) -> None:
        self.held_lots = held_lots.copy()
        self.instruments = instruments
        strategies = len(held_lots)
        self.cash_usd = [ZERO] * strategies
        self.funding_usd = [ZERO] * strategies
        self.fees_usd = [ZERO] * strategies
        self._divided: dict[int, list[int]] = {}  # how the last fill of each instrument was

    def fill(self, fill: Fill, column: int, wanted: LotsArray) -> None:
        """Divide a fill by how far each strategy is from what it wants; `wanted` as `held_lots`.

        What the venue did on its own (stops, liquidations, settlements) goes by what each holds.
        """
        traded = fill.signed_lots
        if len(self.held_lots) == 1:
            self._trade(column, [traded], [fill.notional_usd if traded > 0 else -fill.notional_usd])
            self.fees_usd[0] += fill.fee_usd
            return
        held = self.held_lots[:, column]
        gap = wanted[:, column] - held
        if int(gap.sum()) == traded:
            parts = gap.tolist()
        elif int(gap.sum()) * traded > 0:
            parts = apportion(traded, _bearing(traded, gap))
        elif held.any() and int(held.sum()) != 0:
            parts = apportion(traded, _bearing(traded, -held))
        else:
            parts = [traded] + [0] * (len(held) - 1)
        paid = fill.notional_usd if traded > 0 else -fill.notional_usd
        self._trade(column, parts, _shares(paid, parts))
        self._divided[column] = parts
        for k, fee in enumerate(_shares(fill.fee_usd, [abs(part) for part in parts])):
            self.fees_usd[k] += fee

    def cross(self, column: int, wanted: LotsArray, mark: float) -> None:
        """Strategies that want opposite changes trade with each other at mark, without the venue and without fees."""
        parts = (wanted[:, column] - self.held_lots[:, column]).tolist()
        if sum(parts) != 0:
            raise ValueError("only changes that cancel out can be crossed")
        self._trade(column, parts, [self.instruments[column].notional(part, exact(mark)) for part in parts])

    def forfeit(self, event: Liquidation, column: int) -> None:
        """Divide the margin that a liquidator kept the way the position it took over was divided."""
        parts = self._divided.get(column) or [1] + [0] * (len(self.held_lots) - 1)
        for k, amount in enumerate(_shares(event.forfeited_usd, [abs(part) for part in parts])):
            self.cash_usd[k] -= amount

    def settle(self, settled: FundingRound) -> None:
        """Divide a whole settlement."""
        if len(self.held_lots) == 1:
            self.funding_usd[0] += settled.usd
            return
        for column, payment in settled.payments():
            self.payment(payment, column)

    def payment(self, payment: FundingPayment, column: int) -> None:
        """Divide funding by what each strategy holds; opposite holdings pay each other their part."""
        if len(self.held_lots) == 1:
            self.funding_usd[0] += payment.usd
            return
        held = self.held_lots[:, column].tolist()
        if sum(held) == 0:
            held = [1] + [0] * (len(held) - 1)
        for k, part in enumerate(_shares(payment.usd, held)):
            self.funding_usd[k] += part

    def price_usd(self, k: int, mark: FloatArray) -> Decimal:
        """Price profit of strategy `k`, its open lots at `mark`."""
        value = sum(
            (
                self.instruments[c].notional(int(self.held_lots[k, c]), exact(mark[c]))
                for c in np.flatnonzero(self.held_lots[k])
            ),
            ZERO,
        )
        return self.cash_usd[k] + value

    def check_held(self, held: LotsArray) -> None:
        """StateError where the account holds what no strategy here answers for."""
        answered = self.held_lots.sum(axis=0)
        for column in np.flatnonzero(answered != held).tolist():
            raise StateError(
                f"the account holds {held[column]} lots of {self.instruments[column].name}, but this config's strategies "
                f"answer for {answered[column]}: a strategy that holds some was removed or renamed, or the account was "
                "traded before this journal began; name the strategies as before, or close the position and start a new journal"
            )

    def state(self, strategies: Sequence[str]) -> dict[str, dict[str, str]]:
        """The strategies' cash, funding and fees by name, exact, as JSON values."""
        return {
            name: {
                "cash_usd": str(self.cash_usd[k]),
                "funding_usd": str(self.funding_usd[k]),
                "fees_usd": str(self.fees_usd[k]),
            }
            for k, name in enumerate(strategies)
        }

    def restore(self, strategies: Sequence[str], state: Mapping[str, Mapping[str, str]]) -> None:
        """Take up a saved `state`; a strategy that it does not name begins with nothing."""
        for k, name in enumerate(strategies):
            saved = state.get(name, {})
            self.cash_usd[k] = Decimal(saved.get("cash_usd", "0"))
            self.funding_usd[k] = Decimal(saved.get("funding_usd", "0"))
            self.fees_usd[k] = Decimal(saved.get("fees_usd", "0"))

    def _trade(self, column: int, parts: list[int], paid_usd: list[Decimal]) -> None:
        self.held_lots = self.held_lots.copy()  # a snapshot may still hold the old one
        for k, (part, amount) in enumerate(zip(parts, paid_usd, strict=True)):
            self.held_lots[k, column] += part
            self.cash_usd[k] -= amount


def _shares(amount: Decimal, weights: list[int]) -> list[Decimal]:
    """An amount in millionths divided by integer weights, exactly."""
    if sum(1 for weight in weights if weight) <= 1:
        return [amount if weight else ZERO for weight in weights]
    return [part * MICRO_USD for part in apportion(int(amount / MICRO_USD), weights)]


def _bearing(traded: int, gaps: LotsArray) -> list[int]:
    """By what a trade is divided, going by what would bring each where it belongs.

    As long as none gets more than its own gap, all of them count, also those of the other sign. Else only those that the
    trade makes smaller: opposite ones would grow against each other, without bound.
    """
    whole = int(gaps.sum())
    is_within = whole * traded > 0 and abs(traded) <= abs(whole)
    if is_within or (gaps >= 0).all() or (gaps <= 0).all():
        return [int(gap) for gap in gaps]
    return [max(0, int(gap) * (1 if traded > 0 else -1)) for gap in gaps]
