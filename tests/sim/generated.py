"""Makes up commands for an exchange that are likely to meet its rules: prices at the book, sizes at the limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from bot.model.account import MarginMode
from bot.model.instrument import Instrument, MarginTier
from bot.model.order import Order, Side, TimeInForce, Trigger, TriggerKind
from bot.sim.exchange import Rules
from bot.sim.fees import FeeSchedule, FeeTier
from tests.sim.side_by_side import SideBySide

Pick = Callable[[Sequence[Any]], Any]  # one of a sequence: a test's dice, or hypothesis


def tiers(*rows: tuple[int, int]) -> tuple[MarginTier, ...]:
    return tuple(MarginTier(Decimal(bound), leverage) for bound, leverage in rows)


OAK = Instrument("OAK", 2, tiers((0, 20), (2_000, 10), (8_000, 5)))
ELM = Instrument("ELM", 0, tiers((0, 10)))
ASH = Instrument("ASH", 3, tiers((0, 5), (1_000, 3)), only_isolated=True)
INSTRUMENTS = (OAK, ELM, ASH)
BASE = {"OAK": Decimal(100), "ELM": Decimal("2.5"), "ASH": Decimal("1234.5")}
DEPOSITS = {"ann": 1_000, "bob": 3_000, "cat": 20_000, "dan": 200}

RULES = Rules(
    fees=FeeSchedule(
        (
            FeeTier(Decimal(0), Decimal("0.00045"), Decimal("0.00015")),
            FeeTier(Decimal(2_000), Decimal("0.0004"), Decimal("-0.00002")),
        )
    ),
    partial_liquidation_usd=Decimal(3_000),
)

STEPS_MS = (0, 0, 0, 1, 1_000, 29_999, 30_000, 30_001, 3_600_000, 86_400_000)
MOODS = {  # how often each call is made
    "busy": {
        "submit": 30,
        "cancel": 2,
        "quote": 3,
        "trade_through": 2,
        "offer": 3,
        "set_marks": 3,
        "call_margin": 1,
        "squeeze": 1,
        "settle_funding": 1,
    },
    "stormy": {
        "submit": 16,
        "quote": 5,
        "trade_through": 3,
        "offer": 2,
        "set_marks": 5,
        "call_margin": 2,
        "squeeze": 8,
        "settle_funding": 2,
    },
    "alone": {
        "submit": 30,
        "cancel": 1,
        "set_marks": 2,
        "squeeze": 2,
        "settle_funding": 1,
    },  # no outside market
}
ALWAYS = {"set_leverage": 2, "deposit": 1, "restart": 1}


def play(pair: SideBySide, pick: Pick, commands: int) -> None:
    """Accounts with money, a market for most instruments, and then whatever happens."""
    mood = pick(tuple(MOODS))
    opening(pair, pick, quoted_outside=mood != "alone")
    calls = [call for call, times in (MOODS[mood] | ALWAYS).items() for _ in range(times)]
    for _ in range(commands):
        step(pair, pick, pick(calls))


def opening(pair: SideBySide, pick: Pick, *, quoted_outside: bool) -> None:
    for name in list(DEPOSITS)[: pick((2, 3, 4))]:
        pair.do("deposit", name, Decimal(DEPOSITS[name]))
        setting = pick((None, None, ("OAK", 10, MarginMode.ISOLATED), ("ELM", 8, MarginMode.ISOLATED)))
        if setting is not None:
            pair.do("set_leverage", name, *setting)
    quoted = pick((("OAK", "ASH"), ("ELM", "OAK", "ASH"), ("OAK", "ELM", "ASH")))
    pair.do("set_marks", {name: BASE[name] for name in quoted})
    for name in quoted if quoted_outside else ():
        instrument = next(i for i in INSTRUMENTS if i.name == name)
        bid, ask = (instrument.round_price(BASE[name] * Decimal(f)) for f in ("0.999", "1.001"))
        pair.do("quote", name, bid, ask)


def step(pair: SideBySide, pick: Pick, call: str) -> None:
    """One more command, made up from where things stand."""
    pair.now += pick(STEPS_MS)
    instrument = pick(INSTRUMENTS)
    account = pick(list(pair.real.accounts))
    name = instrument.name
    match call:
        case "submit":
            pair.do("submit", account, order(pair, account, instrument, pick))
        case "cancel":
            ids = [r.order_id for a in pair.real.accounts for r in pair.real.open_orders(a)]
            pair.do("cancel", account, pick([*ids, 1]))
        case "quote":
            bid, ask = quote(pair, instrument, pick)
            pair.do("quote", name, bid, ask)
        case "trade_through":
            low, high = sorted(price(pair, instrument, pick) for _ in range(2))
            lots, touching = pick((None, None, 0, 1, 7, 40)), pick((True, False))
            pair.do("trade_through", name, low, high, lots=lots, touching=touching)
        case "offer":
            offer(pair, instrument, account, pick)
        case "set_marks" | "call_margin":
            chosen = pick(((name,), (name,), tuple(BASE), tuple(reversed(BASE))))
            pair.do(call, {n: BASE[n] * Decimal(pick(JUMPS)) for n in chosen})
        case "squeeze":
            squeeze(pair, account, pick)
        case "settle_funding":
            rates = {n: Decimal(pick(RATES)) for n in pick(((name,), tuple(BASE)))}
            oracles = {
                n: mark * Decimal(pick(("1", "0.99", "1.0123456"))) for n, mark in pair.real.marks.items()
            }
            pair.do("settle_funding", rates, oracles)
        case "set_leverage":
            pair.do("set_leverage", account, name, pick((0, 1, 2, 3, 5, 10, 20, 21)), pick(tuple(MarginMode)))
        case "deposit":
            pair.do("deposit", account, Decimal(pick(("100", "1000", "0.000001"))))
        case "restart":
            pair.restart()


JUMPS = ("0.5", "0.7", "0.9", "0.97", "0.99", "1", "1", "1.00001234", "1.01", "1.03", "1.1", "1.5", "2")
RATES = ("0.0000125", "-0.0000125", "0.0012345", "-0.0012345", "0.04", "-0.04", "0.5", "-0.5")
NEAR = ("1", "1", "0.999", "1.001", "0.99", "1.01", "0.9", "1.1")
FAR = ("0.04", "0.05", "1.95", "1.96", "3")


def mark_of(pair: SideBySide, instrument: Instrument) -> Decimal:
    return pair.real.marks.get(instrument.name, BASE[instrument.name])


def price(pair: SideBySide, instrument: Instrument, pick: Pick) -> Decimal:
    """A price on the grid: at the mark, at somebody's order, or away from both."""
    resting = [
        r.order.limit_price
        for a in pair.real.accounts
        for r in pair.real.open_orders(a)
        if r.order.instrument == instrument.name and r.order.limit_price is not None
    ]
    if resting and pick((True, False)):
        return Decimal(pick(resting))
    factor = pick(FAR) if pick(range(12)) == 11 else pick(NEAR)
    return instrument.round_price(mark_of(pair, instrument) * Decimal(factor))


