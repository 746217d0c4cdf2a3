"""A spot exchange as a state machine: tokens change hands for tokens, and nobody can owe any.

Like `bot.sim.exchange` it is pure, is told the time with every call, and has an outside market beside the accounts'
own orders. What rests is held back from the balance that pays for it, so a resting order can always be filled.
What the accounts own, what the venue took in fees and what the outside market gained add up to what was deposited.
"""

from __future__ import annotations

from collections.abc import KeysView, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from bot.errors import Refused
from bot.model.instrument import SIGNIFICANT_FIGURES
from bot.model.money import ZERO, usd_down
from bot.model.order import Order, OrderReport, OrderStatus, Side, TimeInForce
from bot.sim.book import Book, Level, LiveOrder
from bot.sim.fees import HYPERLIQUID_SPOT, FeeSchedule, TradedVolume

SPOT_PRICE_DECIMALS = 8
NEVER_PLACED = "Order was never placed, already canceled, or filled."
NO_BALANCE = "Insufficient spot balance"
VOLUME_WEIGHT = 2  # a dollar of spot counts as two toward the fee tier


@dataclass(frozen=True, slots=True)
class Token:
    """Something that can be owned: balances are multiples of `10 ** -wei_decimals`, orders of `10 ** -size_decimals`."""

    name: str
    size_decimals: int
    wei_decimals: int


@dataclass(frozen=True, slots=True)
class Pair:
    """A market of `base` for `quote`, in whole lots of the base token."""

    name: str
    base: Token
    quote: Token
    min_order: Decimal = Decimal(10)  # in quote tokens
    lot: Decimal = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.base.size_decimals <= min(self.base.wei_decimals, SPOT_PRICE_DECIMALS):
            raise ValueError(f"{self.name}: a lot must be a whole number of the base token's smallest unit")
        object.__setattr__(self, "lot", Decimal(1).scaleb(-self.base.size_decimals))

    @property
    def size_decimals(self) -> int:
        return self.base.size_decimals

    @property
    def lots_per_coin(self) -> int:
        return int(10**self.size_decimals)

    def size(self, lots: int) -> Decimal:
        """Size in base tokens."""
        return lots * self.lot

    def lots(self, size: Decimal) -> int:
        """Whole lots in a size, rounded toward zero."""
        return int(size.scaleb(self.size_decimals))

    def round_price(self, price: Decimal, *, up: bool | None = None) -> Decimal:
        """The price on the venue's grid: five significant figures and `8 − size_decimals` decimals at most."""
        if price <= 0:
            raise ValueError(f"{self.name}: a price must be above 0, found {price}")
        decimals = min(SIGNIFICANT_FIGURES - 1 - price.adjusted(), SPOT_PRICE_DECIMALS - self.size_decimals)
        rounding = ROUND_HALF_EVEN if up is None else ROUND_CEILING if up else ROUND_FLOOR
        return price.quantize(Decimal(1).scaleb(-max(0, decimals)), rounding)

    def is_on_grid(self, price: Decimal) -> bool:
        return price > 0 and self.round_price(price) == price


@dataclass(frozen=True, slots=True)
class SpotFill:
    """A trade that happened: `fee` is in `fee_token`, which is the token received; `started` what was owned before."""

    trade_id: int
    time_ms: int
    pair: str
    side: Side
    lots: int
    price: Decimal
    notional: Decimal  # in quote tokens
    fee: Decimal
    fee_token: str
    is_maker: bool
    order_id: int
    started: Decimal
    closed_pnl: Decimal  # of a sale, in quote tokens and before fees


class Wallet:
    """What one account owns, token by token, how much of it is held for open orders, and what it was bought for."""

    __slots__ = ("entry", "held", "open", "total", "traded")

    def __init__(self, traded: TradedVolume) -> None:
        self.total: dict[str, Decimal] = {}
        self.held: dict[str, Decimal] = {}
        self.entry: dict[str, Decimal] = {}
        self.open: dict[int, LiveOrder] = {}  # oldest first
        self.traded = traded

    def free(self, token: str) -> Decimal:
        return self.total.get(token, ZERO) - self.held.get(token, ZERO)


