"""Spreads as the journal tells them: the sheet written down when one was opened, and what came of it until it was closed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from bot.journal import past
from bot.journal.journal import SHEET
from bot.journal.reader import Facts, Reader, Row
from bot.model.funding import HOURS_PER_YEAR
from bot.model.instrument import Instrument
from bot.model.order import Fill, FundingPayment, Liquidation, Purpose, Side
from bot.model.spread import Spread
from bot.pipeline.pair_trades import Event, PairTrade, pair_trades
from bot.pipeline.underwriting import UNSAID, Sheet, Stated
from bot.reports.spreads import trade_facts

_FILLS: Final = "SELECT * FROM fill WHERE instrument IN (?, ?)"
_TAKEN: Final = "SELECT * FROM liquidation WHERE instrument IN (?, ?)"
_PAID: Final = "SELECT * FROM funding WHERE instrument IN (?, ?)"


def with_spreads(reader: Reader, story: Facts) -> Facts:
    """A story of `bot.journal.explain` with the `spreads` that were opened or closed in it; of a coin, those of its own."""
    decision, coin = story["decision"], story["coin"]
    told = [] if decision is None else spread_stories(reader, decision["written_in"])
    if decision is None:
        told = spread_stories(reader, None, [(fill["trade_id"], fill["coin"]) for fill in story["fills"]])
    return {**story, "spreads": [each for each in told if coin is None or coin in each["legs"]]}


def spread_stories(
    reader: Reader, decision_id: str | None, trades: Iterable[tuple[int, str]] = ()
) -> list[Facts]:
    """The spreads that a decision opened or closed, or that one of the `trades` did, by number and market.

    Each is what became of it so far, as in a backtest's report, with the `sheet` of its opening and its return on the
    capital tied; the figures expected are on what was held in the end.
    """
    sheets = [
        Sheet.read(json.loads(row["text"]))
        for row in reader.each("SELECT * FROM event WHERE kind = ?", SHEET)
    ]
    if not sheets:
        return []
    numbers, found = set(trades), []
    for name, legs in dict.fromkeys((each.spread, each.legs) for each in sheets):
        own = {each.decision_id: each for each in sheets if each.spread == name}
        for trade in _trades(reader, legs, own):
            ends = [each for each in (trade.first, trade.last) if each is not None]
            if any(
                decision_of(each) == decision_id or (each.trade_id, each.instrument) in numbers
                for each in ends
            ):
                found.append(_story(trade, legs, own))
    return found


def decision_of(fill: Fill) -> str:
    """Whose order it was, going by its name."""
    return fill.client_id.partition("-")[0].rstrip("+")


def _story(trade: PairTrade, legs: tuple[str, str], sheets: dict[str, Sheet]) -> Facts:
    assert trade.first is not None
    opened_by = decision_of(trade.first)
    sheet = sheets.get(opened_by)
    realised = None
    if sheet is not None and trade.hours > 0 and sheet.notional_usd > 0 and sheet.tied_usd > 0:
        tied_usd = sheet.tied_usd * trade.notional_usd / sheet.notional_usd
        realised = float(trade.net_usd) / tied_usd * HOURS_PER_YEAR / trade.hours
    return {
        **trade_facts(trade),
        "legs": list(legs),
        "opened_by": opened_by,
        "closed_by": None if trade.last is None else decision_of(trade.last),
        "sheet": None if sheet is None else sheet.facts(),
        "return_on_tied": realised,
    }


def _trades(reader: Reader, legs: tuple[str, str], sheets: dict[str, Sheet]) -> list[PairTrade]:
    spread = _spread(reader, legs)
    if spread is None:
        return []
    events: list[Event] = [_payment(row) for row in reader.each(_PAID, *legs)]
    events += [_fill(row) for row in reader.each(_FILLS, *legs)]
    events += [_taken(row) for row in reader.each(_TAKEN, *legs)]
    events.sort(key=_order)

    def stated(first: Fill) -> tuple[Stated, str]:
        sheet = sheets.get(decision_of(first))
        if sheet is None:
            return UNSAID, ""
        row = reader.one(
            "SELECT because FROM forecast WHERE decision_id = ? AND strategy = ? AND instrument = ?",
            sheet.decision_id, sheet.strategy, legs[0],
        )  # fmt: skip
        return sheet.stated, "" if row is None else row["because"]

    last = {each.instrument: each.price for each in events if isinstance(each, Fill)}
    last |= {row["instrument"]: Decimal(row["mark"]) for row in reader.each("SELECT * FROM position")}
    return pair_trades(spread, events, stated, last, reader.last_ms or 0)


def _order(event: Event) -> tuple[int, int, bool, int]:
    """What settles at an hour is paid on what was held before anything trades at it, and a fee in coins on what was bought."""
    if isinstance(event, Fill):
        return event.time_ms, 1, event.client_id.endswith("-fee"), event.trade_id
    return event.time_ms, 0 if isinstance(event, FundingPayment) else 2, False, 0


def _spread(reader: Reader, legs: tuple[str, str]) -> Spread | None:
    """With the lots and multipliers of the newest run that traded both legs."""
    for row in reader.each("SELECT content FROM opening ORDER BY run_id DESC"):
        known: dict[str, Instrument] = {each.name: each for each in past.decode(row["content"]).instruments}
        if all(leg in known for leg in legs):
            return Spread(known[legs[0]], known[legs[1]])
    return None


def _fill(row: Row) -> Fill:
    return Fill(
        row["trade_id"],
        row["time_ms"],
        row["instrument"],
        Side(row["side"]),
        row["lots"],
        Decimal(row["price"]),
        Decimal(row["notional_usd"]),
        Decimal(row["fee_usd"]),
        bool(row["is_maker"]),
        row["client_id"],
        row["order_id"],
        Purpose(row["purpose"]),
        Decimal(row["closed_pnl_usd"]),
    )


def _payment(row: Row) -> FundingPayment:
    oracle, rate, usd = (Decimal(row[name]) for name in ("oracle", "rate", "usd"))
    return FundingPayment(
        row["time_ms"], row["instrument"], row["lots"], oracle, rate, usd, row["interval_h"]
    )


def _taken(row: Row) -> Liquidation:
    return Liquidation(
        row["time_ms"],
        row["instrument"],
        row["lots"],
        Decimal(row["price"]),
        row["kind"],
        Decimal(row["forfeited_usd"]),
    )
