"""Whatever book is wanted, and however bad the moment: what comes out is no larger, turns nothing, and fits."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.model.decision import TradingState
from bot.model.instrument import Instrument, MarginTier
from bot.model.money import exact
from bot.model.order import OrderReport
from bot.pipeline.exposure import Case
from bot.pipeline.mandate import Execution, Limits, Mandate
from bot.pipeline.risk import RULES, nothing_binds, review
from bot.pipeline.snapshot import Snapshot
from tests.pipeline.scene import COINS, mandate, moment, opinion, resting, targets

nan = math.nan
EXACT = 1 + 1e-9
SLACK = 1.1 * EXACT


@dataclass(frozen=True)
class Moment:
    """Everything that the naive check needs, as plain lists."""

    told: Mandate
    snapshot: Snapshot
    parts: list[list[int]]
    edges: list[list[float] | None]
    held: list[int]
    usd_per_lot: list[float]
    buying: list[int]
    selling: list[int]
    equity: float
    leverage: list[float]
    tiers: list[list[tuple[float, int]]]
    known: list[bool]
    sane: list[bool]
    cap_usd: list[float]


#: One or two of these bind at a time, else the tightest would hide the others.
TIGHT: dict[str, list[dict[str, float]]] = {
    "position": [{"max_position_share": 0.5}, {"max_position_share": 2.0}],
    "interest": [{"max_open_interest_share": 0.02}],
    "gross": [{"max_gross_leverage": 0.7}, {"max_gross_leverage": 3.0}],
    "net": [{"max_net_leverage": 0.3}, {"max_net_leverage": 1.5}],
    "margin": [{"min_free_margin": 0.2}, {"min_free_margin": 0.8}],
    "liquidation": [{"min_liquidation_distance": 0.1}, {"min_liquidation_distance": 0.3}],
    "stress": [
        {"stress_loss": 0.5, "stress_move": 0.15},
        {"stress_loss": 0.1, "stress_move": 0.02},
        {"stress_loss": 0.1, "stress_move": 0.0},
    ],
    "edge": [{"min_edge_ratio": 1.0}],
}


def moment_from(chance: Random) -> Moment:
    """A book within a few times of the limits, now and then with something else wrong."""
    width = chance.choice([1, 2, 3, 3])

    def each(options: list[Any]) -> list[Any]:
        return [chance.choice(options) for _ in range(width)]

    limits: dict[str, Any] = {"min_free_margin": 0.0, "max_daily_loss": 0.05, "max_drawdown": 0.25}
    for name in chance.sample(sorted(TIGHT), chance.choice([1, 1, 2, 3])):
        limits |= chance.choice(TIGHT[name])
    told = mandate(1.0, 0.5, execution=Execution(), **limits)
    equity = chance.choice([10_000.0] * 12 + [9_501.0, 9_400.0, 7_400.0, 50.0, -100.0])
    mark = each([1.0, 30.0, 100.0, 700.0])
    entry = [price * chance.choice([0.8, 1.0, 1.3]) for price in mark]
    priced, funded = each([True] * 12 + [False]), each([True] * 12 + [False])
    oracle = [price * chance.choice([1.0] * 9 + [0.8, nan]) for price in mark]
    interest = [chance.choice([1e7, 2e5, nan]) / price for price in mark]
    leverage = each([3.0, 5.0, 10.0])
    tiers = each([[(0.0, 10)], [(0.0, 20), (15_000.0, 10), (40_000.0, 3)]])

    def lots(k: int) -> int:
        size: int = round(chance.choice([-1, 1]) * chance.uniform(0, 2.5) * 10_000 / (mark[k] / 100))
        return size

    held = [chance.choice([0, lots(k)]) for k in range(width)]
    first = [chance.choice([0, lots(k), held[k], held[k] // 2, held[k] * 2]) for k in range(width)]
    second = [chance.choice([0, lots(k)]) if chance.random() < 0.3 else 0 for k in range(width)]
    orders: list[OrderReport] = []
    buying, selling = [0] * width, [0] * width
    for k in range(width):
        if chance.random() < 0.25 and (size := lots(k)):
            orders.append(resting(COINS[k], size, "1", order_id=len(orders) + 1))
            buying[k], selling[k] = max(size, 0), max(-size, 0)
    snapshot = moment(
        told,
        [[*np.where(priced, mark, nan)]],
        lots=held,
        equity=equity,
        entry=entry,
        leverage=leverage,
        open_orders=orders,
        state=chance.choice([TradingState.ACTIVE] * 12 + [TradingState.REDUCING]),
        high=10_000.0,
        day_open=10_000.0,
        instruments=[
            Instrument(name, 2, tuple(MarginTier(exact(bound), most) for bound, most in rows))
            for name, rows in zip(COINS, tiers, strict=False)
        ],
        oracle=[oracle],
        open_interest=[interest],
        funding_rate=[[0.0 if yes else nan for yes in funded]],
    )
    prices = [(m if p else e) / 100 for m, e, p in zip(mark, entry, priced, strict=True)]
    share = limits.get("max_open_interest_share", math.inf)
    return Moment(
        told,
        snapshot,
        [first, second],
        [chance.choice([None, each([0.0, 0.01, nan])]) for _ in range(2)],
        held,
        [price if p or h else 0.0 for price, p, h in zip(prices, priced, held, strict=True)],
        buying,
        selling,
        equity,
        leverage,
        tiers,
        [p and f for p, f in zip(priced, funded, strict=True)],
        [not p or not abs(m / o - 1) > 0.1 for p, m, o in zip(priced, mark, oracle, strict=True)],
        [
            math.inf if math.isnan(i) or not p else i * m * share
            for i, m, p in zip(interest, mark, priced, strict=True)
        ],
    )


def in_flight(now: Moment, lots: list[int], worst: Callable[[list[int]], int]) -> list[int]:
    """The book when, of what each column may come to with its resting orders, the worst comes."""
    book = []
    for k, wanted in enumerate(lots):
        outcomes = [wanted]
        if now.buying[k] or now.selling[k]:
            outcomes += [now.held[k] + now.buying[k], now.held[k] - now.selling[k]]
        book.append(worst(outcomes))
    return book


def largest(outcomes: list[int]) -> int:
    return max(outcomes, key=abs)


def usd(now: Moment, lots: list[int]) -> list[float]:
    return [n * price if n else 0.0 for n, price in zip(lots, now.usd_per_lot, strict=True)]


def grows(wanted: int, held: int) -> bool:
    return wanted != 0 and not (wanted * held > 0 and abs(wanted) <= abs(held))


def maintenance(tiers: list[tuple[float, int]], notional: float) -> float:
    """Margin tier by tier, each dollar at the rate of the tier it falls in."""
    total = 0.0
    for k, (bound, leverage) in enumerate(tiers):
        upper = tiers[k + 1][0] if k + 1 < len(tiers) else math.inf
        total += max(0.0, min(notional, upper) - bound) / (2 * leverage)
    return total


def survives(now: Moment, value: list[float], move: float) -> bool:
    """Whether the account stays above its maintenance when any one price moves by `move` against it."""
    for k, exposed in enumerate(value):
        if not exposed:
            continue
        after = list(value)
        after[k] = exposed * (1 - math.copysign(move, exposed))
        equity = now.equity - abs(exposed) * move
        needed = sum(maintenance(tiers, abs(v)) for tiers, v in zip(now.tiers, after, strict=True))
        if equity < needed - 1e-6:
            return False
    return True


def fits(now: Moment, out: list[int], limits: Limits) -> list[str]:
    """Names of the limits that the book breaks.

    It has to hold with all orders in flight filled; a held book alone may have outgrown it by a tenth.
    """
    unsafe = []
    growing = [grows(n, h) for n, h in zip(out, now.held, strict=True)]
    room = max(now.equity, 0.0)
    alone, worst = usd(now, out), usd(now, in_flight(now, out, largest))
    up, down = sum(usd(now, in_flight(now, out, max))), sum(usd(now, in_flight(now, out, min)))

    def bounded(name: str, load: float, standing: float, most: float, growth: bool) -> None:
        if load > most * EXACT + 1e-6 and (growth or standing > most * SLACK + 1e-6):
            unsafe.append(name)

    def gross(value: list[float]) -> float:
        return sum(map(abs, value))

    def margin(value: list[float]) -> float:
        return sum(abs(x) / leverage for x, leverage in zip(value, now.leverage, strict=True))

    def stress(net: float, value: list[float]) -> float:
        return abs(net) * limits.stress_move + 0.04 * gross(value)

    bounded("gross", gross(worst), gross(alone), limits.max_gross_leverage * room, any(growing))
    bounded("margin", margin(worst), margin(alone), (1 - limits.min_free_margin) * room, any(growing))
    stressed = max(stress(max(up, 0.0), worst), stress(min(down, 0.0), worst))
    bounded("stress", stressed, stress(sum(alone), alone), limits.stress_loss * room, any(growing))
    for name, side, net in (("net long", 1, up), ("net short", -1, down)):
        growth = any(grown and n * side > 0 for grown, n in zip(growing, out, strict=True))
        bounded(name, net * side, sum(alone) * side, limits.max_net_leverage * room, growth)
    distance = limits.min_liquidation_distance
    if (
        distance
        and not survives(now, worst, distance * (1 - 1e-9))
        and (any(growing) or not survives(now, alone, distance / SLACK))
    ):
        unsafe.append("liquidation")
    return unsafe


@settings(max_examples=600)
@given(st.randoms(use_true_random=True))
def test_review_never_grows_a_target_nor_turns_it_and_what_comes_out_fits_every_limit(
    chance: Random,
) -> None:
    now = moment_from(chance)
    limits = now.told.limits
    wanted = targets(*now.parts)
    before = wanted.lots.tolist()
    opinions = tuple(opinion(*part, edge=edge) for part, edge in zip(now.parts, now.edges, strict=True))
    allowed, findings = review(wanted, opinions, now.snapshot, now.told)
    out: list[int] = allowed.lots.tolist()

    assert all(abs(n) <= abs(b) and n * b >= 0 for n, b in zip(out, before, strict=True))
    assert wanted.lots.tolist() == before
    assert allowed.by_strategy.sum(axis=0).tolist() == out
    assert bool(findings) == (out != before)
    if not any(out):
        return
    assert fits(now, out, limits) == []
    own = limits.max_position_share * max(now.equity, 0.0)
    assert now.equity > 10_000 * (1 - limits.max_drawdown)
    for k, (lots, held) in enumerate(zip(out, now.held, strict=True)):
        if not lots:
            continue
        value = abs(lots) * now.usd_per_lot[k]
        if grows(lots, held):
            assert value <= min(own, now.cap_usd[k]) * EXACT
            assert now.snapshot.state is TradingState.ACTIVE
            assert now.known[k]
            assert now.sane[k]
            assert now.equity > 10_000 * (1 - limits.max_daily_loss)
            wanting = [edge for part, edge in zip(now.parts, now.edges, strict=True) if part[k]]
            if limits.min_edge_ratio and not any(edge is None for edge in wanting):
                assert any(edge is not None and edge[k] >= 0.0011 for edge in wanting)
        else:
            assert value <= own * SLACK


@settings(deadline=None, max_examples=300)
@given(st.randoms(use_true_random=True))
def test_where_nothing_binds_at_a_glance_no_rule_cuts_anything(chance: Random) -> None:
    now = moment_from(chance)
    wanted = targets(*[[lots // chance.choice([1, 8, 64]) for lots in part] for part in now.parts])
    opinions = tuple(opinion(*part, edge=edge) for part, edge in zip(now.parts, now.edges, strict=True))
    case = Case.of(wanted, opinions, now.snapshot, now.told)
    if nothing_binds(case):
        for rule in RULES:
            lots, findings = rule(wanted.lots, case)
            assert lots is wanted.lots
            assert findings == ()


def test_a_small_book_at_a_good_moment_binds_nothing_at_a_glance() -> None:
    told = mandate(min_free_margin=0.2)
    small = Case.of(targets([10]), (opinion(1.0),), moment(told, (100.0,)), told)
    large = Case.of(targets([9_000]), (opinion(1.0),), moment(told, (100.0,)), told)
    assert nothing_binds(small)
    assert not nothing_binds(large)
