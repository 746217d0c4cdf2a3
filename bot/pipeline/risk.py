"""Every rule between what is wanted and what is allowed, in the order in which they speak.

A rule may shrink a position, never grow or turn it; that is asserted around each of them, once, so a wish to close
can't be refused by any. Rules look at the whole book, held positions included, not only at what changes. What is
already held may outgrow a limit by `SLACK` before it is cut back, otherwise prices that drift would trade all day.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bot.model.decision import BoolArray, Finding, LotsArray, Opinion, Targets, TradingState
from bot.model.funding import CAP_PER_H
from bot.model.order import Purpose
from bot.model.panel import FloatArray
from bot.pipeline.mandate import Mandate
from bot.pipeline.portfolio import shrunk
from bot.pipeline.snapshot import Snapshot

SLACK = 1.1
PROTECTIVE = (Purpose.STOP, Purpose.TAKE_PROFIT)

Findings = tuple[Finding, ...]
Verdict = tuple[LotsArray, Findings]


def review(
    targets: Targets, opinions: Sequence[Opinion], snapshot: Snapshot, mandate: Mandate
) -> tuple[Targets, Findings]:
    """Pass the whole book through every rule, in order; every cut comes back as a finding."""
    lots = targets.lots
    if not lots.any():
        return targets, ()
    case = Case.of(targets, opinions, snapshot, mandate)
    findings: Findings = ()
    for rule in RULES:
        reviewed, found = rule(lots, case)
        if reviewed is not lots:
            assert no_larger(reviewed, lots), f"{rule.__name__} grew or turned a position"
            lots, findings = reviewed, findings + found
    return (targets if lots is targets.lots else shrunk(targets, lots)), findings


def no_larger(lots: LotsArray, than: LotsArray) -> bool:
    """No position grew and none changed sides."""
    return bool(((np.abs(lots) <= np.abs(than)) & (lots * np.sign(than) >= 0)).all())


@dataclass(frozen=True, slots=True)
class Load:
    """The book as wanted, in USD: gross, net, its largest position, and the initial margin it takes."""

    gross: float
    net: float
    largest: float
    margin: float


def _exposure(
    lots: LotsArray, price: FloatArray, held: LotsArray, buying: LotsArray | None, selling: LotsArray | None
) -> FloatArray:
    if buying is not None and selling is not None:
        long, short = held + buying, held - selling
        worse = np.where(np.abs(long) > np.abs(short), long, short)
        in_flight = (buying + selling > 0) & (np.abs(worse) > np.abs(lots))
        lots = np.where(in_flight, worse, lots)
    # A column without any price yet holds nothing; NaN × 0 must not spread.
    value: FloatArray = np.where(lots != 0, lots * price, 0.0)
    return value


@dataclass(frozen=True, slots=True)
class Case:
    """What the rules look at, worked out once: prices for every column that has one, exposure still in flight."""

    snapshot: Snapshot
    mandate: Mandate
    targets: Targets
    opinions: Sequence[Opinion]
    held: LotsArray
    price: FloatArray  # USD per lot; the entry price where no mark is known now, 0 where nothing is
    equity: float
    buying: LotsArray | None  # lots of resting orders that could still open, per side; None: no such order
    selling: LotsArray | None
    wanted: Load

    @classmethod
    def of(cls, targets: Targets, opinions: Sequence[Opinion], snapshot: Snapshot, mandate: Mandate) -> Case:
        market, account = snapshot.market, snapshot.account
        price = market.usd_per_lot
        if not market.all_fresh:
            price = np.where(market.priced, price, account.entry_price / market.prepared.lots_per_coin)
        buying = selling = None
        for report in account.open_orders:
            if report.order.reduce_only or report.order.purpose in PROTECTIVE:
                continue
            if buying is None or selling is None:
                buying, selling = np.zeros_like(account.lots), np.zeros_like(account.lots)
            column = market.prepared.panel.instruments.index(report.order.instrument)
            side = buying if report.order.signed_lots > 0 else selling
            side[column] += report.remaining_lots
        value = _exposure(targets.lots, price, account.lots, buying, selling)
        gross = np.abs(value)
        wanted = Load(
            float(gross.sum()), float(value.sum()), float(gross.max()), float(gross @ (1 / account.leverage))
        )
        return cls(
            snapshot,
            mandate,
            targets,
            opinions,
            account.lots,
            price,
            account.equity_usd,
            buying,
            selling,
            wanted,
        )

    def exposure(self, lots: LotsArray) -> FloatArray:
        """Signed USD per instrument if `lots` were held, or what resting orders could make of it, if that is worse."""
        return _exposure(lots, self.price, self.held, self.buying, self.selling)

    def fits(self, lots: LotsArray, load: float, room: float) -> bool:
        """Whether the book as first wanted is within a limit already, so that a rule need not look closer.

        Rules before it can only have shrunk the book; but a hedge that shrank may have left a larger net.
        """
        return load <= room and lots is self.targets.lots

    def names(self, columns: BoolArray) -> list[str]:
        instruments = self.snapshot.market.prepared.panel.instruments
        return [instruments[column] for column in np.flatnonzero(columns)]


def kept_part(lots: LotsArray, held: LotsArray) -> LotsArray:
    """The part of the targets that is held already: never an increase, a turn becomes flat."""
    same = lots * np.sign(held) > 0
    return np.where(same, np.sign(lots) * np.minimum(np.abs(lots), np.abs(held)), 0)


def _only_reduce(lots: LotsArray, case: Case, where: BoolArray | bool, rule: str, because: str) -> Verdict:
    kept = np.where(where, kept_part(lots, case.held), lots)
    cut = kept != lots
    if not cut.any():
        return lots, ()
    return kept, tuple(Finding(rule, name, f"no increase: {because}") for name in case.names(cut))


def _fit(lots: LotsArray, case: Case, rule: str, load: Callable[[LotsArray], float], because: str) -> Verdict:
    """Scale the book until `load` (1 = exactly at the limit) fits: increases first, then what is held.

    `load` must not rise as positions shrink in proportion. Twenty halvings put the factor within a millionth.
    """
    before = load(lots)
    if before <= 1:
        return lots, ()
    kept = kept_part(lots, case.held)
    if load(kept) <= SLACK:
        if load(kept) > 1:
            fitted, what = kept, "no increase"
        else:
            fitted, what = (
                _largest(lambda f: kept + ((lots - kept) * f).astype(np.int64), load),
                "increases cut",
            )
    else:
        fitted, what = _largest(lambda f: (kept * f).astype(np.int64), load), "positions cut"
    if np.array_equal(fitted, lots):
        return lots, ()
    return fitted, (Finding(rule, "", f"{what}: {because.format(before)}"),)


def _largest(book: Callable[[float], LotsArray], load: Callable[[LotsArray], float]) -> LotsArray:
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if load(book(middle)) <= 1 else (low, middle)
    return book(low)


# The rules


def trading_state(lots: LotsArray, case: Case) -> Verdict:
    """While trading is reduced or halted nothing may grow."""
    state = case.snapshot.state
    if state is TradingState.ACTIVE:
        return lots, ()
    return _only_reduce(lots, case, True, "trading_state", f"trading is {state}")


def data_freshness(lots: LotsArray, case: Case) -> Verdict:
    """No increase without a price and a funding rate of this moment; none kept when they have been missing long."""
    market, limit = case.snapshot.market, case.mandate.limits.max_data_age_h
    if market.all_fresh:
        return lots, ()
    stale = ~market.fresh
    lost = stale & (market.age_h > limit)
    kept = np.where(lost, 0, np.where(stale, kept_part(lots, case.held), lots))
    cut = kept != lots
    if not cut.any():
        return lots, ()
    age_h, findings = market.age_h, []
    for column in np.flatnonzero(cut):
        name = market.prepared.panel.instruments[column]
        since = f"for {age_h[column]:.0f} h" if np.isfinite(age_h[column]) else "since the data begins"
        what = "closed" if lost[column] else "no increase"
        findings.append(Finding("data_freshness", name, f"{what}: price or funding unknown {since}"))
    return kept, tuple(findings)


def price_sanity(lots: LotsArray, case: Case) -> Verdict:
    """A mark far from its oracle is somebody else's mistake or attack: nothing may grow on it."""
    if case.snapshot.market.all_sane:
        return lots, ()
    sane = case.snapshot.market.sane
    limit = case.mandate.limits.max_mark_deviation
    return _only_reduce(lots, case, ~sane, "price_sanity", f"mark is more than {limit:.0%} from the oracle")


