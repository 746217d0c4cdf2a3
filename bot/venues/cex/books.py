"""What happened to the account: trades, funding and transfers, each counted once, and cash kept exactly by them.

Cash and positions follow from the events alone and are held against what the venue states: where positions differ, a
trade has not been told yet; where the money differs, something was booked that this program does not know.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import structlog

from bot.errors import DataError
from bot.model.account import Account, Position
from bot.model.instrument import Instrument
from bot.model.money import ZERO, usd
from bot.model.order import Fill, FundingPayment, Liquidation, Purpose, Side, Transfer
from bot.venues.cex.differences import Differences
from bot.venues.cex.wire import Booked, Held, Trade
from bot.venues.edge import lots_of
from bot.venues.venue import VenueEvent

log = structlog.get_logger("hedgerow")

OVERLAP_MS: Final = 10 * 60_000
CENT: Final = Decimal("0.01")
PER_EVENT_USD: Final = Decimal("0.00001")  # venues round each amount to 1e-8; we to 1e-6
ENTRY_DIGITS: Final = Decimal("1e-7")  # of an entry price, an average that venues round


@dataclass(frozen=True, slots=True)
class Market:
    """One of the traded contracts: ours, the library's name, the exchange's, and the coins in one contract."""

    instrument: Instrument
    symbol: str
    market_id: str
    contract: Decimal


Whose = Callable[[str, int], tuple[str, Purpose]]
"""Client id and purpose of an order of an instrument, by the venue's order id."""


