"""The simulated exchange written a second time, slowly and plainly, so that the fast one has somebody to disagree with.

Everything is a list that is searched from its start, every sum is made anew from fractions, and nothing is shared with
the exchange but the value types: margin is summed bracket by bracket, cash and profit are folded from scratch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, Protocol

from bot.errors import Refused
from bot.model.account import MarginMode
from bot.model.instrument import Instrument
from bot.model.order import Order, Purpose, Side, TimeInForce, Trigger, TriggerKind

NOTHING = Fraction(0)
DAY_MS = 24 * 3_600_000

Event = tuple[Any, ...]


class Fees(Protocol):
    def rate(self, maker: bool, volume_14d_usd: Decimal) -> Decimal: ...


class ExchangeRules(Protocol):
    """What the twin reads of the exchange's rules."""

    @property
    def fees(self) -> Fees: ...
    @property
    def funding_cap_per_hour(self) -> Decimal: ...
    @property
    def partial_liquidation_usd(self) -> Decimal: ...
    @property
    def partial_share(self) -> Decimal: ...
    @property
    def cooldown_ms(self) -> int: ...
    @property
    def backstop_ratio(self) -> Decimal: ...
    @property
    def price_band(self) -> Decimal: ...
    @property
    def default_leverage(self) -> int: ...


def micro(value: Fraction) -> Fraction:
    """Rounded half-even to a millionth."""
    return Fraction(round(value * 1_000_000), 1_000_000)


def micro_down(value: Fraction) -> Fraction:
    return Fraction(math.floor(value * 1_000_000), 1_000_000)


def as_decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


def bracket_maintenance(instrument: Instrument, notional: Fraction) -> Fraction:
    """Maintenance margin as an income tax: each bracket's share of the notional at the bracket's own rate."""
    total = NOTHING
    for i, tier in enumerate(instrument.tiers):
        start = Fraction(tier.lower_bound_usd)
        last = i + 1 == len(instrument.tiers)
        end = abs(notional) if last else min(abs(notional), Fraction(instrument.tiers[i + 1].lower_bound_usd))
        if end > start:
            total += (end - start) / (2 * tier.max_leverage)
    return total


def allowed_leverage(instrument: Instrument, notional: Fraction) -> int:
    allowed = instrument.max_leverage
    for tier in instrument.tiers:
        if notional >= Fraction(tier.lower_bound_usd):
            allowed = tier.max_leverage
    return allowed


def is_a_grid_price(instrument: Instrument, price: Decimal) -> bool:
    if price <= 0:
        return False
    digits, exponent = price.normalize().as_tuple()[1:]
    assert isinstance(exponent, int)
    return exponent >= 0 or (len(digits) <= 5 and -exponent <= 6 - instrument.size_decimals)


@dataclass(eq=False)
class TwinOrder:
    order_id: int
    account: TwinAccount
    asked: Order
    left: int
    state: str  # "resting", "waiting", or how it ended
    filled: int = 0
    paid: Fraction = NOTHING  # Σ lots × price of what has filled

    @property
    def average(self) -> Fraction:
        return self.paid / self.filled if self.filled else NOTHING

    @property
    def price(self) -> Fraction:
        assert self.asked.limit_price is not None
        return Fraction(self.asked.limit_price)


@dataclass(eq=False)
class TwinPosition:
    instrument: Instrument
    isolated: bool
    lots: int = 0
    cost: Fraction = NOTHING
    cash: Fraction = NOTHING


@dataclass(eq=False)
class TwinAccount:
    name: str
    cash: Fraction = NOTHING
    positions: list[TwinPosition] = field(default_factory=list)
    settings: dict[str, tuple[int, bool]] = field(default_factory=dict)  # leverage, isolated
    deposits: Fraction = NOTHING
    realised: Fraction = NOTHING
    funding: Fraction = NOTHING
    fees: Fraction = NOTHING
    volume: Fraction = NOTHING
    forfeited: Fraction = NOTHING
    trades: list[tuple[int, Fraction]] = field(default_factory=list)  # time, notional
    partial_ms: dict[str, int] = field(default_factory=dict)

    def position(self, instrument: str) -> TwinPosition | None:
        found = [p for p in self.positions if p.instrument.name == instrument]
        return found[0] if found else None

    def lots(self, instrument: str) -> int:
        position = self.position(instrument)
        return position.lots if position else 0


