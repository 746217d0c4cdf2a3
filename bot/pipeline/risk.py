"""Every rule between what is wanted and what is allowed, in the order in which they speak.

A rule may shrink a position, never grow or turn it; that is asserted around each of them, once, so a wish to close
can't be refused by any. Rules look at the whole book, held positions included, not only at what changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bot.model.decision import BoolArray, Finding, LotsArray, Opinion, Targets, TradingState
from bot.model.funding import CAP_PER_H
from bot.pipeline.exposure import Case, Exposure
from bot.pipeline.fitting import SLACK, Findings, Verdict, fit, kept_part, no_larger, only_reduce, ratio
from bot.pipeline.mandate import Mandate
from bot.pipeline.portfolio import shrunk
from bot.pipeline.risk_legs import both_legs, peg, venue_share
from bot.pipeline.snapshot import Snapshot


def review(
    targets: Targets, opinions: Sequence[Opinion], snapshot: Snapshot, mandate: Mandate
) -> tuple[Targets, Findings]:
    """Pass the whole book through every rule, in order; every cut comes back as a finding."""
    lots = targets.lots
    if not np.count_nonzero(lots):
        return targets, ()
    case = Case.of(targets, opinions, snapshot, mandate)
    if nothing_binds(case):
        return targets, ()
    findings: Findings = ()
    for rule in RULES:
        reviewed, found = rule(lots, case)
        if reviewed is not lots:
            assert no_larger(reviewed, lots), f"{rule.__name__} grew or turned a position"
            lots, findings = reviewed, findings + found
    return (targets if lots is targets.lots else shrunk(targets, lots)), findings


def nothing_binds(case: Case) -> bool:
    """Whether the book as wanted is plainly within what every rule allows; then none has to be asked.

    On most bars it is. Each rule's own first look is here, all in one pass, so that a new rule needs a line here too.
    """
    snapshot, limits, equity, wanted = case.snapshot, case.mandate.limits, case.equity, case.wanted
    market, memory = snapshot.market, snapshot.memory
    if not (
        snapshot.state is TradingState.ACTIVE
        and market.all_fresh
        and market.all_sane
        and snapshot.account.isolated_usd is None
        and snapshot.account.wallet_usd is None
        and not market.prepared.spreads
        and limits.min_edge_ratio <= 0
        and equity > 0
        and equity > memory.high_water_mark_usd * (1 - limits.max_drawdown)
        and equity > memory.day_open_usd * (1 - limits.max_daily_loss)
    ):
        return False
    gross, net, largest, prepared = wanted.gross, wanted.net, wanted.largest, market.prepared
    worst_move = largest * limits.min_liquidation_distance
    return (
        largest <= limits.max_position_usd
        and largest <= limits.max_position_share * equity
        and gross <= limits.max_gross_leverage * equity
        and gross <= (1 - limits.min_free_margin) * equity
        and worst_move + prepared.tiers.highest_rate * (gross + worst_move) <= equity
        and net * limits.stress_move + gross * CAP_PER_H <= limits.stress_loss * equity
        and net <= limits.max_net_leverage * equity
        and not (prepared.conditions.capped and np.count_nonzero(wanted.by_instrument > market.cap_usd))
    )


# The rules


def trading_state(lots: LotsArray, case: Case) -> Verdict:
    """While trading is reduced or halted nothing may grow."""
    state = case.snapshot.state
    if state is TradingState.ACTIVE:
        return lots, ()
    return only_reduce(lots, case, True, "trading_state", f"trading is {state}")


def data_freshness(lots: LotsArray, case: Case) -> Verdict:
    """No increase without a price and a funding rate of this moment; none kept when they have been missing long.

    Without a price nothing trades, so what is to be closed waits for one.
    """
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
        unknown, what = ("funding" if market.priced[column] else "price"), "no increase"
        if lost[column] and case.held[column]:
            what = "closed" if market.priced[column] else "closes as soon as there is a price"
        findings.append(Finding("data_freshness", name, f"{what}: {unknown} unknown {since}"))
    return kept, tuple(findings)


def price_sanity(lots: LotsArray, case: Case) -> Verdict:
    """A mark far from its oracle is somebody else's mistake or attack: nothing may grow on it."""
    if case.snapshot.market.all_sane:
        return lots, ()
    sane = case.snapshot.market.sane
    limit = case.mandate.limits.max_mark_deviation
    return only_reduce(lots, case, ~sane, "price_sanity", f"mark is more than {limit:.0%} from the oracle")


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
    return only_reduce(lots, case, True, "daily_loss", because)


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
    return only_reduce(
        lots, case, poor, "edge_over_costs", f"edge below {ratio:g} × round-trip cost {cost:.2%}"
    )


