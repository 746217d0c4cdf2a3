"""What happened to the account: fills, funding and transfers, each counted once, with running totals.

The venue tells the same thing several times, by REST with overlap and by WebSocket as well; identity decides what is
new. A cursor says up to when everything has been asked for, and nothing is taken from before its overlap.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import structlog

from bot.errors import DataError
from bot.model.instrument import Instrument, Kind
from bot.model.money import ZERO, usd
from bot.model.order import Fill, FundingPayment, Liquidation, Purpose, Transfer
from bot.venues.edge import lots_of
from bot.venues.hyperliquid.orders import Register
from bot.venues.hyperliquid.parse_account import LedgerRow, VenueFill, VenueFunding
from bot.venues.hyperliquid.tokens import Tokens, whole_lots
from bot.venues.venue import VenueEvent

log = structlog.get_logger("hedgerow")

OVERLAP_MS: Final = 10 * 60_000
FORCED: Final = ("Liquidated", "Auto-Deleveraging")
MICRO_USD: Final = Decimal("0.000001")
"""How far a payment is rounded: an oracle price that comes so close may be the one that it was made at."""


class Books:
    """Totals since `since_ms`, and what has been counted already."""

    def __init__(self, account: str, register: Register, *, trades_spot: bool = False) -> None:
        self._account, self._register = account, register
        self.since_ms = 0
        self.deposits_usd, self.funding_usd, self.fees_usd = ZERO, ZERO, ZERO
        self.complete_ms = 0  # everything up to here has been asked for
        self.overlap_ms = OVERLAP_MS  # how long the venue may take to tell of something
        # Nothing from before it is taken. It never goes back, since what was seen then is forgotten.
        self._floor_ms = 0
        self._seen: dict[str, int] = {}  # identity → time
        self.opened_ms: dict[str, int] = {}
        self._filled: dict[int, tuple[int, Decimal, int]] = {}  # order id → lots, USD, time of the last
        self.tokens: Tokens | None = Tokens() if trades_spot else None

    def begin(self, time_ms: int, equity_usd: Decimal, held: Iterable[str]) -> None:
        """Open the books on an account as it is."""
        self.since_ms = self.complete_ms = self._floor_ms = time_ms
        self.deposits_usd = usd(equity_usd)
        self.opened_ms = dict.fromkeys(held, time_ms)

    def already(
        self, fills: Sequence[VenueFill], fundings: Sequence[VenueFunding], ledger: Sequence[LedgerRow]
    ) -> None:
        """What had happened by the very millisecond at which the books were opened is in the opening equity."""
        rows = [(_fill_key(each), each.time_ms) for each in fills]
        rows += [(_funding_key(each), each.time_ms) for each in fundings]
        rows += [(_ledger_key(each), each.time_ms) for each in ledger]
        self._seen |= {key: time_ms for key, time_ms in rows if time_ms <= self.since_ms}

    def from_ms(self) -> int:
        """From when on to ask again."""
        return self._floor_ms

    @property
    def newest_ms(self) -> int:
        """When the newest happened that is known, by whatever way it was told."""
        return max(self._seen.values(), default=0)

    def completed(self, time_ms: int) -> None:
        """Everything up to `time_ms` has been asked for; what is too old to be told again is forgotten."""
        self.complete_ms = max(self.complete_ms, time_ms)
        self._floor_ms = max(self._floor_ms, self.complete_ms - self.overlap_ms)
        before_ms = self._floor_ms
        self._seen = {key: at_ms for key, at_ms in self._seen.items() if at_ms >= before_ms}
        for order_id, (_, _, at_ms) in list(self._filled.items()):
            if at_ms < before_ms and order_id not in self._register.open:
                del self._filled[order_id]

    def _is_new(self, key: str, time_ms: int) -> bool:
        if key in self._seen or time_ms < self._floor_ms:
            return False
        self._seen[key] = time_ms
        return True

    def filled(self, order_id: int) -> tuple[int, Decimal]:
        """Lots of an order filled so far, and their average price."""
        lots, spent_usd, _ = self._filled.get(order_id, (0, ZERO, 0))
        return lots, spent_usd / lots if lots else ZERO

    def take_fills(self, told: Sequence[VenueFill]) -> list[VenueEvent]:
        """The fills among `told` that are new, with the liquidations that they show."""
        events: list[VenueEvent] = []
        for each in told:
            instrument = self._register.instrument(each.coin)
            if instrument is None and (each.coin.startswith("@") or "/" in each.coin):
                continue  # a spot trade of a pair not traded here, which moves no perp balance
            lots = None if instrument is None else _lots(instrument, each)
            if not self._is_new(_fill_key(each), each.time_ms):
                continue
            if instrument is None or lots is None:
                self.fees_usd += usd(each.fee)
                log.warning("fill of a coin not traded here", coin=each.coin)
            elif instrument.kind is Kind.SPOT:
                events.extend(self._spot_fill(each, instrument, lots))
            else:
                self.fees_usd += usd(each.fee)
                events.extend(self._fill(each, instrument, lots))
        return events

    def _spot_fill(self, told: VenueFill, instrument: Instrument, lots: int) -> Iterable[VenueEvent]:
        assert self.tokens is not None
        before, spent_usd, _ = self._filled.get(told.order_id, (0, ZERO, 0))
        self._filled[told.order_id] = (before + lots, spent_usd + lots * told.price, told.time_ms)
        client_id, purpose = self._register.whose(told.cloid, told.order_id)
        fill = _made(told, instrument, lots, client_id, purpose or Purpose.EXTERNAL)
        held = whole_lots(instrument, self.tokens.owned.get(instrument.name, ZERO))
        for each in self.tokens.take(told, instrument, fill):
            self.fees_usd += each.fee_usd
            yield each
        after = whole_lots(instrument, self.tokens.owned[instrument.name])
        if after and not held:
            self.opened_ms[instrument.name] = told.time_ms
        elif not after:
            self.opened_ms.pop(instrument.name, None)

    def _fill(self, told: VenueFill, instrument: Instrument, lots: int) -> Iterable[VenueEvent]:
        before, spent_usd, _ = self._filled.get(told.order_id, (0, ZERO, 0))
        self._filled[told.order_id] = (before + lots, spent_usd + lots * told.price, told.time_ms)
        held = lots_of(instrument, told.before, "a fill's earlier position")
        after = held + lots * told.side.sign
        if after == 0:
            self.opened_ms.pop(told.coin, None)
        elif held == 0 or (held > 0) != (after > 0):
            self.opened_ms[told.coin] = told.time_ms
        client_id, purpose = self._register.whose(told.cloid, told.order_id)
        forced = told.liquidated == self._account or told.direction.startswith(FORCED)
        if forced:
            purpose = Purpose.LIQUIDATION
        elif told.direction == "Settlement":
            purpose = Purpose.SETTLEMENT
        yield _made(told, instrument, lots, client_id, purpose or Purpose.EXTERNAL)
        if forced:
            method = (
                "backstop" if told.liquidation_method == "backstop" else "full" if after == 0 else "partial"
            )
            yield Liquidation(told.time_ms, told.coin, -lots * told.side.sign, told.price, method)

    def take_fundings(self, told: Sequence[VenueFunding], oracles: Mapping[str, Decimal]) -> list[VenueEvent]:
        """The payments among `told` that are new, at the prices of now (`oracles`) or those that they tell themselves."""
        events: list[VenueEvent] = []
        for each in told:
            instrument = self._register.instrument(each.coin)
            if instrument is not None and each.samples == 1:
                lots_of(instrument, each.size, "a funded position")
            if not self._is_new(_funding_key(each), each.time_ms):
                continue
            self.funding_usd += usd(each.usd)
            if instrument is None:
                log.warning("funding of a coin not traded here", coin=each.coin)
                continue
            oracle, base = oracles.get(each.coin, ZERO), each.size * each.rate
            if base and abs(each.usd + base * oracle) > MICRO_USD:  # the price has moved since the settlement
                oracle = usd(-each.usd / base)
            events.append(
                FundingPayment(
                    each.time_ms, each.coin, instrument.lots(each.size), oracle, each.rate, usd(each.usd)
                )
            )
        return events

    def take_ledger(self, told: Sequence[LedgerRow]) -> list[VenueEvent]:
        """The deposits, withdrawals and transfers among `told` that are new."""
        events: list[VenueEvent] = []
        for each in told:
            if not self._is_new(_ledger_key(each), each.time_ms):
                continue
            if each.perp_usd is None:
                log.error("transfer of an unknown kind; it counts as profit or loss", kind=each.kind)
                continue
            # Between the two wallets nothing comes in where both are counted.
            moved_usd = usd(each.perp_usd + (each.spot_usd if self.tokens is not None else ZERO))
            if moved_usd:
                self.deposits_usd += moved_usd
                events.append(Transfer(each.time_ms, moved_usd, each.kind, each.hash))
        return events

    def state(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "since_ms": self.since_ms,
            "complete_ms": self.complete_ms,
            "floor_ms": self._floor_ms,
            "deposits_usd": str(self.deposits_usd),
            "funding_usd": str(self.funding_usd),
            "fees_usd": str(self.fees_usd),
            "seen": dict(self._seen),
            "opened_ms": dict(self.opened_ms),
            "filled": {str(k): [lots, str(spent), at] for k, (lots, spent, at) in self._filled.items()},
            **({} if self.tokens is None else {"tokens": self.tokens.state()}),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` gave."""
        try:
            self.since_ms, self.complete_ms = int(state["since_ms"]), int(state["complete_ms"])
            self._floor_ms = int(state["floor_ms"])
            self.deposits_usd, self.funding_usd = (
                Decimal(state["deposits_usd"]),
                Decimal(state["funding_usd"]),
            )
            self.fees_usd = Decimal(state["fees_usd"])
            self._seen = {str(key): int(at) for key, at in state["seen"].items()}
            self.opened_ms = {str(coin): int(at) for coin, at in state["opened_ms"].items()}
            self._filled = {
                int(k): (int(lots), Decimal(spent), int(at))
                for k, (lots, spent, at) in state["filled"].items()
            }
            if self.tokens is not None:
                self.tokens.restore(state["tokens"])
        except (KeyError, ValueError, TypeError, ArithmeticError) as error:
            raise DataError(
                f"the checkpoint's books can't be read ({error!r}); start a new journal"
            ) from None