def drawdown(lots: LotsArray, case: Case) -> Verdict:
    """Everything is closed once equity has fallen too far below its high-water mark."""
    mark, limit = case.snapshot.memory.high_water_mark_usd, case.mandate.limits.max_drawdown
    if case.equity > mark * (1 - limit):
        return lots, ()
    detail = f"all closed: equity {case.equity:,.0f} is more than {limit:.0%} below its high of {mark:,.0f}"
    return np.zeros_like(lots), (Finding("drawdown", "", detail),)


def daily_loss(lots: LotsArray, case: Case) -> Verdict:
    """Nothing may grow for the rest of a UTC day that has lost too much."""
    opened, limit = case.snapshot.memory.day_open_usd, case.mandate.limits.max_daily_loss
    if case.equity > opened * (1 - limit):
        return lots, ()
    because = f"equity {case.equity:,.0f} is more than {limit:.0%} below the day's opening {opened:,.0f}"
    return _only_reduce(lots, case, True, "daily_loss", because)


def edge_over_costs(lots: LotsArray, case: Case) -> Verdict:
    """Nothing is opened whose stated edge does not pay for getting in and out."""
    execution, ratio = case.mandate.execution, case.mandate.limits.min_edge_ratio
    if ratio <= 0 or all(opinion.edge is None for opinion in case.opinions):
        return lots, ()
    cost = 2 * (execution.taker_fee + execution.half_spread)
    edges = [
        np.where(part != 0, np.inf if opinion.edge is None else opinion.edge, -np.inf)
        for part, opinion in zip(case.targets.by_strategy, case.opinions, strict=True)
    ]
    poor = ~(np.max(edges, axis=0) >= ratio * cost)
    return _only_reduce(
        lots, case, poor, "edge_over_costs", f"edge below {ratio:g} × round-trip cost {cost:.2%}"
    )


