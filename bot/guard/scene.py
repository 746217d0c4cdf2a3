"""The account as a guard sees it: what is held, what of it no stop protects, and what is open, by whose hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bot.model.decision import AccountView, LotsArray
from bot.model.instrument import Instrument
from bot.model.money import ZERO
from bot.model.order import Order, OrderReport, OrderStatus, Purpose, Side, TimeInForce, TriggerKind
from bot.model.panel import FloatArray
from bot.text import plain
from bot.venues.attempts import epoch_of
from bot.venues.edge import lots_of
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.market_data import MarketData
from bot.venues.hyperliquid.parse_account import MarginState, VenuePosition
from bot.venues.hyperliquid.parse_orders import VenueOrder
from bot.venues.hyperliquid.signing import Holding

MARK: Final = "6a4d"
"""The first two bytes of a guard's cloids. Not the daemon's: it would take such an order for one of a twin."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One look. `mark` is NaN where no price is known; `bare` are the lots, signed, that no stop would close.

    `others` are coins that are held and that this guard may not trade.
    """

    account: AccountView
    mark: FloatArray
    bare: LotsArray
    others: tuple[str, ...]
    holdings: Mapping[str, Holding]

    @property
    def opening(self) -> tuple[OrderReport, ...]:
        """What is open and could open a position, whoever placed it."""
        return tuple(each for each in self.account.open_orders if not each.order.reduce_only)

    @property
    def is_flat(self) -> bool:
        """Whether nothing is held, and nothing is open that could change that."""
        return not self.account.lots.any() and not self.opening


async def look(account: str, client: Client, market: MarketData, instruments: Sequence[Instrument]) -> Scene:
    """Ask the venue. VenueError or DataError where it does not say."""
    await market.refresh(urgent=True)
    shown = await client.info({"type": "frontendOpenOrders", "user": account}, urgent=True)
    margin: MarginState = await client.info({"type": "clearinghouseState", "user": account}, urgent=True)
    return scene(shown, margin, market.marks, instruments)


def scene(
    shown: Sequence[VenueOrder],
    margin: MarginState,
    marks: Mapping[str, object],
    instruments: Sequence[Instrument],
) -> Scene:
    """What the venue's answers come to."""
    held = {each.coin: each for each in margin.positions}
    width = len(instruments)
    lots, entry, mark = np.zeros(width, np.int64), np.zeros(width), np.full(width, np.nan)
    bare = np.zeros(width, np.int64)
    for k, instrument in enumerate(instruments):
        if instrument.name in marks:
            mark[k] = float(str(marks[instrument.name]))
        position = held.get(instrument.name)
        if position is not None:
            lots[k] = lots_of(instrument, position.size, "a position")
            entry[k] = float(position.entry_price)
            bare[k] = _bare(int(lots[k]), instrument, position, shown)
    known = {instrument.name: instrument for instrument in instruments}
    reports = tuple(
        _report(each, known[each.coin]) for each in shown if each.coin in known and each.original > 0
    )
    account = AccountView(float(margin.equity_usd), lots, entry, np.zeros(width), reports)
    others = tuple(sorted(held.keys() - known.keys()))
    return Scene(
        account, mark, bare, others, {coin: Holding(plain(each.size)) for coin, each in held.items()}
    )


def _bare(lots: int, instrument: Instrument, position: VenuePosition, shown: Sequence[VenueOrder]) -> int:
    """What of a position is closed by no stop that rests, by whose hand ever."""
    closing = Side.of(-lots)
    stops = [
        each
        for each in shown
        if each.coin == position.coin
        and each.trigger is not None
        and each.trigger.kind is TriggerKind.STOP
        and each.reduce_only
        and each.side is closing
    ]
    if any(each.original == 0 for each in stops):  # of the whole position, however large it is
        return 0
    covered = sum((each.remaining for each in stops), ZERO)
    left = max(0, abs(lots) - lots_of(instrument, covered, "stops"))
    return left if lots > 0 else -left


def _report(shown: VenueOrder, instrument: Instrument) -> OrderReport:
    lots = lots_of(instrument, shown.original, "an order's size")
    takes = shown.trigger is not None and shown.is_market
    order = Order(
        client_id=shown.cloid or f"venue-{shown.order_id}",
        instrument=shown.coin,
        side=shown.side,
        lots=lots,
        limit_price=None if takes else shown.limit_price,
        time_in_force=TimeInForce.IOC if takes else shown.time_in_force,
        reduce_only=shown.reduce_only,
        trigger=shown.trigger,
        purpose=_purpose(shown),
    )
    status = OrderStatus.RESTING if shown.trigger is None else OrderStatus.WAITING
    left = lots_of(instrument, shown.remaining, "an order's rest")
    return OrderReport(shown.time_ms, shown.order_id, order, status, filled_lots=lots - left)


def _purpose(shown: VenueOrder) -> Purpose:
    is_ours = epoch_of(shown.cloid) is not None
    if shown.trigger is not None and shown.reduce_only:
        is_guards = shown.cloid is not None and shown.cloid.startswith(f"0x{MARK}")
        if not is_ours and not is_guards:
            return Purpose.EXTERNAL
        return Purpose.STOP if shown.trigger.kind is TriggerKind.STOP else Purpose.TAKE_PROFIT
    if not is_ours:
        return Purpose.EXTERNAL
    return Purpose.EXIT if shown.reduce_only else Purpose.ENTRY