def _lots(instrument: Instrument, told: VenueFill) -> int:
    """Whole lots of a fill; of spot, where the venue sells dust by itself, there may be a fraction more."""
    if instrument.kind is Kind.SPOT:
        return instrument.lots(told.size)
    return lots_of(instrument, told.size, "a fill's size")


def _made(told: VenueFill, instrument: Instrument, lots: int, client_id: str, purpose: Purpose) -> Fill:
    return Fill(
        trade_id=told.trade_id or _made_id(told),
        time_ms=told.time_ms,
        instrument=instrument.name,
        side=told.side,
        lots=lots,
        price=told.price,
        notional_usd=usd(instrument.notional(lots, told.price)),
        fee_usd=usd(told.fee),
        is_maker=told.is_maker,
        client_id=client_id,
        order_id=told.order_id,
        purpose=purpose,
        closed_pnl_usd=usd(told.closed_pnl_usd),
    )


def _made_id(told: VenueFill) -> int:
    """A trade id for what the venue numbers 0."""
    named = f"{told.time_ms}:{told.coin}:{told.order_id}:{told.price}:{told.size}"
    return int.from_bytes(hashlib.sha256(named.encode()).digest()[:6], "big")


def _fill_key(fill: VenueFill) -> str:
    return f"f:{fill.time_ms}:{fill.coin}:{fill.trade_id}:{fill.order_id}"


def _funding_key(payment: VenueFunding) -> str:
    return f"p:{payment.time_ms}:{payment.coin}"


def _ledger_key(row: LedgerRow) -> str:
    return f"l:{row.time_ms}:{row.hash}:{row.kind}:{row.perp_usd}"
