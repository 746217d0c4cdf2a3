"""The account as the venue states it, put together from several replies that must agree with each other and our books.

Positions must be what our trades made of them, and money what everything that was booked made of it. Where they differ,
the venue is asked again a little later; where they differ for good, its word is taken and the difference said aloud.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np
import structlog

from bot.errors import DataError, Unavailable
from bot.model.account import MarginMode
from bot.model.decision import AccountView
from bot.model.instrument import Instrument
from bot.model.money import ZERO, usd
from bot.model.order import OrderReport
from bot.signer.cex_client import Holding
from bot.text import plain
from bot.venues.cex import wire
from bot.venues.cex.books import Books, Market
from bot.venues.cex.client import Client
from bot.venues.cex.differences import Differences, Reply
from bot.venues.cex.lookup import Lookup
from bot.venues.cex.market_data import MarketData
from bot.venues.cex.orders import FORGOTTEN_MS, Register
from bot.venues.cex.terms import CexTerms
from bot.venues.cex.wire import CONDITIONAL, Booked, Held, Trade
from bot.venues.edge import lots_of
from bot.venues.venue import AccountState, HeldPosition, VenueEvent

log = structlog.get_logger("hedgerow")

WAITS_S: Final = (0.0, 0.05, 0.2, 0.8, 1.6, 3.2)
"""Before each attempt to read replies that agree."""
AHEAD_MS: Final = 60_000
NOTHING: Final[Reply] = {}
WEEK_MS: Final = 7 * 24 * 3_600_000 - 1  # what one question about trades or the ledger may span


@dataclass(frozen=True, slots=True)
class _Read:
    """Replies that belong together, as of `at_ms` or a little later."""

    at_ms: int
    wallet_usd: Decimal
    held: tuple[Held, ...]
    listed: list[OrderReport]


class AccountReader:
    """Reads one account. `now_ms` is the venue's time."""

    def __init__(
        self,
        terms: CexTerms,
        differences: Differences,
        client: Client,
        lookup: Lookup,
        market: MarketData,
        markets: Sequence[Market],
        register: Register,
        books: Books,
        now_ms: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._terms, self._differences = terms, differences
        self._client, self._lookup, self._market = client, lookup, market
        self._markets, self._register, self._books = tuple(markets), register, books
        self._by_symbol = {each.symbol: each for each in markets}
        self._now_ms, self._sleep = now_ms, sleep
        self._taken: list[VenueEvent] = []  # counted already, and not returned yet
        self._before: Mapping[str, Any] | None = None  # the books as they were before these
        self._strange_since_ms: tuple[Any, int] | None = None
        self.held: tuple[Held, ...] = ()
        self.seen_ms = 0

    # Asking

    async def _wallet(self) -> Decimal:
        told, settle = await self._client.ask("fetch_balance"), self._terms.settle
        try:
            found = self._differences.wallet(told, settle)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise DataError(f"the account's balance can't be read ({type(error).__name__})") from None
        if found is None:  # an empty list is no empty wallet
            raise DataError(f"the account has no balance of {settle}; fund it, or the answer was not whole")
        return wire.number(found, "the account's balance")

    async def _positions(self) -> tuple[Held, ...]:
        rows = await self._client.ask("fetch_positions")
        found = []
        for row in rows:
            known = self._client.markets.get(row.get("symbol")) or {}
            contract = wire.price(known.get("contractSize") or "1", "a contract's size")
            held = wire.position(row, contract)
            if held is not None:
                found.append(held)
        return tuple(found)

    async def _open_orders(self, markets: Sequence[Market]) -> list[OrderReport]:
        return [self._register.report(shown) for shown in await self._lookup.open(markets)]

    async def trades(self, start_ms: int, end_ms: int) -> list[Trade]:
        """Of all our contracts, from a time on."""
        return await self._trades_of(self._markets, start_ms, end_ms, apart_of=self._markets)

    async def _trades_of(
        self, markets: Iterable[Market], start_ms: int, end_ms: int, apart_of: Iterable[Market]
    ) -> list[Trade]:
        """Those of `markets`; of the contracts in `apart_of` also what the venue made of itself and tells apart."""
        asked = [(market, NOTHING) for market in markets]
        asked += [(market, apart) for market in apart_of for apart in self._differences.trades_apart]
        parts = await asyncio.gather(*(self._trades(*each, start_ms, end_ms) for each in asked))
        return [each for part in parts for each in part]

    async def _trades(self, market: Market, apart: Reply, start_ms: int, end_ms: int) -> list[Trade]:
        rows = await self._period(
            "fetch_my_trades", market.symbol, start_ms, end_ms, self._differences.trades_per_reply, apart
        )
        forced = self._differences.forced_trade
        found = [
            wire.trade(row, market.symbol, market.market_id, market.contract, forced(row.get("info") or {}))
            for row in rows
        ]
        name = market.instrument.name
        for order_id in {each.order_id for each in found if each.forced is None}:
            if not self._register.knows(name, order_id):
                venue_id = next(
                    str(row["order"])
                    for row, each in zip(rows, found, strict=True)
                    if each.order_id == order_id
                )
                await self._learn(market, venue_id)
        return found

    async def _learn(self, market: Market, venue_id: str) -> None:
        """Whose an order is that a trade names: trades don't tell the name that we gave it."""
        shown = await self._lookup.by_id(market, 0, venue_id)
        if shown is not None:
            self._register.order(shown)

    async def ledger(self, start_ms: int, end_ms: int) -> list[Booked]:
        """What was booked from a time on."""
        rows = await self._period(
            "fetch_ledger", self._terms.settle, start_ms, end_ms, self._differences.lines_per_reply
        )
        return [wire.booked(row, self._differences.ledger_kind(row.get("info") or {})) for row in rows]

    async def _period(
        self, method: str, of: str, start_ms: int, end_ms: int, most: int, also: Reply = NOTHING
    ) -> list[Any]:
        """Rows of a period. A full reply is asked for again in two halves, since venues differ in which end they keep."""
        if end_ms - start_ms > WEEK_MS:
            middle_ms = start_ms + WEEK_MS
        else:
            params = {"until": end_ms, **also}
            if method == "fetch_ledger":
                params = dict(self._differences.ledger_period(start_ms, end_ms))
            rows = list(await self._client.ask(method, of, start_ms, most, params))
            if len(rows) < most:
                return rows
            if start_ms >= end_ms:
                raise Unavailable(f"the venue tells no more than {most} rows of one millisecond")
            middle_ms = (start_ms + end_ms) // 2
        return [
            *await self._period(method, of, start_ms, middle_ms, most, also),
            *await self._period(method, of, middle_ms + 1, end_ms, most, also),
        ]

    # Looking

    async def begin(self, at_ms: int) -> None:
        """Open the books on the account as it is now."""
        start_ms = at_ms - self._books.overlap_ms
        for wait_s in WAITS_S:
            await self._sleep(wait_s)
            before = await self.trades(start_ms, self._now_ms() + AHEAD_MS)
            lines = await self.ledger(start_ms, self._now_ms() + AHEAD_MS)
            wallet, held = await self._wallet(), await self._positions()
            # What was booked between two questions is in the one answer and not in the other.
            after = await self.trades(start_ms, self._now_ms() + AHEAD_MS)
            booked = await self.ledger(start_ms, self._now_ms() + AHEAD_MS)
            if len(after) == len(before) and len(booked) == len(lines):
                break
        else:
            raise Unavailable("the account trades while its books are opened; trying again later")
        self._books.begin(at_ms, wallet, held, after, lines)

    async def look(self, *, with_ledger: bool = False) -> list[VenueEvent]:
        """Read all until it agrees; what is new. What is new of a look that fails is returned by the next."""
        self._before = self._before or self._books.state()
        read, lots, apart = await self._agreeing(with_ledger=with_ledger)
        if lots or apart:
            self._bear(lots, apart, read)
        self._strange_since_ms = None
        self.held, self.seen_ms = read.held, read.at_ms
        listed = {(each.order.instrument, each.order_id): each for each in read.listed}
        gone = sorted(set(self._register.open) - set(listed))
        for report in listed.values():
            self._register.note(report)
        for key in gone:
            self._taken += await self._became(key)
        self._register.untouch()
        events, self._taken, self._before = self._taken, [], None
        return events

    def books(self) -> Mapping[str, Any]:
        """The books' state for a checkpoint: without what was counted and not returned, which a restart would never hear of."""
        return self._before or self._books.state()

    async def _agreeing(self, *, with_ledger: bool) -> tuple[_Read, dict[str, int], Decimal]:
        """What was read at last, and by how many lots and dollars it still is another than our books."""
        waits = iter(WAITS_S)
        while True:
            read = await self._read(with_ledger=with_ledger)
            lots = self._books.strange_lots(read.held)
            apart = self._books.strange_usd(read.wallet_usd, read.held)
            owed = self._register.owed(self._books.filled, read.at_ms)
            wait_s = next(waits, None) if lots or apart or owed else None
            if wait_s is None and owed and not lots:
                raise Unavailable(
                    f"the venue has not told what filled of {', '.join(sorted(owed))}; looking again later"
                )
            if wait_s is None:
                return read, lots, apart
            await self._sleep(wait_s)
            with_ledger = True

    async def _read(self, *, with_ledger: bool) -> _Read:
        start_ms, at_ms = self._books.from_ms(), self._now_ms()
        # Orders and trades are asked for contract by contract. Where nothing was sent, is open, or is held otherwise than
        # our books say, only somebody else can have acted, and that is asked for with the ledger.
        moved = set(self._register.touched)
        listed = await self._open_orders(self._of(moved, all_of_them=with_ledger))
        wallet, held = await self._wallet(), await self._positions()
        strange = self._books.strange_lots(held).keys()
        asked = self._of(moved | strange, all_of_them=with_ledger)
        apart_of = self._of(strange, all_of_them=with_ledger)
        trades = await self._trades_of(asked, start_ms, at_ms + AHEAD_MS, apart_of)
        lines = await self.ledger(start_ms, at_ms + AHEAD_MS) if with_ledger else []
        for each in lines:
            if each.kind in self._differences.funding_kinds:
                await self._market.learn_at(each.symbol, each.time_ms)
        self._taken += self._books.take(trades, lines, self._market.settled_rate)
        return _Read(at_ms, wallet, held, listed)

    def _of(self, names: Container[str], *, all_of_them: bool) -> list[Market]:
        return [each for each in self._markets if all_of_them or each.instrument.name in names]

    def _bear(self, lots: dict[str, int], apart: Decimal, read: _Read) -> None:
        """What nothing explains is borne once it has stood for a while. Unavailable until then."""
        since = self._strange_since_ms
        if since is None or since[0] != lots:
            since = self._strange_since_ms = lots, read.at_ms
        if read.at_ms - since[1] <= FORGOTTEN_MS:
            what = f"lots of {', '.join(sorted(lots))}" if lots else f"{apart:.6f} USD"
            raise Unavailable(
                f"the venue's account has {what} that nothing it tells explains; looking again later"
            )
        log.error("the venue's word is taken for what nothing explains", lots=lots, usd=str(apart))
        self._taken += self._books.take_as_it_is(lots, apart, read.held, read.at_ms)

    async def _became(self, key: tuple[str, int]) -> list[OrderReport]:
        """What became of an order that is no longer listed, if the venue says that it has ended."""
        name, order_id = key
        market = self._register.markets[name]
        venue_id = self._register.venue_ids.get(key, str(order_id % CONDITIONAL))
        before = self._register.open[key]
        shown = await self._lookup.by_id(market, order_id, venue_id)
        if shown is None:
            if self._now_ms() - before.time_ms > FORGOTTEN_MS:
                self._register.open.pop(key)
            return []
        report = self._register.report(shown, before.order)
        return [] if report.status.is_open else [report]

    # What was read, in our terms

    def leverage_of(self, instrument: Instrument) -> int:
        """What positions are opened with; the contract's own bound comes first."""
        return min(self._terms.leverage, instrument.max_leverage)

    def state(self) -> AccountState:
        """The account as last read."""
        if not self.seen_ms:
            raise Unavailable("the account has not been read yet; open() comes first")
        ours = [
            (self._by_symbol[each.symbol].instrument, each)
            for each in self.held
            if each.symbol in self._by_symbol
        ]
        mark = self._market.mark_array()
        account = self._books.account
        # By our books, which the venue's wallet was just found to agree with but for what it rounds: so parts add up, and
        # positions are not rounded, since the sum of several venues is rounded once.
        cash = account.cash_usd + self._books.unexplained_usd
        equity = cash + sum((each.notional_usd for each in self.held), ZERO)
        width = len(self._markets)
        lots, entry, leverage = np.zeros(width, np.int64), np.zeros(width), np.zeros(width)
        isolated = np.full(width, 0.0 if self._terms.margin_mode is MarginMode.ISOLATED else np.nan)
        place = {market.instrument.name: k for k, market in enumerate(self._markets)}
        for k, market in enumerate(self._markets):
            leverage[k] = self.leverage_of(market.instrument)
        for instrument, each in ours:
            k = place[instrument.name]
            lots[k] = lots_of(instrument, each.coins, "a position")
            entry[k], mark[k] = float(each.entry_price), float(each.mark)
            if each.leverage is not None:
                leverage[k] = float(each.leverage)
            isolated[k] = float(each.margin_usd) if each.margin_mode is MarginMode.ISOLATED else np.nan
        view = AccountView(
            equity_usd=float(equity),
            lots=lots,
            entry_price=entry,
            leverage=leverage,
            open_orders=tuple(self._register.open.values()),
            isolated_usd=None if np.isnan(isolated).all() else isolated,
        )
        return AccountState(
            view=view,
            mark=mark,
            equity_usd=equity,
            cash_usd=cash,
            deposits_usd=account.deposits_usd,
            funding_usd=account.funding_usd,
            fees_usd=account.fees_usd,
            positions=tuple(self._position(instrument, each) for instrument, each in ours),
            time_ms=self.seen_ms,
            others=tuple(sorted(each.symbol for each in self.held if each.symbol not in self._by_symbol)),
        )

    def _position(self, instrument: Instrument, held: Held) -> HeldPosition:
        ours = self._books.account.positions.get(instrument.name)
        return HeldPosition(
            instrument=instrument,
            lots=lots_of(instrument, held.coins, "a position"),
            entry_price=held.entry_price,
            mark=held.mark,
            notional_usd=held.notional_usd,
            unrealised_usd=usd(held.unrealised_usd),
            liquidation_price=held.liquidation_price,
            margin_mode=held.margin_mode,
            opened_ms=self._books.since_ms if ours is None else ours.opened_ms,
        )

    def holdings(self) -> tuple[dict[str, Holding], int]:
        """By the exchange's market, what is held and what rests to grow it; and the number of open orders."""
        sizes = {each.symbol: each.coins for each in self.held}
        buys: dict[str, Decimal] = {}
        sells: dict[str, Decimal] = {}
        for report in self._register.open.values():
            market = self._register.markets[report.order.instrument]
            if report.order.reduce_only:
                continue
            resting = buys if report.order.side.sign > 0 else sells
            size = market.instrument.size(report.remaining_lots)
            resting[market.symbol] = resting.get(market.symbol, ZERO) + size
        found = {
            market.market_id: Holding(
                plain(sizes.get(market.symbol, ZERO)),
                plain(buys.get(market.symbol, ZERO)),
                plain(sells.get(market.symbol, ZERO)),
            )
            for market in self._markets
        }
        return found, len(self._register.open)