SpotEvent = tuple[str, OrderReport | SpotFill]


class SpotExchange:
    """Accounts that trade tokens with each other and with an outside market."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        fees: FeeSchedule = HYPERLIQUID_SPOT,
        price_band: Decimal = Decimal("0.8"),
    ) -> None:
        self.pairs = {pair.name: pair for pair in pairs}
        self.books = {pair.name: Book() for pair in pairs}
        self.marks: dict[str, Decimal] = {}
        self.wallets: dict[str, Wallet] = {}
        self.collected: dict[str, Decimal] = {}  # fees, token by token
        self.outside: dict[str, Decimal] = {}  # what the outside market gained; negative is what it gave
        self._fees = fees
        self._price_band = price_band
        self._events: list[SpotEvent] = []
        self._now_ms = 0
        self._last_order_id = self._last_trade_id = 0

    def join(self, account: str, traded: TradedVolume | None = None) -> Wallet:
        """An account's wallet, empty if it is new. `traded` is its volume elsewhere, which decides fees together."""
        wallet = self.wallets.get(account)
        if wallet is None:
            wallet = self.wallets[account] = Wallet(traded or TradedVolume())
        return wallet

    def deposit(self, account: str, token: str, amount: Decimal, cost: Decimal = ZERO) -> None:
        """Credit an account, `cost` being what the tokens are worth. Raises Refused on nothing or less."""
        if amount <= 0:
            raise Refused(f"a deposit must be above 0, found {amount}")
        wallet = self.join(account)
        wallet.total[token] = wallet.total.get(token, ZERO) + amount
        wallet.entry[token] = wallet.entry.get(token, ZERO) + cost

    def withdraw(self, account: str, token: str, amount: Decimal) -> None:
        """Take tokens out of an account. Raises Refused on more than is free, or on nothing."""
        wallet = self.wallets.get(account)
        if wallet is None or not 0 < amount <= wallet.free(token):
            raise Refused("Insufficient balance for token transfer")
        _spend(wallet, token, amount)

    def charge(self, account: str, token: str, amount: Decimal) -> None:
        """Take a fee that is not the exchange's own. Raises Refused on more than is free."""
        self.withdraw(account, token, amount)
        _add(self.collected, token, amount)

    def open_ids(self, account: str) -> KeysView[int]:
        return self.join(account).open.keys()

    def drain(self) -> list[SpotEvent]:
        """What happened since the last call, in order, each with the account it happened to."""
        events, self._events = self._events, []
        return events

    def submit(self, account: str, order: Order, time_ms: int, order_id: int | None = None) -> OrderReport:
        """Place an order, which needs a limit. A refusal is a report; Refused is raised for an unknown pair only."""
        self._advance(time_ms)
        pair = self._pair(order.instrument)
        if order_id is None:
            self._last_order_id += 1
            order_id = self._last_order_id
        live = LiveOrder(order_id, account, order, time_ms)
        reason = self._refusal(pair, order) or self._unpaid(pair, live)
        if reason:
            return self._report(live, OrderStatus.REJECTED, time_ms, reason)
        if order.time_in_force is TimeInForce.ALO and self.books[pair.name].can_match(live.sign, live.price):
            reason = "Post only order would have immediately matched."
            return self._report(live, OrderStatus.REJECTED, time_ms, reason)
        self._take(pair, live, time_ms)
        if not live.remaining:
            return self._report(live, OrderStatus.FILLED, time_ms)
        if order.time_in_force is not TimeInForce.IOC:
            self._rest(pair, live)
            return self._report(live, OrderStatus.RESTING, time_ms)
        if live.filled_lots:
            return self._report(live, OrderStatus.CANCELED, time_ms, "iocCancelRejected")
        reason = "Order could not immediately match against any resting orders."
        return self._report(live, OrderStatus.REJECTED, time_ms, reason)

    def cancel(self, account: str, order_id: int, time_ms: int, reason: str = "canceled") -> OrderReport:
        """Cancel an open order. Raises Refused if the account has none of that id."""
        self._advance(time_ms)
        live = self.join(account).open.get(order_id)
        if live is None:
            raise Refused(NEVER_PLACED)
        return self._cancel(live, reason, time_ms)

    def quote_depth(self, pair: str, bids: Sequence[Level], asks: Sequence[Level], time_ms: int) -> None:
        """Set what the outside market trades at, best first; resting orders that it reaches fill at their own limit."""
        self._advance(time_ms)
        self._pair(pair)
        book = self.books[pair]
        book.deepen(bids, asks)
        for sign, limit in ((1, book.ask), (-1, book.bid)):
            while limit is not None and (maker := book.best(sign)) is not None:
                assert maker.price is not None
                if (maker.price - limit) * sign < 0:
                    break
                self._trade(None, maker, maker.remaining, maker.price, time_ms)

    def set_marks(self, marks: Mapping[str, Decimal]) -> None:
        """Set the prices that limits are measured against."""
        self.marks.update(marks)

    def outside_takes(self, pair: str, side: Side, lots: int, time_ms: int) -> int:
        """The outside market buys or sells `lots` from resting orders, if they are its best offer; what it got."""
        self._advance(time_ms)
        self._pair(pair)
        book, left = self.books[pair], lots
        while left and (maker := book.best(-side.sign)) is not None:
            price, other = maker.price, book.outside(-side.sign)
            assert price is not None
            if other is not None and (price - other) * side.sign > 0:
                break
            part = min(left, maker.remaining)
            self._trade(None, maker, part, price, time_ms)
            left -= part
        return lots - left

    # --- inside

    def _pair(self, name: str) -> Pair:
        try:
            return self.pairs[name]
        except KeyError:
            raise Refused(f"there is no pair {name!r}; it must be one of {sorted(self.pairs)}") from None

    def _advance(self, time_ms: int) -> None:
        if time_ms < self._now_ms:
            raise ValueError(f"the exchange is at {self._now_ms} ms and can't go back to {time_ms} ms")
        self._now_ms = time_ms

    def _refusal(self, pair: Pair, order: Order) -> str:
        """Why an order can't be placed whoever pays for it; empty if it can."""
        limit, mark = order.limit_price, self.marks.get(pair.name)
        if order.trigger is not None:
            return "Placing trigger orders is not enabled on spot trading yet."
        if order.reduce_only:
            return "Reduce-only is invalid for spot trading."
        if limit is None or limit <= 0:
            return "Order has invalid price."
        if not pair.is_on_grid(limit):
            return "Price must be divisible by tick size."
        if mark is None:
            return "No mark price."
        if abs(limit - mark) > self._price_band * mark:
            return "Order price cannot be more than 80% away from the reference price"
        if order.lots * pair.lot * limit < pair.min_order:
            return f"Order must have minimum value of {pair.min_order} {pair.quote.name}."
        return ""

    def _unpaid(self, pair: Pair, live: LiveOrder) -> str:
        token, needed = _cost(pair, live, live.remaining)
        return NO_BALANCE if needed > self.join(live.account).free(token) else ""

    def _report(self, live: LiveOrder, status: OrderStatus, time_ms: int, reason: str = "") -> OrderReport:
        report = live.report(status, time_ms, reason)
        self._events.append((live.account, report))
        return report

    def _rest(self, pair: Pair, live: LiveOrder) -> None:
        wallet = self.wallets[live.account]
        wallet.open[live.order_id] = live
        self.books[pair.name].add(live)
        _hold(wallet, *_cost(pair, live, live.remaining))

    def _cancel(self, live: LiveOrder, reason: str, time_ms: int) -> OrderReport:
        pair, wallet = self.pairs[live.order.instrument], self.wallets[live.account]
        token, held = _cost(pair, live, live.remaining)
        _hold(wallet, token, -held)
        del wallet.open[live.order_id]
        self.books[pair.name].remove(live)
        return self._report(live, OrderStatus.CANCELED, time_ms, reason)

    def _take(self, pair: Pair, taker: LiveOrder, time_ms: int) -> None:
        """Match an incoming order as far as it goes: best price first, then the oldest, then the outside market."""
        book, sign, limit = self.books[pair.name], taker.sign, taker.price
        assert limit is not None
        while taker.remaining:
            maker, price = book.best(-sign), book.outside(-sign)
            if maker is not None:
                assert maker.price is not None
                if price is None or (maker.price - price) * sign <= 0:
                    price = maker.price
                else:
                    maker = None
            if price is None or (price - limit) * sign > 0:
                return
            if maker is None:
                lots = book.outside_lots(-sign, taker.remaining)
                book.consume(-sign, lots)
                self._trade(taker, None, lots, price, time_ms)
            elif maker.account == taker.account:
                self._cancel(maker, "selfTradeCanceled", time_ms)
            else:
                self._trade(taker, maker, min(taker.remaining, maker.remaining), price, time_ms)

    def _trade(
        self, taker: LiveOrder | None, maker: LiveOrder | None, lots: int, price: Decimal, time_ms: int
    ) -> None:
        either = taker or maker
        assert either is not None
        pair = self.pairs[either.order.instrument]
        self._last_trade_id += 1
        if maker is None or taker is None:
            sign, size = either.sign, pair.size(lots)
            _add(self.outside, pair.base.name, -sign * size)
            _add(self.outside, pair.quote.name, sign * size * price)
        if taker is not None:
            self._settle(pair, taker, lots, price, time_ms, is_maker=False)
        if maker is None:
            return
        wallet = self.wallets[maker.account]
        token, held = _cost(pair, maker, lots)
        _hold(wallet, token, -held)
        if lots == maker.remaining:
            del wallet.open[maker.order_id]
            self.books[pair.name].remove(maker)
        self._settle(pair, maker, lots, price, time_ms, is_maker=True)
        self._report(maker, OrderStatus.RESTING if maker.remaining else OrderStatus.FILLED, time_ms)

    def _settle(
        self, pair: Pair, live: LiveOrder, lots: int, price: Decimal, time_ms: int, *, is_maker: bool
    ) -> None:
        """Book one side of a trade. The fee is taken from what is received, and measured in quote tokens."""
        wallet, size = self.wallets[live.account], pair.size(lots)
        notional, started = size * price, wallet.total.get(pair.base.name, ZERO)
        fee = usd_down(notional * self._fees.rate(is_maker, wallet.traded.last_14d_usd(time_ms)))
        received, profit = pair.quote, ZERO
        if live.sign > 0:
            received = pair.base
            fee = (fee / price).quantize(Decimal(1).scaleb(-received.wei_decimals), ROUND_DOWN)
            _spend(wallet, pair.quote.name, notional)
            _add(wallet.total, received.name, size - fee)
            _add(wallet.entry, received.name, notional)
        else:
            profit = notional - _spend(wallet, pair.base.name, size)
            _add(wallet.total, received.name, notional - fee)
        _add(self.collected, received.name, fee)
        wallet.traded.add(VOLUME_WEIGHT * notional, time_ms)
        live.fill(lots, price)
        fill = SpotFill(
            self._last_trade_id,
            time_ms,
            pair.name,
            live.order.side,
            lots,
            price,
            notional,
            fee,
            received.name,
            is_maker,
            live.order_id,
            started,
            profit,
        )
        self._events.append((live.account, fill))


def _cost(pair: Pair, live: LiveOrder, lots: int) -> tuple[str, Decimal]:
    """Which token an order of `lots` gives away, and how much at its limit."""
    if live.sign < 0:
        return pair.base.name, pair.size(lots)
    assert live.price is not None
    return pair.quote.name, pair.size(lots) * live.price


def _add(amounts: dict[str, Decimal], token: str, amount: Decimal) -> None:
    amounts[token] = amounts.get(token, ZERO) + amount


def _hold(wallet: Wallet, token: str, amount: Decimal) -> None:
    _add(wallet.held, token, amount)


def _spend(wallet: Wallet, token: str, amount: Decimal) -> Decimal:
    """Take tokens away, and return the part of their entry value that goes with them."""
    total, entry = wallet.total[token], wallet.entry.get(token, ZERO)
    gone = entry if amount == total else (entry * amount / total).quantize(Decimal("1e-8"))
    wallet.total[token], wallet.entry[token] = total - amount, entry - gone
    return gone