def quote(pair: SideBySide, instrument: Instrument, pick: Pick) -> tuple[Decimal | None, Decimal | None]:
    mark = mark_of(pair, instrument)
    width = Decimal(pick(("0.0001", "0.001", "0.01", "0.00012345")))
    middle = mark * Decimal(pick(("1", "1", "1", "0.98", "1.02", "0.8", "1.2")))
    bid, ask = middle * (1 - width), middle * (1 + width)
    if pick((True, True, False)):
        bid, ask = instrument.round_price(bid, up=False), instrument.round_price(ask, up=True)
    both: tuple[Decimal | None, Decimal | None] = (bid, ask)
    seen = pick(range(6))
    return {3: (bid, None), 4: (None, ask), 5: (None, None)}.get(seen, both)


def offer(pair: SideBySide, instrument: Instrument, account: str, pick: Pick) -> None:
    """A bar's way to trade: so many lots at two prices, one order after the other, and the market is gone."""
    middle = mark_of(pair, instrument)
    bid, ask = middle * Decimal(pick(("0.999", "1"))), middle * Decimal(pick(("1.001", "1")))
    pair.do("offer", instrument.name, bid, ask, pick((None, 0, 1, 5, 30, 1_000)))
    for _ in range(pick((1, 2))):
        pair.do("submit", account, order(pair, account, instrument, pick))
    pair.do("quote", instrument.name, None, None)