class Books:
    """Of one account, since they were opened."""

    def __init__(
        self, venue: str, settle: str, markets: Sequence[Market], differences: Differences, whose: Whose
    ) -> None:
        self._venue, self._settle, self._differences, self._whose = venue, settle, differences, whose
        self._by_symbol = {market.symbol: market for market in markets}
        self._by_id = {market.market_id: market for market in markets}
        self._by_name = {market.instrument.name: market.instrument for market in markets}
        self.account = Account()
        self.since_ms = self.complete_ms = self._floor_ms = 0
        self.overlap_ms = OVERLAP_MS
        self._seen: dict[str, int] = {}
        self._untold: list[VenueEvent] = []
        self._filled: dict[str, tuple[int, Decimal, int]] = {}
        self._traded: list[tuple[int, str, int]] = []  # when, what, lots with sign; as old as is asked
        self._events = 0  # counted since the books were opened; each may have been rounded
        self.unexplained_usd = ZERO  # the venue's money less ours, when last looked at

    # Opening

    def begin(
        self,
        time_ms: int,
        wallet_usd: Decimal,
        held: Sequence[Held],
        trades: Sequence[Trade],
        booked: Sequence[Booked],
    ) -> None:
        """Open the books on an account as it is; `trades` and `booked` of the time of the overlap are in it already."""
        self.since_ms = self.complete_ms = time_ms
        self._floor_ms = time_ms - self.overlap_ms
        account = Account()
        account.deposit(usd(wallet_usd + sum((each.unrealised_usd for each in held), ZERO)))
        account.cash_usd = usd(wallet_usd)
        for each in held:
            market = self._by_symbol.get(each.symbol)
            account.cash_usd -= usd(each.coins * each.entry_price)
            if market is not None:
                lots = lots_of(market.instrument, each.coins, "a position")
                account.positions[market.instrument.name] = Position(
                    market.instrument, lots, usd(each.coins * each.entry_price), time_ms
                )
        self.account = account
        self._seen = {_trade_key(each): each.time_ms for each in trades}
        self._seen |= {f"l:{each.key}": each.time_ms for each in booked}

    def from_ms(self) -> int:
        """From when on to ask again."""
        return self._floor_ms

    def completed(self, time_ms: int, open_orders: Iterable[tuple[str, int]]) -> None:
        """Everything up to `time_ms` has been asked for; what is too old to be told again is forgotten."""
        self.complete_ms = max(self.complete_ms, time_ms)
        self._floor_ms = max(self._floor_ms, self.complete_ms - self.overlap_ms)
        self._seen = {key: at_ms for key, at_ms in self._seen.items() if at_ms >= self._floor_ms}
        self._traded = [each for each in self._traded if each[0] >= self._floor_ms]
        kept = {_order_key(*each) for each in open_orders}
        self._filled = {
            key: told for key, told in self._filled.items() if told[2] >= self._floor_ms or key in kept
        }

    def filled(self, instrument: str, order_id: int) -> tuple[int, Decimal]:
        """Lots of an order filled so far, and their average price."""
        lots, spent_usd, _ = self._filled.get(_order_key(instrument, order_id), (0, ZERO, 0))
        if not lots:
            return 0, ZERO
        return lots, spent_usd / self._by_name[instrument].size(lots)

    # Counting

    def take(
        self,
        trades: Sequence[Trade],
        booked: Sequence[Booked],
        settled: Callable[[str, int], tuple[Decimal, int | None] | None],
    ) -> list[VenueEvent]:
        """What is new, in the order in which it happened. `settled` knows rate and interval, in hours, of
        what was settled of an instrument at a time."""
        events = self._untold  # of an earlier call that met a row which can't be read
        rows: list[tuple[int, int, Trade | Booked]] = [(each.time_ms, 1, each) for each in trades]
        # A position held at the instant pays: funding of the same millisecond comes before a trade, all else after it.
        funding = self._differences.funding_kinds
        rows += [(each.time_ms, 0 if each.kind in funding else 2, each) for each in booked]
        for time_ms, _, each in sorted(rows, key=lambda row: row[:2]):
            key = _trade_key(each) if isinstance(each, Trade) else f"l:{each.key}"
            if not self._is_new(key, time_ms):
                continue
            try:
                events += self._fill(each) if isinstance(each, Trade) else self._line(each, settled)
            except DataError:  # not counted, so it is asked for again; what came before it is told then
                del self._seen[key]
                raise
        self._untold = []
        return events

    def _is_new(self, key: str, time_ms: int) -> bool:
        if key in self._seen or time_ms < self._floor_ms:
            return False
        self._seen[key] = time_ms
        self._events += 1
        return True

    def _fill(self, told: Trade) -> list[VenueEvent]:
        market = self._by_symbol[told.symbol]
        instrument = market.instrument
        lots = lots_of(instrument, told.coins, "a trade")
        fee = usd(told.fee)
        if told.fee and told.fee_currency != self._settle:
            log.error(
                "a fee in another currency is not counted", coin=instrument.name, paid=told.fee_currency
            )
            fee = ZERO
        client_id, purpose = self._whose(instrument.name, told.order_id)
        purpose = told.forced or purpose
        position = self.account.positions.get(instrument.name) or Position(instrument)
        before, notional = position.lots, usd(told.notional)
        closed = position.trade(lots * told.side.sign, notional * told.side.sign)
        if before == 0 or (before > 0) != (position.lots > 0):
            position.opened_ms = told.time_ms
        fill = Fill(
            trade_id=_journal_id(self._venue, told),
            time_ms=told.time_ms,
            instrument=instrument.name,
            side=told.side,
            lots=lots,
            price=told.price,
            notional_usd=notional,
            fee_usd=fee,
            is_maker=told.is_maker,
            client_id=client_id,
            order_id=told.order_id,
            purpose=purpose,
            closed_pnl_usd=closed,
        )
        self.account.apply_fill(fill, position)
        self._traded.append((told.time_ms, instrument.name, fill.signed_lots))
        key = _order_key(instrument.name, told.order_id)
        known, spent, _ = self._filled.get(key, (0, ZERO, 0))
        self._filled[key] = known + lots, spent + told.notional, told.time_ms
        if purpose is not Purpose.LIQUIDATION:
            return [fill]
        kind = "partial" if position.lots else "full"
        return [fill, Liquidation(told.time_ms, instrument.name, -fill.signed_lots, told.price, kind)]

    def _line(
        self, told: Booked, settled: Callable[[str, int], tuple[Decimal, int | None] | None]
    ) -> list[VenueEvent]:
        differences, amount = self._differences, usd(told.usd)
        if told.kind in differences.fee_kinds:
            return []  # with the fills
        if told.currency != self._settle:
            log.warning("booked in another currency; not counted", kind=told.kind, currency=told.currency)
            return []
        if told.kind in differences.funding_kinds:
            return self._funding(told, amount, settled)
        market = self._by_id.get(told.symbol)
        if told.kind in differences.lost_kinds and market is not None:
            self.account.forfeit(-amount)
            name = market.instrument.name
            return [Liquidation(told.time_ms, name, 0, ZERO, "fee", forfeited_usd=-amount)]
        self.account.deposit(amount)
        if told.kind not in differences.transfer_kinds:
            log.warning("booked by the venue; it counts as a transfer", kind=told.kind, usd=str(amount))
        return [Transfer(told.time_ms, amount, told.kind, told.key)]

    def _funding(
        self, told: Booked, amount: Decimal, settled: Callable[[str, int], tuple[Decimal, int | None] | None]
    ) -> list[VenueEvent]:
        market = self._by_id.get(told.symbol)
        self.account.cash_usd += amount
        self.account.funding_usd += amount
        if market is None:
            log.warning("funding of a contract not traded here", market=told.symbol)
            return []
        instrument = market.instrument
        # What was traded since is counted already where the payment is told later than that: trades are asked for more often.
        since = sum(lots for at, name, lots in self._traded if at >= told.time_ms and name == instrument.name)
        lots = self.account.lots(instrument.name) - since
        rate, interval_h = settled(instrument.name, told.time_ms) or (ZERO, None)
        base = instrument.size(lots) * rate
        price = usd(-amount / base) if base and -amount / base > 0 else ZERO
        return [FundingPayment(told.time_ms, instrument.name, lots, price, rate, amount, interval_h)]

    # Held against the venue

    def strange_lots(self, held: Sequence[Held]) -> dict[str, int]:
        """By instrument the lots that the venue holds and these books do not; empty where they agree."""
        theirs = {
            market.instrument.name: lots_of(market.instrument, each.coins, "a position")
            for each in held
            if (market := self._by_symbol.get(each.symbol)) is not None
        }
        names = theirs.keys() | self.account.positions.keys()
        return {
            name: extra for name in names if (extra := theirs.get(name, 0) - self.account.lots(name)) != 0
        }

    def strange_usd(self, wallet_usd: Decimal, held: Sequence[Held]) -> Decimal:
        """The venue's cash less that of these books; 0 where they differ by rounding only.

        Reckoned without marks, which are another in each reply: the wallet less what the positions were entered for.
        """
        entered = [each.coins * each.entry_price for each in held]
        apart = wallet_usd - sum(entered, ZERO) - self.account.cash_usd - self.unexplained_usd
        rounding = CENT + PER_EVENT_USD * self._events + ENTRY_DIGITS * sum(map(abs, entered), ZERO)
        return ZERO if abs(apart) <= rounding else apart

    def take_as_it_is(
        self, lots: Mapping[str, int], apart_usd: Decimal, held: Sequence[Held], time_ms: int
    ) -> list[VenueEvent]:
        """The venue's word stands where nothing explains it; what is held otherwise is told as a trade of the venue's own.

        What closes does so at what was paid, and what it really brought is in `unexplained_usd`: profit or loss.
        """
        entries = {each.symbol: each.entry_price for each in held}
        cash_usd, events = self.account.cash_usd, list[VenueEvent]()
        for name, extra in lots.items():
            market = next(each for each in self._by_symbol.values() if each.instrument.name == name)
            position, coins = self.account.positions.get(name), market.instrument.size(abs(extra))
            price = entries.get(market.symbol, ZERO)
            if position is not None and position.lots * extra < 0:
                paid = abs(position.cost_usd) / market.instrument.size(abs(position.lots))
                price = paid.quantize(Decimal("1e-8"))
            side, number = Side.of(extra), f"unexplained {time_ms}"
            events += self._fill(
                Trade(number, 0, market.symbol, time_ms, side, coins, price, coins * price, ZERO, self._settle, False, Purpose.SETTLEMENT)
            )  # fmt: skip
        self.unexplained_usd += apart_usd - (self.account.cash_usd - cash_usd)
        return events

    # Keeping

    def state(self) -> dict[str, Any]:
        """As JSON values."""
        account = self.account
        return {
            "since_ms": self.since_ms,
            "complete_ms": self.complete_ms,
            "floor_ms": self._floor_ms,
            "cash_usd": str(account.cash_usd),
            "deposits_usd": str(account.deposits_usd),
            "realised_usd": str(account.realised_usd),
            "funding_usd": str(account.funding_usd),
            "fees_usd": str(account.fees_usd),
            "volume_usd": str(account.volume_usd),
            "unexplained_usd": str(self.unexplained_usd),
            "events": self._events,
            "positions": {
                name: [held.lots, str(held.cost_usd), held.opened_ms]
                for name, held in account.positions.items()
            },
            "seen": dict(self._seen),
            "traded": [list(each) for each in self._traded],
            "filled": {key: [lots, str(spent), at] for key, (lots, spent, at) in self._filled.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` gave."""
        try:
            self.since_ms, self.complete_ms = int(state["since_ms"]), int(state["complete_ms"])
            self._floor_ms, self._events = int(state["floor_ms"]), int(state["events"])
            self.unexplained_usd = Decimal(state["unexplained_usd"])
            self.account = Account(
                cash_usd=Decimal(state["cash_usd"]),
                positions={
                    str(name): Position(self._by_name[name], int(lots), Decimal(cost), int(opened_ms))
                    for name, (lots, cost, opened_ms) in state["positions"].items()
                },
                deposits_usd=Decimal(state["deposits_usd"]),
                realised_usd=Decimal(state["realised_usd"]),
                funding_usd=Decimal(state["funding_usd"]),
                fees_usd=Decimal(state["fees_usd"]),
                volume_usd=Decimal(state["volume_usd"]),
            )
            self._seen = {str(key): int(at) for key, at in state["seen"].items()}
            self._traded = [(int(at), str(name), int(lots)) for at, name, lots in state.get("traded", ())]
            self._filled = {
                str(key): (int(lots), Decimal(spent), int(at))
                for key, (lots, spent, at) in state["filled"].items()
            }
        except (KeyError, ValueError, TypeError, ArithmeticError) as error:
            raise DataError(
                f"the checkpoint's books can't be read ({error!r}); start a new journal"
            ) from None


def _journal_id(venue: str, told: Trade) -> int:
    """A trade's number in the journal, where those of all venues and markets stand side by side."""
    named = f"{venue}:{told.symbol}:{told.trade_id}"
    return int.from_bytes(hashlib.sha256(named.encode()).digest()[:8], "big") >> 1


def _trade_key(trade: Trade) -> str:
    return f"t:{trade.symbol}:{trade.trade_id}"


def _order_key(instrument: str, order_id: int) -> str:
    return f"{instrument}:{order_id}"