def position_size(lots: LotsArray, case: Case) -> Verdict:
    """Per instrument: USD, share of equity, and for increases what open interest and volume can bear."""
    limits = case.mandate.limits
    own_cap = min(limits.max_position_usd, limits.max_position_share * max(case.equity, 0.0))
    if not case.snapshot.market.prepared.conditions.capped and case.fits(lots, case.wanted.largest, own_cap):
        return lots, ()
    cap_usd = case.snapshot.market.cap_usd
    value = np.abs(case.exposure(lots))
    over = value > np.minimum(own_cap, cap_usd)
    if not over.any():
        return lots, ()
    with np.errstate(divide="ignore", invalid="ignore"):
        increase_cap = np.nan_to_num(np.minimum(own_cap, cap_usd) / case.price, posinf=2**62, nan=0.0)
        held_cap = np.nan_to_num(own_cap / case.price, posinf=2**62, nan=0.0)
    kept = np.abs(kept_part(lots, case.held))
    held_limit = np.where(kept * case.price > own_cap * SLACK, held_cap, kept)
    allowed = np.maximum(held_limit.astype(np.int64), np.minimum(increase_cap, 2**62).astype(np.int64))
    reviewed = np.where(over, np.sign(lots) * np.minimum(np.abs(lots), allowed), lots)
    cut = reviewed != lots
    if not cut.any():
        return lots, ()
    findings = []
    for column in np.flatnonzero(cut):
        what = "volume or open interest" if cap_usd[column] < own_cap else "position limit"
        detail = (
            f"cut from {value[column]:,.0f} to {abs(reviewed[column] * case.price[column]):,.0f} USD: {what}"
        )
        findings.append(
            Finding("position_size", case.snapshot.market.prepared.panel.instruments[column], detail)
        )
    return reviewed, tuple(findings)


