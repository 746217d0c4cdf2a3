"""Runs the exchange and its plain twin side by side, command for command, and checks what must hold of either."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from bot.errors import Refused
from bot.model.account import MarginMode
from bot.model.instrument import Instrument
from bot.model.order import Fill, FundingPayment, Liquidation, Order, OrderReport, OrderStatus, Purpose, Side
from bot.sim.exchange import Exchange, Rules
from tests.sim.twin import Event, Twin


def nearly(price: Decimal | Fraction) -> Fraction:
    """An average price to the billionth: quotients of decimals end, those of fractions don't."""
    return round(Fraction(price), 9)


def plain_report(account: str, report: OrderReport) -> Event:
    average = nearly(report.average_price)
    return (
        "report", account, report.time_ms, report.order_id, str(report.status), report.filled_lots, average, report.reason,
    )  # fmt: skip


def plain_event(account: str, event: Any) -> Event:
    """An event of the exchange as the twin would tell it."""
    match event:
        case OrderReport():
            return plain_report(account, event)
        case Fill() as f:
            return (
                "fill", account, f.trade_id, f.time_ms, f.instrument, f.side, f.lots, Fraction(f.price),
                Fraction(f.notional_usd), Fraction(f.fee_usd), f.is_maker, f.client_id, f.order_id, f.purpose,
                Fraction(f.closed_pnl_usd),
            )  # fmt: skip
        case FundingPayment() as p:
            numbers = (Fraction(p.oracle), Fraction(p.rate), Fraction(p.usd))
            return ("funding", account, p.time_ms, p.instrument, p.lots, *numbers)
        case Liquidation() as q:
            forfeited = Fraction(q.forfeited_usd)
            return (
                "liquidation",
                account,
                q.time_ms,
                q.instrument,
                q.kind,
                q.lots,
                nearly(q.price),
                forfeited,
            )
    raise AssertionError(f"an event of no known kind: {event!r}")


def rounded(event: Event) -> Event:
    """The twin's event with its average price as `nearly` gives it."""
    if event[0] == "report":
        return (*event[:6], nearly(event[6]), event[7])
    if event[0] == "liquidation":
        return (*event[:6], nearly(event[6]), event[7])
    return event


def state_of(exchange: Exchange) -> dict[str, Any]:
    """The exchange's accounts as `Twin.state` tells them."""
    state = {}
    for name, a in exchange.accounts.items():
        state[name] = {
            "cash": Fraction(a.cash_usd),
            "positions": [
                (i, p.lots, Fraction(p.cost_usd), Fraction(p.cash_usd), p.margin_mode is MarginMode.ISOLATED)
                for i, p in a.positions.items()
            ],
            "deposits": Fraction(a.deposits_usd),
            "realised": Fraction(a.realised_usd),
            "funding": Fraction(a.funding_usd),
            "fees": Fraction(a.fees_usd),
            "volume": Fraction(a.volume_usd),
            "forfeited": Fraction(a.forfeited_usd),
            "orders": [(r.order_id, r.remaining_lots, str(r.status)) for r in exchange.open_orders(name)],
        }
    return state


def agree(real: object, twin: object, told: str) -> None:
    assert real == twin, f"{told}\n\nthe exchange: {real}\n\nthe twin: {twin}"