def position_size(lots: LotsArray, case: Case) -> Verdict:
    """Per instrument: USD, share of equity, and for increases what open interest and volume can bear."""
    limits = case.mandate.limits
    own_cap = min(limits.max_position_usd, limits.max_position_share * max(case.equity, 0.0))
    if not case.snapshot.market.prepared.conditions.capped and case.fits(lots, case.wanted.largest, own_cap):
        return lots, ()
    cap_usd = case.snapshot.market.cap_usd
    value = np.abs(case.exposure(lots).usd)
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
    return fit(lots, case, "gross_leverage", lambda book: ratio(book.gross, room), because)


def free_margin(lots: LotsArray, case: Case) -> Verdict:
    """Initial margin leaves a share of each wallet's equity free, for the day when it is needed; spot is paid in full."""
    room = (1 - case.mandate.limits.min_free_margin) * max(case.equity, 0.0)
    if case.snapshot.account.wallet_usd is None and case.fits(lots, case.wanted.gross, room):
        return lots, ()  # at a leverage of 1 even
    findings: Findings = ()
    for columns, equity, is_spot in case.wallets:
        lots, found = _margin_of(lots, case, columns, equity, is_spot=is_spot)
        findings += found
    return lots, findings


def _margin_of(lots: LotsArray, case: Case, columns: BoolArray, equity: float, *, is_spot: bool) -> Verdict:
    used = 1.0 if is_spot else 1 - case.mandate.limits.min_free_margin
    room, leverage = used * max(equity, 0.0), case.snapshot.account.leverage
    apart = np.where(columns, 0, lots)
    fitted, findings = fit(
        lots - apart,
        case,
        "free_margin",
        lambda book: ratio((np.where(columns, np.abs(book.usd), 0.0) / leverage).sum(), room),
        f"initial margin {{:.0%}} of what may be used ({used:.0%} of equity)",
        apart,
    )
    return (apart + fitted, findings) if findings else (lots, ())


def isolated_distance(lots: LotsArray, case: Case) -> Verdict:
    """Nothing on its own margin is opened or grown where a price move below the limit would liquidate it.

    Its size does not change that distance much, so there is nothing to scale; and what is held stays: its margin is
    all that it can lose.
    """
    backing = case.snapshot.account.isolated_usd
    if backing is None:
        return lots, ()
    limit, tiers = case.mandate.limits.min_liquidation_distance, case.snapshot.market.prepared.tiers
    margin = case.own_margin(lots, backing)
    near = ~np.isnan(backing) & (tiers.isolated_distance(case.standing(lots).usd, margin) < limit)
    return only_reduce(lots, case, near, "isolated_distance", f"its own margin is gone within {limit:.0%}")


def liquidation_distance(lots: LotsArray, case: Case) -> Verdict:
    """No single price may liquidate a cross account by moving less than the limit; tier-exact, each wallet for itself."""
    limit, tiers = case.mandate.limits.min_liquidation_distance, case.snapshot.market.prepared.tiers
    account = case.snapshot.account
    if account.wallet_usd is not None:
        findings: Findings = ()
        for columns, equity, is_spot in case.wallets:
            if not is_spot:
                lots, found = _distance_of(lots, case, columns, equity)
                findings += found
        return lots, findings
    value, backing = case.equity, account.isolated_usd
    if backing is not None:
        value -= float(case.own_margin(lots, backing).sum())
    gross, largest = case.wanted.gross, case.wanted.largest  # no smaller than what is left of them by now
    if largest * limit + tiers.highest_rate * (gross + largest * limit) <= value:
        return lots, ()  # safe even if every position were in its last tier
    return _distance_of(lots, case, None if backing is None else np.isnan(backing), value)