def gross_leverage(lots: LotsArray, case: Case) -> Verdict:
    """All exposures together, longs and shorts alike, stay within a multiple of equity."""
    room = case.mandate.limits.max_gross_leverage * max(case.equity, 0.0)
    if case.fits(lots, case.wanted.gross, room):
        return lots, ()
    because = f"gross exposure {{:.0%}} of the limit of {case.mandate.limits.max_gross_leverage:g} × equity"
    return _fit(lots, case, "gross_leverage", lambda x: _ratio(np.abs(case.exposure(x)).sum(), room), because)


def net_leverage(lots: LotsArray, case: Case) -> Verdict:
    """Longs against shorts stay within a multiple of equity; only the heavier side gives way."""
    room = case.mandate.limits.max_net_leverage * max(case.equity, 0.0)
    if case.fits(lots, abs(case.wanted.net), room) or abs(case.exposure(lots).sum()) <= room:
        return lots, ()
    heavy = np.sign(case.exposure(lots).sum())
    light = np.where(np.sign(lots) == heavy, 0, lots)  # the other side stays: it lowers the net
    because = f"net exposure {{:.0%}} of the limit of {case.mandate.limits.max_net_leverage:g} × equity"

    def load(side: LotsArray) -> float:
        return _ratio(max(0.0, heavy * case.exposure(light + side).sum()), room)

    fitted, findings = _fit(lots - light, case, "net_leverage", load, because)
    return (light + fitted, findings) if findings else (lots, ())


def free_margin(lots: LotsArray, case: Case) -> Verdict:
    """Initial margin leaves a share of equity free, for the day when it is needed."""
    room = (1 - case.mandate.limits.min_free_margin) * max(case.equity, 0.0)
    if case.fits(lots, case.wanted.margin, room):
        return lots, ()
    leverage = case.snapshot.account.leverage
    because = f"initial margin {{:.0%}} of what may be used ({1 - case.mandate.limits.min_free_margin:.0%} of equity)"
    return _fit(
        lots,
        case,
        "free_margin",
        lambda x: _ratio((np.abs(case.exposure(x)) / leverage).sum(), room),
        because,
    )


def liquidation_distance(lots: LotsArray, case: Case) -> Verdict:
    """No single price may liquidate the account by moving less than the limit; tier-exact."""
    limit, tiers = case.mandate.limits.min_liquidation_distance, case.snapshot.market.prepared.tiers

    def load(book: LotsArray) -> float:
        # `distance` is the move that kills; the limit over it is 1 exactly at the limit.
        nearest = tiers.liquidation_distance(case.exposure(book), case.equity).min()
        return _ratio(limit, nearest)

    gross, largest = case.wanted.gross, case.wanted.largest  # no smaller than what is left of them by now
    if largest * limit + tiers.highest_rate * (gross + largest * limit) <= case.equity:
        return lots, ()  # safe even if every position were in its last tier
    return _fit(
        lots, case, "liquidation_distance", load, f"liquidation at {{:.1f}} × nearer than {limit:.0%}"
    )


def portfolio_stress(lots: LotsArray, case: Case) -> Verdict:
    """All prices move together against the book while an hour's funding goes at the cap."""
    limits = case.mandate.limits
    room = limits.stress_loss * max(case.equity, 0.0)
    if case.fits(lots, abs(case.wanted.net) * limits.stress_move + case.wanted.gross * CAP_PER_H, room):
        return lots, ()

    def load(book: LotsArray) -> float:
        value = case.exposure(book)
        return _ratio(abs(value.sum()) * limits.stress_move + np.abs(value).sum() * CAP_PER_H, room)

    because = f"loss {{:.0%}} of the limit if all prices move {limits.stress_move:.0%} at once and funding is at its cap"
    return _fit(lots, case, "portfolio_stress", load, because)


def _ratio(load: float, room: float) -> float:
    if room > 0:
        return float(load / room)
    return float("inf") if load > 0 else 0.0


RULES: tuple[Callable[[LotsArray, Case], Verdict], ...] = (
    trading_state,
    data_freshness,
    price_sanity,
    drawdown,
    daily_loss,
    edge_over_costs,
    position_size,
    gross_leverage,
    net_leverage,
    free_margin,
    liquidation_distance,
    portfolio_stress,
)