class SideBySide:
    """Both exchanges, told the same; `seen` counts what has happened so that a test can tell it was not idle."""

    def __init__(self, instruments: Sequence[Instrument], rules: Rules) -> None:
        self.instruments, self.rules = tuple(instruments), rules
        self.real, self.twin = Exchange(instruments, rules), Twin(instruments, rules)
        self.now = 1_700_000_000_000
        self.seen: Counter[str] = Counter()
        self.log: list[str] = []
        self._orders: dict[int, Order] = {}
        self._held: dict[tuple[str, str], int] = defaultdict(int)
        self._opened_ms: dict[tuple[str, str], int] = {}
        self._waiting: set[int] = set()
        self._cut_ms: dict[tuple[str, str], int] = {}

    def do(self, call: str, *arguments: Any, **options: Any) -> None:
        """One call to both; everything they say and hold afterwards must be equal."""
        self.log.append(f"{call}{arguments!r} {options or ''} at {self.now}")
        before = {name: account.equity_usd(self.real.marks) for name, account in self.real.accounts.items()}
        marked = call in ("set_marks", "call_margin")
        moved = self._price_moves(arguments[0]) if marked else {}
        if call == "submit":
            self._orders[self.twin.order_id + 1] = arguments[1]
        one, other = (self._call(each, call, arguments, options) for each in (self.real, self.twin))
        events = self.real.drain()
        told = "\n".join(self.log)
        agree([plain_event(*e) for e in events], [rounded(e) for e in self.twin.drain()], told)
        if isinstance(one, OrderReport):
            agree(plain_report(arguments[0], one), rounded(other), told)
        else:
            agree(one, other, told)
            self.seen[f"{call} refused"] += one is Refused
        agree(state_of(self.real), self.twin.state(), told)
        self._check(events, told)
        if marked and not events:
            for name, account in self.real.accounts.items():
                assert account.equity_usd(self.real.marks) == before[name] + moved[name], told

    def restart(self) -> None:
        """The exchange goes on from its saved state; nothing may be lost."""
        self.log.append("restart")
        self.real = Exchange.restore(self.instruments, self.rules, json.loads(json.dumps(self.real.state())))
        agree(state_of(self.real), self.twin.state(), "\n".join(self.log))

    def _call(self, exchange: Any, call: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        try:
            return getattr(exchange, call)(*arguments, self.now, **options)
        except Refused:
            return Refused

    def _price_moves(self, marks: dict[str, Decimal]) -> dict[str, Decimal]:
        return {
            name: sum(
                (
                    p.size * (marks[i] - self.real.marks[i])
                    for i, p in account.positions.items()
                    if i in marks
                ),
                Decimal(0),
            )
            for name, account in self.real.accounts.items()
        }

    def _check(self, events: Sequence[tuple[str, Any]], told: str) -> None:
        self._check_fills([(name, e) for name, e in events if isinstance(e, Fill)], told)
        for name, account in self.real.accounts.items():
            positions = account.positions.values()
            kept = account.cash_usd + sum(p.cash_usd + p.cost_usd for p in positions)
            profit = account.realised_usd + account.funding_usd - account.fees_usd - account.forfeited_usd
            assert kept == account.deposits_usd + profit, told
            held = {i: n for (owner, i), n in self._held.items() if owner == name and n}
            assert {i: p.lots for i, p in account.positions.items()} == held, told
            for i, p in account.positions.items():
                assert p.opened_ms == self._opened_ms[name, i], told
                assert p.cash_usd == 0 or p.margin_mode is MarginMode.ISOLATED, told
            spare = self.twin.spare_margin(name)
            assert abs(Fraction(self.real.available_usd(name)) - spare) < Fraction(1, 10**12), told
            cross = [p for p in positions if p.margin_mode is MarginMode.CROSS]
            self.seen["in debt without a cross position"] += account.cash_usd < 0 and not cross
        self._check_book(told)
        self._count_liquidations(events)
        for name, event in events:
            self._count(name, event, told)

    def _check_fills(self, fills: Sequence[tuple[str, Fill]], told: str) -> None:
        trades: dict[int, list[tuple[str, Fill]]] = defaultdict(list)
        for name, fill in fills:
            trades[fill.trade_id].append((name, fill))
            before = self._held[name, fill.instrument]
            after = before + fill.signed_lots
            order = self._orders.get(fill.order_id)
            if (order and order.reduce_only) or fill.purpose is Purpose.LIQUIDATION:
                assert before * fill.signed_lots < 0, told
                assert fill.lots <= abs(before), told
            self._held[name, fill.instrument] = after
            if before * after <= 0:
                self._opened_ms[name, fill.instrument] = fill.time_ms
            isolated = self.real.leverage(name, fill.instrument)[1] is MarginMode.ISOLATED
            how = ", isolated" if isolated else ""
            self.seen["turned around" + how] += before * after < 0
            self.seen["partly closed" + how] += before * after > 0 and abs(after) < abs(before)
        for sides in trades.values():
            assert len(sides) <= 2, told
            if len(sides) == 2:  # else the outside market was the other side
                (taker_name, taker), (maker_name, maker) = sides
                assert taker_name != maker_name, told
                assert (taker.is_maker, maker.is_maker) == (False, True), told
                assert taker.signed_lots == -maker.signed_lots, told
                assert taker.price == maker.price, told
                liquidated = taker.purpose is Purpose.LIQUIDATION
                self.seen["liquidated against an order" if liquidated else "trade between accounts"] += 1

    def _check_book(self, told: str) -> None:
        resting = [
            (name, r.order)
            for name in self.real.accounts
            for r in self.real.open_orders(name)
            if r.status is OrderStatus.RESTING
        ]
        for buyer, buy in resting:
            for seller, sell in resting:
                if (buy.side, sell.side) == (Side.BUY, Side.SELL) and buy.instrument == sell.instrument:
                    assert buy.limit_price is not None
                    assert sell.limit_price is not None
                    assert buy.limit_price < sell.limit_price, f"{buyer} and {seller} cross\n{told}"

    def _count_liquidations(self, events: Sequence[tuple[str, Any]]) -> None:
        taken = [(name, e) for name, e in events if isinstance(e, Liquidation)]
        for name, e in taken:
            mode = self.real.leverage(name, e.instrument)[1]
            self.seen[f"{e.kind} liquidation, {mode}"] += 1
            self.seen["a debt forfeited"] += e.forfeited_usd < 0
            since = e.time_ms - self._cut_ms.get((name, e.instrument), 0)
            self.seen["whole position within the cooldown"] += (
                e.kind == "full" and since < self.rules.cooldown_ms
            )
            if e.kind == "partial":
                self.seen["partial again after the cooldown"] += since < 2 * self.rules.cooldown_ms
                self._cut_ms[name, e.instrument] = e.time_ms
        for backstop in (True, False):
            hit = Counter(name for name, e in taken if (e.kind == "backstop") == backstop)
            what = "several positions, backstop" if backstop else "several positions, at market"
            self.seen[what] += any(n > 1 for n in hit.values())

    def _count(self, name: str, event: Any, told: str) -> None:
        if isinstance(event, OrderReport):
            asked = self._orders[event.order_id]
            assert event.order.client_id == asked.client_id, told
            self.seen[event.reason or str(event.status)] += 1
            self.seen["partly filled"] += event.status is OrderStatus.RESTING and event.filled_lots > 0
            clipped = event.filled_lots and event.reason == "reduceOnlyCanceled"
            self.seen["reduce-only order clipped"] += bool(clipped)
            if event.order_id in self._waiting and event.status is not OrderStatus.WAITING:
                self._waiting.remove(event.order_id)
                self.seen[f"trigger {event.reason or event.status}"] += 1
                less = (
                    asked.reduce_only
                    and event.status is OrderStatus.FILLED
                    and event.filled_lots < asked.lots
                )
                self.seen["reduce-only trigger clipped"] += less
            elif event.status is OrderStatus.WAITING:
                self._waiting.add(event.order_id)
        elif isinstance(event, FundingPayment):
            self.seen["funding paid" if event.usd < 0 else "funding received"] += 1
            self.seen["funding capped"] += abs(event.rate) == self.rules.funding_cap_per_hour
        elif isinstance(event, Fill):
            self.seen["filled as maker" if event.is_maker else "filled as taker"] += 1
            self.seen["rebate"] += event.fee_usd < 0
