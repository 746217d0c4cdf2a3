"""The account as the venue states it, put together from several replies that must agree with each other.

Replies of different endpoints are of different moments. Fills are asked for after the positions; where one is newer
than the positions, by whatever way it was told, all is asked again a little later. A reply that is older than one
before it is not believed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np
import structlog

from bot.errors import DataError, Unavailable
from bot.model.account import MarginMode
from bot.model.decision import AccountView
from bot.model.instrument import Instrument, Kind
from bot.model.money import ZERO, usd
from bot.model.order import OrderReport
from bot.text import plain
from bot.venues.edge import lots_of
from bot.venues.hyperliquid.balances import SpotState
from bot.venues.hyperliquid.books import Books
from bot.venues.hyperliquid.client import Client
from bot.venues.hyperliquid.market_data import MarketData
from bot.venues.hyperliquid.orders import FORGOTTEN_MS, Register
from bot.venues.hyperliquid.parse_account import (
    LedgerRow,
    MarginState,
    VenueFill,
    VenueFunding,
    VenuePosition,
)
from bot.venues.hyperliquid.parse_orders import StatusOf, VenueOrder
from bot.venues.hyperliquid.signing import Holding
from bot.venues.hyperliquid.tokens import USDC, token_of, whole_lots
from bot.venues.venue import AccountState, HeldPosition, VenueEvent

log = structlog.get_logger("hedgerow")

FILLS_PER_REPLY: Final = 2000
ROWS_PER_REPLY: Final = 500
WAITS_S: Final = (0.0, 0.05, 0.2, 0.8, 1.6, 3.2)
"""Before each attempt to read replies that agree."""
AHEAD_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Setting:
    """What leverage and margin mode positions are opened with; a coin's own bounds come first."""

    leverage: int
    margin_mode: MarginMode

    def of(self, instrument: Instrument) -> tuple[int, MarginMode]:
        """For one instrument."""
        mode = MarginMode.ISOLATED if instrument.only_isolated else self.margin_mode
        if instrument.kind is Kind.SPOT:
            mode = MarginMode.CROSS  # its wallet's cash pays for it
        return min(self.leverage, instrument.max_leverage), mode


