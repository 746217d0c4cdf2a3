"""Rules that only spreads and books over several venues need: pegs, venues, and both legs or none."""

from __future__ import annotations

import numpy as np

from bot.model.decision import Finding, LotsArray
from bot.pipeline.exposure import Case, Exposure
from bot.pipeline.fitting import Findings, Verdict, fit, only_reduce, ratio


def peg(lots: LotsArray, case: Case) -> Verdict:
    """No spread grows while its legs' prices are too far apart: a bridge, a dollar or a quote may have come off."""
    legs = case.snapshot.market.prepared.legs
    if not legs.spreads:
        return lots, ()
    mark, limit = case.snapshot.market.mark, case.mandate.limits.max_depeg
    scale = np.array([spread.hedge_per_primary for spread in legs.spreads])
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.abs(mark[legs.primary] / (mark[legs.hedge] * scale) - 1)
    off = np.zeros(len(lots), dtype=np.bool_)
    for columns in (legs.primary, legs.hedge):
        off[columns] = ~(apart <= limit)  # also where it is not known
    return only_reduce(lots, case, off, "peg", f"the legs' prices are more than {limit:.1%} apart")


def venue_share(lots: LotsArray, case: Case) -> Verdict:
    """What is held at one venue, longs and shorts alike, stays within a multiple of all equity."""
    limit = case.mandate.limits.max_venue_leverage
    instruments = case.snapshot.market.instruments
    venues = list(dict.fromkeys(instrument.venue for instrument in instruments))
    if not np.isfinite(limit) or len(venues) < 2:
        return lots, ()
    room = limit * max(case.equity, 0.0)
    findings: Findings = ()
    for venue in venues:
        columns = np.array([instrument.venue == venue for instrument in instruments])
        apart = np.where(columns, 0, lots)

        def load(book: Exposure, columns: np.ndarray = columns) -> float:
            return ratio(float(np.where(columns, np.abs(book.usd), 0.0).sum()), room)

        because = f"{venue} holds {{:.0%}} of the limit of {limit:g} × equity"
        fitted, found = fit(lots - apart, case, "venue_share", load, because, apart)
        if found:
            lots, findings = apart + fitted, findings + found
    return lots, findings


def both_legs(lots: LotsArray, case: Case) -> Verdict:
    """Of a spread no leg is held beyond what the other hedges, nor changed by less than both venues trade.

    What any rule has cut of one leg is cut of both.
    """
    legs = case.snapshot.market.prepared.legs
    if not legs.spreads:
        return lots, ()
    # What is too small for the venues to be traded is not asked for: one leg of it might be traded alone.
    even = legs.tradable(legs.common(lots), case.held, case.price)
    if np.array_equal(even, lots):
        return lots, ()
    cut = [
        each.name
        for each, primary, hedge in zip(legs.spreads, legs.primary, legs.hedge, strict=True)
        if even[primary] != lots[primary] or even[hedge] != lots[hedge]
    ]
    return even, tuple(Finding("both_legs", name, "cut to what both legs may be held of") for name in cut)