def order(pair: SideBySide, account: str, instrument: Instrument, pick: Pick) -> Order:
    held = pair.real.accounts[account].lots(instrument.name)
    reduce_only = pick((True, False)) if held else rarely(pick)
    side = pick(tuple(Side))
    if reduce_only and held and not rarely(pick):
        side = Side.of(-held)
    kind = pick(("gtc", "gtc", "gtc", "gtc", "alo", "ioc", "market", "trigger"))
    lots = size(pair, account, instrument, reduce_only, pick)
    limit: Decimal | None = price(pair, instrument, pick)
    if pick(range(40)) == 39:
        limit = mark_of(pair, instrument) * Decimal("1.00000123")  # off the grid
    trigger = None
    force = {"gtc": TimeInForce.GTC, "alo": TimeInForce.ALO}.get(kind, TimeInForce.IOC)
    if kind == "market":
        limit = None
    elif kind == "trigger":
        limit = pick((None, limit))
        above = pick((True, False))
        at = instrument.round_price(mark_of(pair, instrument) * Decimal(pick(ABOVE if above else BELOW)))
        fires_above = TriggerKind.STOP if side is Side.BUY else TriggerKind.TAKE_PROFIT
        fires_below = TriggerKind.STOP if side is Side.SELL else TriggerKind.TAKE_PROFIT
        trigger = Trigger(fires_above if above != rarely(pick) else fires_below, at)
    return Order(
        f"{account}-{len(pair.log)}", instrument.name, side, lots, limit, force, reduce_only, trigger
    )


def rarely(pick: Pick) -> bool:
    return bool(pick(range(12)) == 11)


def size(pair: SideBySide, account: str, instrument: Instrument, reduce_only: bool, pick: Pick) -> int:
    """Lots: of what is held, of all that margin allows, or about what an order must be worth at least."""
    held = abs(pair.real.accounts[account].lots(instrument.name))
    if held and (reduce_only or pick((True, False, False))):
        return int(
            pick(
                (held, held, held, max(1, held - 1), held + 1, 2 * held, max(1, held // 3), max(1, held // 2))
            )
        )
    mark, leverage = mark_of(pair, instrument), pair.real.leverage(account, instrument.name)[0]
    most = max(Decimal(30), pair.real.available_usd(account) * leverage)
    worth = pick(("small", "least", "some", "some", "half", "most", "most", "more"))
    usd = {
        "small": Decimal("9.9"), "least": Decimal("10.1"), "some": most / 10, "half": most / 2, "most": most,
        "more": most * Decimal("1.01"),
    }[worth]  # fmt: skip
    return max(1, instrument.lots(usd / mark) + (1 if worth == "more" else 0))


ABOVE = ("1", "1.005", "1.01", "1.03")
BELOW = ("1", "0.995", "0.99", "0.97")


def squeeze(pair: SideBySide, account: str, pick: Pick) -> None:
    """Move a mark to where a position of the account is about to be liquidated, or a little beyond."""
    held = pair.real.accounts[account].positions
    if not held:
        return
    name = pick(list(held))
    at = pair.real.accounts[account].liquidation_price(name, pair.real.marks)
    if at is None or not BASE[name] / 20 < at < BASE[name] * 20:
        return
    beyond = Decimal(pick(("0.0000001", "0.001", "0.003", "0.01", "-0.0000001")))
    mark = round(at * (1 - beyond) if held[name].lots > 0 else at * (1 + beyond), 8)
    if pick((True, True, False)):  # with somebody there to take the account's positions
        for each, position in list(held.items()):
            at = mark if each == name else mark_of(pair, position.instrument)
            bid = position.instrument.round_price(at * Decimal("0.9995"), up=False)
            ask = position.instrument.round_price(at, up=True)
            pair.do("quote", each, *pick(((bid, ask), (bid, ask), (bid, None), (None, ask))))
    pair.do("set_marks", {name: mark})