def _distance_of(lots: LotsArray, case: Case, shared: BoolArray | None, value: float) -> Verdict:
    """The rule for the columns in `shared`, which `value` backs together; None for all."""
    limit, tiers = case.mandate.limits.min_liquidation_distance, case.snapshot.market.prepared.tiers

    def load(book: Exposure) -> float:
        # The distance is the move that kills; the limit over it is 1 exactly at the limit.
        usd = book.usd if shared is None else np.where(shared, book.usd, 0.0)
        return ratio(limit, tiers.liquidation_distance(usd, value).min())

    because = f"liquidation at {{:.1f}} × nearer than {limit:.0%}"
    if shared is None:
        return fit(lots, case, "liquidation_distance", load, because)
    apart = np.where(shared, 0, lots)
    fitted, findings = fit(lots - apart, case, "liquidation_distance", load, because, apart)
    return (apart + fitted, findings) if findings else (lots, ())


def portfolio_stress(lots: LotsArray, case: Case) -> Verdict:
    """All prices move together against the book while an hour's funding goes at the cap."""
    limits = case.mandate.limits
    room = limits.stress_loss * max(case.equity, 0.0)
    if case.fits(lots, case.wanted.net * limits.stress_move + case.wanted.gross * CAP_PER_H, room):
        return lots, ()

    def load(book: Exposure) -> float:
        return ratio(book.net * limits.stress_move + book.gross * CAP_PER_H, room)

    because = f"loss {{:.0%}} of the limit if all prices move {limits.stress_move:.0%} at once and funding is at its cap"
    return fit(lots, case, "portfolio_stress", load, because)


def net_leverage(lots: LotsArray, case: Case) -> Verdict:
    """Longs against shorts stay within a multiple of equity; only the heavier side gives way.

    The last word, because any rule may have cut a hedge; what it shrinks itself brings no other limit nearer. Legs of
    spreads are even by then, and stay so.
    """
    room = case.mandate.limits.max_net_leverage * max(case.equity, 0.0)
    if case.fits(lots, case.wanted.net, room) or case.exposure(lots).net <= room:
        return lots, ()
    lighter, findings = _lightened(lots, case, room)
    if findings and case.exposure(lighter).net > room:
        # More is in flight, one way and the other, than fits: nothing may grow until those orders are gone.
        lighter, _ = _lightened(kept_part(lighter, case.held), case, room)
    return (lighter, findings) if findings else (lots, ())


def _lightened(lots: LotsArray, case: Case, room: float) -> Verdict:
    """Cut the longs for what the book may come to on the long side, the shorts for what it may on the short."""
    because = f"net exposure {{:.0%}} of the limit of {case.mandate.limits.max_net_leverage:g} × equity"
    findings: Findings = ()
    legs = case.snapshot.market.prepared.legs
    for heavy in (1, -1):
        light = np.where(np.sign(lots) == heavy, 0, lots)  # the other side stays: it lowers the net
        for columns in (legs.primary, legs.hedge):
            light[columns] = lots[columns]

        def load(book: Exposure, heavy: int = heavy) -> float:
            return ratio(max(0.0, book.long if heavy > 0 else -book.short), room)

        fitted, found = fit(lots - light, case, "net_leverage", load, because, light)
        if found:
            lots, findings = light + fitted, findings + found
    return lots, findings


RULES: tuple[Callable[[LotsArray, Case], Verdict], ...] = (
    trading_state,
    data_freshness,
    price_sanity,
    peg,
    drawdown,
    daily_loss,
    edge_over_costs,
    position_size,
    gross_leverage,
    venue_share,
    free_margin,
    isolated_distance,
    liquidation_distance,
    portfolio_stress,
    both_legs,
    net_leverage,
)