class Twin:
    """The exchange's calls, and its state as plain tuples."""

    def __init__(self, instruments: Sequence[Instrument], rules: ExchangeRules) -> None:
        self.instruments = {i.name: i for i in instruments}
        self.rules = rules
        self.accounts: list[TwinAccount] = []
        self.marks: dict[str, Fraction] = {}
        self.quotes: dict[str, tuple[Fraction | None, Fraction | None]] = {}
        self.offered: dict[str, dict[Side, int]] = {}  # lots left of an offer, by who gives them
        self.orders: list[TwinOrder] = []
        self.events: list[Event] = []
        self.trade_id = 0
        self.order_id = 0
        self.now = 0

    # --- calls -------------------------------------------------------------------------------------------------

    def deposit(self, account: str, amount_usd: Decimal, time_ms: int) -> None:
        self.now = time_ms
        if account not in [a.name for a in self.accounts]:
            self.accounts.append(TwinAccount(account))
        found = self._account(account)
        found.cash += Fraction(amount_usd)
        found.deposits += Fraction(amount_usd)

    def set_leverage(
        self, account: str, instrument: str, leverage: int, mode: MarginMode, time_ms: int
    ) -> None:
        self.now = time_ms
        found, traded, isolated = (
            self._account(account),
            self.instruments[instrument],
            mode is MarginMode.ISOLATED,
        )
        if not 1 <= leverage <= traded.max_leverage:
            raise Refused("leverage")
        if traded.only_isolated and not isolated:
            raise Refused("only isolated")
        position = found.position(instrument)
        if position is not None and position.isolated != isolated:
            raise Refused("open position")
        before = self._setting(found, instrument)
        if position is not None and isolated and leverage < before[0]:
            value = self._value(traded, position.lots, self.marks[instrument])
            if position.cash + value < abs(value) / leverage:
                raise Refused("margin of the open isolated position")
        if instrument in self.marks:
            worst = self._value(traded, self._worst_lots(found, instrument, None), self.marks[instrument])
            if worst and leverage > allowed_leverage(traded, worst):
                raise Refused("margin tier")
        needed = self._in_use(found, None)
        found.settings[instrument] = (leverage, isolated)
        if self._in_use(found, None) > max(needed, self._cross_value(found)):
            found.settings[instrument] = before
            raise Refused("margin")

    def submit(self, account: str, order: Order, time_ms: int) -> Event:
        self.now = time_ms
        self.order_id += 1
        placed = TwinOrder(self.order_id, self._account(account), order, order.lots, "new")
        reason = self._refusal_of(placed)
        if reason:
            return self._end(placed, "rejected", reason)
        if order.trigger is not None:
            self.orders.append(placed)
            return self._end(placed, "waiting")
        return self._execute(placed, may_rest=order.time_in_force is not TimeInForce.IOC)

    def cancel(self, account: str, order_id: int, time_ms: int) -> Event:
        self.now = time_ms
        for order in self._open():
            if order.order_id == order_id and order.account.name == account:
                return self._end(order, "canceled", "canceled")
        raise Refused("no such open order")

    def quote(self, instrument: str, bid: Decimal | None, ask: Decimal | None, time_ms: int) -> None:
        self.now = time_ms
        best_bid = None if bid is None else Fraction(bid)
        best_ask = None if ask is None else Fraction(ask)
        self.quotes[instrument] = (best_bid, best_ask)
        self.offered.pop(instrument, None)
        for order in self._in_priority(instrument, Side.BUY):
            if best_ask is not None and order.price >= best_ask:
                self._fill_from_outside(order)
        for order in self._in_priority(instrument, Side.SELL):
            if best_bid is not None and order.price <= best_bid:
                self._fill_from_outside(order)

    def offer(self, instrument: str, bid: Decimal, ask: Decimal, lots: int | None, time_ms: int) -> None:
        self.now = time_ms
        self.quotes[instrument] = (Fraction(bid), Fraction(ask))
        self.offered.pop(instrument, None)
        if lots is not None:
            self.offered[instrument] = {Side.BUY: lots, Side.SELL: lots}

    def trade_through(
        self,
        instrument: str,
        low: Decimal,
        high: Decimal,
        time_ms: int,
        *,
        lots: int | None = None,
        touching: bool = False,
    ) -> None:
        self.now = time_ms
        traded_before = len(self.events)
        for order in self._in_priority(instrument, Side.BUY):
            if order.price > Fraction(low) or (touching and order.price == Fraction(low)):
                self._fill_from_outside(order, self._still(lots, traded_before))
        for order in self._in_priority(instrument, Side.SELL):
            if order.price < Fraction(high) or (touching and order.price == Fraction(high)):
                self._fill_from_outside(order, self._still(lots, traded_before))

    def _still(self, lots: int | None, since: int) -> int | None:
        """What is left of `lots` after the fills told since."""
        return None if lots is None else lots - sum(e[6] for e in self.events[since:] if e[0] == "fill")

    def set_marks(self, marks: Mapping[str, Decimal], time_ms: int) -> None:
        self.now = time_ms
        for instrument, mark in marks.items():
            self.marks[instrument] = Fraction(mark)
        for instrument in marks:
            for order in [o for o in self._open("waiting") if o.asked.instrument == instrument]:
                if order.state == "waiting" and self._fires(order.asked, order.asked.trigger):
                    self._fire(order)
        self._liquidate_everybody()

    def call_margin(self, marks: Mapping[str, Decimal], time_ms: int) -> None:
        self.now = time_ms
        for instrument, mark in marks.items():
            self.marks[instrument] = Fraction(mark)
        self._liquidate_everybody()

    def settle_funding(
        self, rates_per_hour: Mapping[str, Decimal], oracles: Mapping[str, Decimal], time_ms: int
    ) -> None:
        self.now = time_ms
        cap = Fraction(self.rules.funding_cap_per_hour)
        for account in self.accounts:
            for position in account.positions:
                name = position.instrument.name
                if name not in rates_per_hour or name not in oracles:
                    continue
                rate = min(cap, max(-cap, Fraction(rates_per_hour[name])))
                oracle = Fraction(oracles[name])
                received = micro(-self._value(position.instrument, position.lots, oracle) * rate)
                account.funding += received
                if position.isolated:
                    position.cash += received
                else:
                    account.cash += received
                self.events.append(
                    ("funding", account.name, self.now, name, position.lots, oracle, rate, received)
                )
        self._liquidate_everybody()

    def drain(self) -> list[Event]:
        events, self.events = self.events, []
        return events

    # --- what an order must pass -------------------------------------------------------------------------------

    def _refusal_of(self, placed: TwinOrder) -> str:
        account, order = placed.account, placed.asked
        instrument = self.instruments[order.instrument]
        prices = [order.limit_price, order.trigger.price if order.trigger else None]
        if any(price is not None and not is_a_grid_price(instrument, price) for price in prices):
            return "Price must be divisible by tick size."
        if order.instrument not in self.marks:
            return "No mark price."
        mark = self.marks[order.instrument]
        if order.limit_price is not None and abs(Fraction(order.limit_price) / mark - 1) > Fraction(
            self.rules.price_band
        ):
            return "Order price cannot be more than 95% away from the reference price"
        held = account.lots(order.instrument)
        if order.reduce_only:
            flat_or_same_side = held * order.side.sign >= 0
            if flat_or_same_side or (order.trigger is None and order.lots > abs(held)):
                return "Reduce only order would increase position."
        closes_all = order.reduce_only and order.lots == abs(held)
        price = mark if order.limit_price is None else Fraction(order.limit_price)
        if order.trigger is not None:
            price = Fraction(order.trigger.price)
        if not closes_all and self._value(instrument, order.lots, price) < Fraction(instrument.min_order_usd):
            return "Order must have minimum value of $10."
        if order.trigger is not None:
            return "Invalid TP/SL price." if self._fires(order, order.trigger) else ""
        reason = self._margin_refusal(placed)
        if reason:
            return reason
        if order.time_in_force is TimeInForce.ALO and self._best_opposite(placed) is not None:
            return "Post only order would have immediately matched."
        return ""

    def _fires(self, order: Order, trigger: Trigger | None) -> bool:
        assert trigger is not None
        mark, price = self.marks[order.instrument], Fraction(trigger.price)
        fires_below = (trigger.kind is TriggerKind.STOP) == (order.side is Side.SELL)
        return mark <= price if fires_below else mark >= price

    def _margin_refusal(self, placed: TwinOrder) -> str:
        order, account = placed.asked, placed.account
        instrument = self.instruments[order.instrument]
        if order.reduce_only:
            return ""
        worst = self._worst_lots(account, order.instrument, placed)
        if worst <= abs(account.lots(order.instrument)):
            return ""
        leverage = self._setting(account, order.instrument)[0]
        if leverage > allowed_leverage(
            instrument, self._value(instrument, worst, self.marks[order.instrument])
        ):
            return "Order would cause position to exceed margin tier limit at current leverage"
        return "" if self._has_margin(account, placed) else "Insufficient margin to place order."

    def _worst_lots(self, account: TwinAccount, instrument: str, extra: TwinOrder | None) -> int:
        held, buys, sells = account.lots(instrument), 0, 0
        orders = [o for o in self._open("resting") if o.account is account] + ([extra] if extra else [])
        for order in orders:
            if order.asked.instrument == instrument and not order.asked.reduce_only:
                buys += order.left if order.asked.side is Side.BUY else 0
                sells += order.left if order.asked.side is Side.SELL else 0
        return max(abs(held + buys), abs(held - sells))

    def _has_margin(self, account: TwinAccount, extra: TwinOrder | None) -> bool:
        return self._in_use(account, extra) <= self._cross_value(account)

    def _in_use(self, account: TwinAccount, extra: TwinOrder | None) -> Fraction:
        """Initial margin that cross cash must cover, each instrument on its worse side.

        An isolated position holds its own; only what orders could add to it is still to be taken from there.
        """
        total = NOTHING
        for instrument in self.instruments.values():
            leverage, isolated = self._setting(account, instrument.name)
            if instrument.name in self.marks:
                own = abs(account.lots(instrument.name)) if isolated else 0
                lots = self._worst_lots(account, instrument.name, extra) - own
                total += self._value(instrument, lots, self.marks[instrument.name]) / leverage
        return total

    # --- matching ----------------------------------------------------------------------------------------------

    def _execute(self, order: TwinOrder, *, may_rest: bool) -> Event:
        while order.left:
            best = self._best_opposite(order)
            if best is None:
                break
            price, maker = best
            if maker is None:
                lots, left = order.left, self.offered.get(order.asked.instrument)
                if left is not None:
                    lots = min(lots, left[order.asked.side.opposite])
                    left[order.asked.side.opposite] -= lots
                self._trade(price, lots, order, None)
            elif maker.account is order.account:
                self._end(maker, "canceled", "selfTradeCanceled")
            else:
                willing = self._willing_lots(maker, order.left)
                if willing:
                    self._trade(price, willing, order, maker)
        if not order.left:
            return self._end(order, "filled")
        if may_rest:
            self.orders.append(order)
            return self._end(order, "resting")
        if order.filled:
            return self._end(order, "canceled", "iocCancelRejected")
        if order.asked.limit_price is None:
            return self._end(order, "rejected", "No liquidity available for market order.")
        return self._end(order, "rejected", "Order could not immediately match against any resting orders.")

    def _best_opposite(self, order: TwinOrder) -> tuple[Fraction, TwinOrder | None] | None:
        """The best price the other side offers within the order's limit, and the resting order behind it."""
        buys = order.asked.side is Side.BUY
        offers: list[tuple[Fraction, TwinOrder | None]] = [
            (o.price, o) for o in self._in_priority(order.asked.instrument, order.asked.side.opposite)
        ]
        bid, ask = self.quotes.get(order.asked.instrument, (None, None))
        outside = ask if buys else bid
        left = self.offered.get(order.asked.instrument, {}).get(order.asked.side.opposite)
        if outside is not None and left != 0:
            offers.append((outside, None))  # last, so that at its price resting orders come first
        if order.asked.limit_price is not None:
            limit = Fraction(order.asked.limit_price)
            offers = [o for o in offers if (o[0] <= limit if buys else o[0] >= limit)]
        if not offers:
            return None
        return min(offers, key=lambda o: o[0]) if buys else max(offers, key=lambda o: o[0])

    def _willing_lots(self, maker: TwinOrder, asked: int) -> int:
        """How much of `asked` a resting order may trade now; one that may not at all is cancelled."""
        held = maker.account.lots(maker.asked.instrument)
        lots = min(asked, maker.left)
        if maker.asked.reduce_only:
            reducible = abs(held) if held * maker.asked.side.sign < 0 else 0
            if not reducible:
                self._end(maker, "canceled", "reduceOnlyCanceled")
            return min(lots, reducible)
        increases = abs(held + maker.asked.side.sign * lots) > abs(held)
        if increases and not self._has_margin(maker.account, None):
            self._end(maker, "canceled", "marginCanceled")
            return 0
        return lots

    def _fill_from_outside(self, order: TwinOrder, most: int | None = None) -> None:
        if order.state == "resting" and most != 0:
            willing = self._willing_lots(order, order.left if most is None else min(most, order.left))
            if willing:
                self._trade(order.price, willing, None, order)

    def _trade(self, price: Fraction, lots: int, taker: TwinOrder | None, maker: TwinOrder | None) -> None:
        self.trade_id += 1
        for order in (taker, maker):
            if order is not None:
                self._fill(order, price, lots, is_maker=order is maker)
        if maker is not None:
            self._end(maker, "resting" if maker.left else "filled")
        for order in (taker, maker):
            if order is not None:
                self._cancel_what_cannot_reduce(order.account, order.asked.instrument)

    def _fill(
        self, order: TwinOrder, price: Fraction, lots: int, *, is_maker: bool, free: bool = False
    ) -> None:
        account, instrument = order.account, self.instruments[order.asked.instrument]
        notional = micro(self._value(instrument, lots, price))
        today = self.now // DAY_MS
        volume = sum((n for t, n in account.trades if today - 14 <= t // DAY_MS < today), NOTHING)
        rate = Fraction(self.rules.fees.rate(is_maker, as_decimal(volume)))
        fee = NOTHING if free else micro_down(notional * rate)
        profit = self._move(account, instrument, order.asked.side.sign * lots, price, notional)
        account.cash -= fee
        account.fees += fee
        account.realised += profit
        account.volume += notional
        account.trades.append((self.now, notional))
        order.left -= lots
        order.filled += lots
        order.paid += lots * price
        asked = order.asked
        self.events.append(
            (
                "fill", account.name, self.trade_id, self.now, asked.instrument, asked.side, lots, price, notional,
                fee, is_maker, asked.client_id, order.order_id, asked.purpose, profit,
            )
        )  # fmt: skip

    def _move(
        self, account: TwinAccount, instrument: Instrument, lots: int, price: Fraction, notional: Fraction
    ) -> Fraction:
        """Fold a trade of signed lots into position and cash; returns the profit it closed."""
        position = account.position(instrument.name)
        if position is None:
            position = TwinPosition(instrument, self._setting(account, instrument.name)[1])
            account.positions.append(position)
        closing = min(abs(position.lots), abs(lots)) if position.lots * lots < 0 else 0
        opening = abs(lots) - closing
        sign = 1 if lots > 0 else -1
        closing_notional = micro(notional * closing / abs(lots)) if opening else notional
        profit = NOTHING
        if closing:
            profit = self._reduce(account, position, closing, sign, price, closing_notional)
        if opening:
            paid = sign * (notional - closing_notional) if closing else sign * notional
            position.lots += sign * opening
            position.cost += paid
            if position.isolated:
                leverage = self._setting(account, instrument.name)[0]
                margin = micro(self._value(instrument, opening, price) / leverage)
                account.cash -= margin
                position.cash += margin - paid
            else:
                account.cash -= paid
        account.positions = [p for p in account.positions if p.lots != 0]
        return profit

    def _reduce(
        self,
        account: TwinAccount,
        position: TwinPosition,
        lots: int,
        sign: int,
        price: Fraction,
        notional: Fraction,
    ) -> Fraction:
        before = abs(position.lots)
        cost_out = position.cost if lots == before else micro(position.cost * lots / before)
        proceeds = -sign * notional
        position.lots += sign * lots
        position.cost -= cost_out
        if not position.isolated:
            account.cash += proceeds
            return proceeds - cost_out
        position.cash += proceeds
        if position.lots == 0:
            back = position.cash
        else:
            own = position.cash + self._value(position.instrument, position.lots, price)
            back = micro(own * lots / before)
        position.cash -= back
        account.cash += back
        return proceeds - cost_out

    def _cancel_what_cannot_reduce(self, account: TwinAccount, instrument: str) -> None:
        for order in self._open("resting") + self._open("waiting"):
            theirs = order.account is account and order.asked.instrument == instrument
            stuck = account.lots(instrument) * order.asked.side.sign >= 0
            if theirs and order.asked.reduce_only and stuck:
                self._end(order, "canceled", "reduceOnlyCanceled")

    def _fire(self, order: TwinOrder) -> None:
        self.orders.remove(order)
        if order.asked.reduce_only:
            held = order.account.lots(order.asked.instrument)
            reducible = abs(held) if held * order.asked.side.sign < 0 else 0
            if not reducible:
                self._end(order, "canceled", "reduceOnlyCanceled")
                return
            order.left = min(order.left, reducible)
        reason = self._margin_refusal(order)
        if reason:
            self._end(order, "rejected", reason)
        else:
            self._execute(order, may_rest=False)

    # --- liquidation -------------------------------------------------------------------------------------------

    def _liquidate_everybody(self) -> None:
        for account in self.accounts:
            self._liquidate_cross(account)
            for position in list(account.positions):
                if position.isolated:
                    self._liquidate_isolated(account, position)

    def _liquidate_cross(self, account: TwinAccount) -> None:
        held = sorted(
            (p for p in account.positions if not p.isolated),
            key=lambda p: (-self._maintenance(p), p.instrument.name),
        )
        needed = sum((self._maintenance(p) for p in held), NOTHING)
        value = self._cross_value(account)
        if not held or value >= needed:
            return
        for order in self._open():
            position = account.position(order.asked.instrument)
            if order.account is account and (position is None or not position.isolated):
                self._end(order, "canceled", "liquidatedCanceled")
        if value < Fraction(self.rules.backstop_ratio) * needed:
            closed = [(p, p.lots, self._close_at_mark(account, p)) for p in held]
            forfeited, account.cash = account.cash, NOTHING
            account.forfeited += forfeited
            for i, (position, lots, price) in enumerate(closed):
                self._liquidation(
                    account, position, "backstop", lots, price, forfeited if i == 0 else NOTHING
                )
            return
        for position in held:
            self._liquidate_at_market(account, position)
            needed = sum((self._maintenance(p) for p in account.positions if not p.isolated), NOTHING)
            if self._cross_value(account) >= needed:
                return

    def _liquidate_isolated(self, account: TwinAccount, position: TwinPosition) -> None:
        name = position.instrument.name
        value = position.cash + self._value(position.instrument, position.lots, self.marks[name])
        needed = self._maintenance(position)
        if value >= needed:
            return
        for order in self._open():
            if order.account is account and order.asked.instrument == name:
                self._end(order, "canceled", "liquidatedCanceled")
        if value >= Fraction(self.rules.backstop_ratio) * needed:
            self._liquidate_at_market(account, position)
            return
        lots, cash_before = position.lots, account.cash
        price = self._close_at_mark(account, position)
        forfeited, account.cash = account.cash - cash_before, cash_before
        account.forfeited += forfeited
        self._liquidation(account, position, "backstop", lots, price, forfeited)

    def _close_at_mark(self, account: TwinAccount, position: TwinPosition) -> Fraction:
        mark = self.marks[position.instrument.name]
        order = self._liquidation_order(account, position, abs(position.lots))
        self.trade_id += 1
        self._fill(order, mark, abs(position.lots), is_maker=False, free=True)
        return mark

    def _liquidate_at_market(self, account: TwinAccount, position: TwinPosition) -> None:
        name, lots, kind = position.instrument.name, abs(position.lots), "full"
        notional = self._value(position.instrument, lots, self.marks[name])
        last = account.partial_ms.get(name)
        cooling = last is not None and self.now - last < self.rules.cooldown_ms
        if notional > Fraction(self.rules.partial_liquidation_usd) and not cooling:
            lots, kind = math.ceil(Fraction(self.rules.partial_share) * lots), "partial"
        sign = 1 if position.lots > 0 else -1
        order = self._liquidation_order(account, position, lots)
        if self._best_opposite(order) is None:
            self.order_id -= 1  # as if nothing had been sent
            return
        self._execute(order, may_rest=False)
        if order.filled:
            if kind == "partial":
                account.partial_ms[name] = self.now
            self._liquidation(account, position, kind, sign * order.filled, order.average, NOTHING)

    def _liquidation_order(self, account: TwinAccount, position: TwinPosition, lots: int) -> TwinOrder:
        self.order_id += 1
        side = Side.SELL if position.lots > 0 else Side.BUY
        asked = Order("liquidation", position.instrument.name, side, lots, purpose=Purpose.LIQUIDATION)
        return TwinOrder(self.order_id, account, asked, lots, "new")

    def _liquidation(
        self,
        account: TwinAccount,
        position: TwinPosition,
        kind: str,
        lots: int,
        price: Fraction,
        forfeited: Fraction,
    ) -> None:
        name = position.instrument.name
        self.events.append(("liquidation", account.name, self.now, name, kind, lots, price, forfeited))

    # --- small things ------------------------------------------------------------------------------------------

    def _account(self, name: str) -> TwinAccount:
        return next(a for a in self.accounts if a.name == name)

    def _setting(self, account: TwinAccount, instrument: str) -> tuple[int, bool]:
        traded = self.instruments[instrument]
        default = (min(self.rules.default_leverage, traded.max_leverage), traded.only_isolated)
        return account.settings.get(instrument, default)

    def _value(self, instrument: Instrument, lots: int, price: Fraction) -> Fraction:
        return Fraction(lots, 10**instrument.size_decimals) * price

    def _maintenance(self, position: TwinPosition) -> Fraction:
        mark = self.marks[position.instrument.name]
        return bracket_maintenance(position.instrument, self._value(position.instrument, position.lots, mark))

    def _cross_value(self, account: TwinAccount) -> Fraction:
        cross = [p for p in account.positions if not p.isolated]
        return account.cash + sum(
            (self._value(p.instrument, p.lots, self.marks[p.instrument.name]) for p in cross), NOTHING
        )

    def _open(self, state: str | None = None) -> list[TwinOrder]:
        states = [state] if state else ["resting", "waiting"]
        return sorted((o for o in self.orders if o.state in states), key=lambda o: o.order_id)

    def _in_priority(self, instrument: str, side: Side) -> list[TwinOrder]:
        found = [
            o for o in self._open("resting") if o.asked.instrument == instrument and o.asked.side is side
        ]
        return sorted(found, key=lambda o: (-side.sign * o.price, o.order_id))

    def _end(self, order: TwinOrder, state: str, reason: str = "") -> Event:
        """Give the order its state, drop it from the book if it is over, and tell."""
        order.state = state
        if state not in ("resting", "waiting"):
            self.orders = [o for o in self.orders if o is not order]
        report = (
            "report",
            order.account.name,
            self.now,
            order.order_id,
            state,
            order.filled,
            order.average,
            reason,
        )
        if (
            order.asked.purpose is not Purpose.LIQUIDATION
        ):  # nobody asked for it, so nobody is told but of its fills
            self.events.append(report)
        return report

    def spare_margin(self, account: str) -> Fraction:
        found = self._account(account)
        return self._cross_value(found) - self._in_use(found, None)

    def state(self) -> dict[str, Any]:
        """Everything that must agree, as plain tuples."""
        return {
            a.name: {
                "cash": a.cash,
                "positions": [(p.instrument.name, p.lots, p.cost, p.cash, p.isolated) for p in a.positions],
                "deposits": a.deposits,
                "realised": a.realised,
                "funding": a.funding,
                "fees": a.fees,
                "volume": a.volume,
                "forfeited": a.forfeited,
                "orders": [(o.order_id, o.left, o.state) for o in self._open() if o.account is a],
            }
            for a in self.accounts
        }