class AccountReader:
    """Reads one address."""

    def __init__(
        self,
        account: str,
        client: Client,
        market: MarketData,
        instruments: Sequence[Instrument],
        register: Register,
        books: Books,
        setting: Setting,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._account, self._client, self._market, self._sleep = account, client, market, sleep
        self._instruments = tuple(instruments)
        self._register, self._books, self._setting = register, books, setting
        self._latest_ms = 0
        self._owed: dict[
            int, tuple[int, int]
        ] = {}  # order id → lots that it has filled by the venue's word, and until when
        self._taken: list[VenueEvent] = []  # counted already, and not returned yet
        self._before: Mapping[str, Any] | None = None  # the books as they were before these
        self._pairs = tuple(i for i in instruments if i.kind is Kind.SPOT)
        self.margin: MarginState | None = None
        self.spot: SpotState | None = None  # None where no pair is traded
        self.listed: tuple[OrderReport, ...] = ()  # the open orders, as the venue last listed them
        self.shown: Sequence[
            VenueOrder
        ] = ()  # the same and everything else that is open, as the venue told it

    @property
    def orders(self) -> tuple[OrderReport, ...]:
        """The open orders. One that the venue has accepted is open until it says otherwise: its list may be behind."""
        listed = {report.order_id for report in self.listed}
        return self.listed + tuple(
            report for order_id, report in self._register.open.items() if order_id not in listed
        )

    async def margin_state(self) -> MarginState:
        """Positions and margin. Unavailable where the reply is older than one before it."""
        request = {"type": "clearinghouseState", "user": self._account}
        state: MarginState = await self._client.info(request, urgent=True)
        if state.time_ms < self._latest_ms:
            raise Unavailable(
                f"the venue told the account's state of {self._latest_ms - state.time_ms} ms before the last one; "
                "asking again later"
            )
        self._latest_ms = state.time_ms
        return state

    async def _spot_state(self) -> SpotState | None:
        """What is owned on spot, where that is traded."""
        if not self._pairs:
            return None
        request = {"type": "spotClearinghouseState", "user": self._account}
        state: SpotState = await self._client.info(request, urgent=True)
        return state

    def _owned(self, spot: SpotState | None) -> dict[Instrument, Decimal]:
        """Of each pair's token, by the wallet. DataError where one is owned that was never priced."""
        found = {} if spot is None else {each: spot.of(token_of(each)).total for each in self._pairs}
        for instrument, owned in found.items():
            if owned and instrument.name not in self._market.pair_marks:
                raise DataError(f"{owned} of {instrument.name} are owned and the venue tells no price of it")
        return found

    async def begin(self) -> None:
        """Open the books on the account as it is now."""
        spot = await self._spot_state()
        margin = await self.margin_state()
        at_ms, equity_usd, held = margin.time_ms, margin.equity_usd, [each.coin for each in margin.positions]
        if spot is not None:
            assert self._books.tokens is not None
            owned = self._owned(spot)
            equity_usd += self._books.tokens.begin(owned, self._market.pair_marks, spot.of(USDC).total)
            held += [each.name for each, size in owned.items() if whole_lots(each, size)]
        self._books.begin(at_ms, equity_usd, held)
        self._books.already(
            await self.fills(at_ms, at_ms), await self.fundings(at_ms, at_ms), await self.ledger(at_ms, at_ms)
        )

    async def look(
        self, earlier: Collection[int] = ()
    ) -> tuple[list[VenueEvent], dict[int, StatusOf | None]]:
        """Read orders, positions and fills until they agree; returns what is new, and what the orders no longer open became.

        `earlier` are orders of an earlier run that were open then. What is new of a look that fails is returned by the next.
        """
        problem, tokens = "", self._books.tokens
        self._before = self._before or self._books.state()
        for wait_s in WAITS_S:
            if wait_s:
                await self._sleep(wait_s)
            shown = await self._client.info(
                {"type": "frontendOpenOrders", "user": self._account}, urgent=True
            )
            spot = await self._spot_state()
            margin = await self.margin_state()
            told = await self.fills(self._books.from_ms(), margin.time_ms + AHEAD_MS, urgent=True)
            self._taken += self._books.take_fills(told)
            newest_ms = max((each.time_ms for each in told), default=0)
            if self._still_owed(margin.time_ms):
                problem = "the venue has not told the fills of what it says has filled"
            elif max(newest_ms, self._books.newest_ms) > margin.time_ms:
                problem = "the venue tells fills that the positions it tells do not hold"
            elif tokens is None or not tokens.differs(owned := self._owned(spot)):
                break
            elif wait_s == WAITS_S[-1]:  # no fill will explain it any more
                tokens.believe(owned, self._market.pair_marks)
                break
        else:
            raise Unavailable(f"{problem}; looking again later")
        gone = {*self._register.open, *earlier} - {each.order_id for each in shown}
        became = {order_id: await self._status(order_id) for order_id in sorted(gone)}
        self.margin, self.spot = margin, spot
        self.shown, self.listed = shown, self._register.see(shown)
        events, self._taken, self._before = self._taken, [], None
        return events, became

    def books(self) -> Mapping[str, Any]:
        """The books' state for a checkpoint: without what was counted and not returned, which a restart would never hear of."""
        return self._before or self._books.state()

    async def _status(self, order_id: int) -> StatusOf | None:
        """What the venue says of one order; None where it doesn't know it."""
        request = {"type": "orderStatus", "user": self._account, "oid": order_id}
        found: StatusOf | None = await self._client.info(request, urgent=True)
        return found

    def owe(self, filled: Iterable[tuple[int, int]], at_ms: int) -> None:
        """The venue says of orders that so many lots of them have filled: an account that lacks these is an old one."""
        for order_id, lots in filled:
            if order_id and lots > self._books.filled(order_id)[0]:
                self._owed[order_id] = lots, at_ms + FORGOTTEN_MS

    def _still_owed(self, now_ms: int) -> bool:
        self._owed = {
            order_id: (lots, until_ms)
            for order_id, (lots, until_ms) in self._owed.items()
            if self._books.filled(order_id)[0] < lots and now_ms <= until_ms
        }
        return bool(self._owed)

    async def await_fills(self, now_ms: Callable[[], int], patience_s: float) -> list[VenueEvent]:
        """The venue answers before its record of fills does: wait a while for what it said was filled."""
        waited_s, wait_s = 0.0, 0.05
        self._before = self._before or self._books.state()
        while self._still_owed(now_ms()):
            self._taken += self._books.take_fills(
                await self.fills(self._books.from_ms(), now_ms() + AHEAD_MS, urgent=True)
            )
            if not self._still_owed(now_ms()) or waited_s >= patience_s:
                break
            await self._sleep(wait_s)
            waited_s, wait_s = waited_s + wait_s, wait_s * 2
        if self._owed:
            log.warning("fills not told yet", orders=len(self._owed))
        events, self._taken, self._before = self._taken, [], None
        return events

    # What came in pages: a reply that is full is asked for again in two halves, since venues differ in which end they keep

    async def fills(self, start_ms: int, end_ms: int, *, urgent: bool = False) -> list[VenueFill]:
        """Fills of a period, in order."""
        rows: list[VenueFill] = await self._period(
            "userFillsByTime", start_ms, end_ms, FILLS_PER_REPLY, urgent=urgent
        )
        return rows

    async def fundings(self, start_ms: int, end_ms: int, *, urgent: bool = False) -> list[VenueFunding]:
        """Funding payments of a period, in order."""
        rows: list[VenueFunding] = await self._period(
            "userFunding", start_ms, end_ms, ROWS_PER_REPLY, urgent=urgent
        )
        return rows

    async def ledger(self, start_ms: int, end_ms: int, *, urgent: bool = False) -> list[LedgerRow]:
        """Deposits, withdrawals and transfers of a period, in order."""
        rows: list[LedgerRow] = await self._period(
            "userNonFundingLedgerUpdates", start_ms, end_ms, ROWS_PER_REPLY, urgent=urgent
        )
        return rows

    async def _period(
        self, kind: str, start_ms: int, end_ms: int, most: int, *, urgent: bool = False
    ) -> list[Any]:
        request = {"type": kind, "user": self._account, "startTime": start_ms, "endTime": end_ms}
        rows = list(await self._client.info(request, urgent=urgent))
        if len(rows) < most:
            return rows
        if start_ms >= end_ms:
            raise Unavailable(f"the venue tells no more than {most} {kind} rows of one millisecond")
        middle_ms = (start_ms + end_ms) // 2
        return [
            *await self._period(kind, start_ms, middle_ms, most, urgent=urgent),
            *await self._period(kind, middle_ms + 1, end_ms, most, urgent=urgent),
        ]

    # What was read, in our terms

    def state(self) -> AccountState:
        """The books as last read."""
        margin = self.margin
        if margin is None:
            raise Unavailable("the account has not been read yet; open() comes first")
        held = {each.coin: each for each in self.positions()}
        ours = [(i, held[i.name]) for i in self._instruments if i.name in held]
        books, mark = self._books, self._market.mark_array()
        cash_usd, carried_usd = self._spot_cash()
        spot_usd = cash_usd + sum((each.value_usd for i, each in ours if i.kind is Kind.SPOT), ZERO)
        for k, instrument in enumerate(self._instruments):
            if instrument.name in held:  # the price that the account was valued at, so that its parts add up
                mark[k] = float(held[instrument.name].value_usd / abs(held[instrument.name].size))
        return AccountState(
            view=self._view(margin, held, spot_usd),
            mark=mark,
            equity_usd=usd(margin.equity_usd + spot_usd),
            cash_usd=usd(margin.cross_cash_usd + cash_usd),
            deposits_usd=books.deposits_usd,
            funding_usd=books.funding_usd,
            fees_usd=books.fees_usd,
            positions=tuple(self._held(instrument, each) for instrument, each in ours),
            others=tuple(sorted(held.keys() - {i.name for i in self._instruments})),
            dust_usd=usd(carried_usd),
        )

    def positions(self) -> tuple[VenuePosition, ...]:
        """What is held: perpetuals, and of the pairs' tokens whole lots, like positions that are paid in full."""
        held = () if self.margin is None else self.margin.positions
        return held + tuple(
            _owned_position(i, owned, self.spot.of(token_of(i)).entry_usd, self._market.pair_marks[i.name])
            for i, owned in self._owned(self.spot).items()
            if self.spot is not None and whole_lots(i, owned)
        )

    def _spot_cash(self) -> tuple[Decimal, Decimal]:
        """Of the spot wallet all that is no position, and the dust in it, USD."""
        if self.spot is None or self._books.tokens is None:
            return ZERO, ZERO
        carried_usd = self._books.tokens.carried_usd
        return self.spot.of(USDC).total + carried_usd, carried_usd

    def _view(self, margin: MarginState, held: Mapping[str, VenuePosition], spot_usd: Decimal) -> AccountView:
        width = len(self._instruments)
        lots, entry = np.zeros(width, np.int64), np.zeros(width)
        leverage, isolated = np.zeros(width), np.full(width, np.nan)
        for k, instrument in enumerate(self._instruments):
            position = held.get(instrument.name)
            set_leverage, mode = self._setting.of(instrument)
            leverage[k] = set_leverage
            if position is not None:
                lots[k] = lots_of(instrument, position.size, "a position")
                entry[k], leverage[k] = float(position.entry_price), position.leverage
                mode = position.margin_mode
            if mode is MarginMode.ISOLATED:
                isolated[k] = 0.0 if position is None else float(position.margin_usd)
        wallets = None
        if self._pairs:
            name = self._pairs[0].venue
            wallets = {name: float(margin.equity_usd), self._pairs[0].wallet: float(spot_usd)}
        return AccountView(
            equity_usd=float(margin.equity_usd + spot_usd),
            lots=lots,
            entry_price=entry,
            leverage=leverage,
            open_orders=self.orders,
            isolated_usd=None if np.isnan(isolated).all() else isolated,
            wallet_usd=wallets,
        )

    def _held(self, instrument: Instrument, position: VenuePosition) -> HeldPosition:
        return HeldPosition(
            instrument=instrument,
            lots=lots_of(instrument, position.size, "a position"),
            entry_price=position.entry_price,
            mark=position.value_usd / abs(position.size),
            notional_usd=usd(position.value_usd if position.size > 0 else -position.value_usd),
            unrealised_usd=usd(position.unrealised_usd),
            liquidation_price=position.liquidation_price,
            margin_mode=position.margin_mode,
            opened_ms=self._books.opened_ms.get(instrument.name, self._books.since_ms),
        )

    def holdings(self) -> tuple[dict[str, Holding], int]:
        """Every position and what rests to grow one, as the signer is told; and the number of open orders."""
        sizes = {each.coin: each.size for each in self.positions()}
        buys, sells = dict.fromkeys(sizes, ZERO), dict.fromkeys(sizes, ZERO)
        for report in self.orders:
            order = report.order
            if order.reduce_only:
                continue
            resting = buys if order.side.sign > 0 else sells
            instrument = self._register.instrument(order.instrument)
            assert instrument is not None
            resting[order.instrument] = resting.get(order.instrument, ZERO) + instrument.size(
                report.remaining_lots
            )
        coins = sizes.keys() | buys.keys() | sells.keys()
        return {
            coin: Holding(
                plain(sizes.get(coin, ZERO)), plain(buys.get(coin, ZERO)), plain(sells.get(coin, ZERO))
            )
            for coin in sorted(coins)
        }, len(self.orders)


def _owned_position(
    instrument: Instrument, owned: Decimal, paid_usd: Decimal, mark: Decimal
) -> VenuePosition:
    """Whole lots of a token; `paid_usd` is what all that is owned of it was bought for."""
    size = instrument.size(whole_lots(instrument, owned))
    return VenuePosition(
        coin=instrument.name,
        size=size,
        entry_price=paid_usd / owned,
        value_usd=size * mark,
        unrealised_usd=size * (mark - paid_usd / owned),
        liquidation_price=None,
        margin_usd=size * mark,
        margin_mode=MarginMode.CROSS,
        leverage=1,
    )
