"""The twin against numbers worked out by hand, mostly at the exact edges that made-up commands seldom meet."""

from decimal import Decimal

import pytest

from bot.model.account import MarginMode
from bot.model.instrument import Instrument, MarginTier
from bot.model.order import Order, Side, TimeInForce, Trigger, TriggerKind
from bot.sim.exchange import Rules
from bot.sim.fees import FeeSchedule, FeeTier
from tests.sim.side_by_side import SideBySide

COIN = Instrument("COIN", 2, (MarginTier(Decimal(0), 10),))  # a coin is 100 lots, maintenance 5 %
TIERED = Instrument("TIERED", 2, (MarginTier(Decimal(0), 10), MarginTier(Decimal(100), 5)))
FREE = FeeSchedule.flat(taker=Decimal(0), maker=Decimal(0))
ISOLATED, CROSS = MarginMode.ISOLATED, MarginMode.CROSS


def pair_with(rules: Rules | None = None, deposit: str = "1000", mark: str = "100") -> SideBySide:
    pair = SideBySide([COIN, TIERED], rules or Rules(fees=FREE))
    pair.do("deposit", "ann", Decimal(deposit))
    pair.do("set_marks", {"COIN": Decimal(mark), "TIERED": Decimal(mark)})
    return pair


def market(pair: SideBySide, account: str, lots: int, at: str, name: str = "COIN") -> None:
    """A trade with the outside market at a price of our choice, which then goes away."""
    pair.do("quote", name, Decimal(at), Decimal(at))
    pair.do("submit", account, Order("market", name, Side.of(lots), abs(lots)))
    pair.do("quote", name, None, None)


def rest(pair: SideBySide, account: str, lots: int, at: str, *, reduce_only: bool = False) -> int:
    order = Order("rest", "COIN", Side.of(lots), abs(lots), Decimal(at), TimeInForce.GTC, reduce_only)
    pair.do("submit", account, order)
    return pair.twin.order_id


def held(pair: SideBySide, account: str = "ann") -> dict[str, int]:
    return {p.instrument.name: p.lots for p in pair.twin._account(account).positions}


def test_a_round_trip_by_hand() -> None:
    pair = pair_with(Rules(fees=FeeSchedule.flat(taker=Decimal("0.0005"), maker=Decimal("0.0001"))))
    market(pair, "ann", 300, "100")  # 3 coins for 300, fee 0.15
    market(pair, "ann", -100, "110")  # 1 back for 110: profit 10, fee 0.055
    market(pair, "ann", -300, "90")  # 2 back for 180: loss 20, and 1 short at 90, fee 0.135
    ann = pair.twin._account("ann")
    assert held(pair) == {"COIN": -100}
    assert ann.cash == 1000 - 300 + 110 + 270 - Decimal("0.34")
    assert ann.realised == -10
    assert ann.fees == Decimal("0.34")
    assert ann.volume == 680
    assert ann.positions[0].cost == -90


@pytest.mark.parametrize(("lots", "left"), [(100, {}), (-100, {})])
@pytest.mark.parametrize("mode", [CROSS, ISOLATED])
def test_a_position_worth_exactly_its_maintenance_stays_and_a_hair_less_goes(
    mode: MarginMode, lots: int, left: dict[str, int]
) -> None:
    # long at 95 with 19 behind it: at 80 worth 4 = 5 % of 80.  short at 70 with 14: at 80 worth 4
    entry, margin = ("95", "19") if lots > 0 else ("70", "14")
    pair = pair_with(deposit=margin, mark=entry)
    pair.do("set_leverage", "ann", "COIN", 5, mode)
    market(pair, "ann", lots, entry)
    pair.do("quote", "COIN", Decimal("79.9"), Decimal("80.1"))
    pair.do("set_marks", {"COIN": Decimal(80)})
    assert held(pair) == {"COIN": lots}
    pair.do("set_marks", {"COIN": Decimal("79.999999") if lots > 0 else Decimal("80.000001")})
    assert held(pair) == left
    assert pair.seen[f"full liquidation, {mode}"] == 1
    assert pair.twin._account("ann").cash == Decimal("3.9")
    assert pair.twin._account("ann").forfeited == 0


@pytest.mark.parametrize("mode", [CROSS, ISOLATED])
def test_the_backstop_begins_below_its_ratio_and_takes_what_is_left(mode: MarginMode) -> None:
    # long at 104 with 26 behind it: at 80 worth 2, half of its maintenance of 4
    for mark, kind, cash in (("80", "full", "1.9"), ("79.99", "backstop", "0")):
        pair = pair_with(Rules(fees=FREE, backstop_ratio=Decimal("0.5")), deposit="26", mark="104")
        pair.do("set_leverage", "ann", "COIN", 4, mode)
        market(pair, "ann", 100, "104")
        pair.do("quote", "COIN", Decimal("79.9"), None)
        pair.do("set_marks", {"COIN": Decimal(mark)})
        ann = pair.twin._account("ann")
        assert pair.seen[f"{kind} liquidation, {mode}"] == 1
        assert ann.cash == Decimal(cash)
        assert ann.forfeited == (Decimal("1.99") if kind == "backstop" else 0)


@pytest.mark.parametrize(("mark", "left"), [("79.9", {}), ("79.91", {"COIN": 79})])  # ⌈20.1⌉ of 100 lots go
def test_a_liquidation_is_partial_only_above_the_bound(mark: str, left: dict[str, int]) -> None:
    rules = Rules(fees=FREE, partial_liquidation_usd=Decimal("79.9"), partial_share=Decimal("0.201"))
    pair = pair_with(rules, deposit="19", mark="95")
    market(pair, "ann", 100, "95")
    pair.do("quote", "COIN", Decimal("79.9"), None)
    pair.do("set_marks", {"COIN": Decimal(mark)})
    assert held(pair) == left


@pytest.mark.parametrize(("later_ms", "left"), [(29_999, {}), (30_000, {"COIN": 63})])
def test_within_the_cooldown_the_whole_position_goes(later_ms: int, left: dict[str, int]) -> None:
    rules = Rules(fees=FREE, partial_liquidation_usd=Decimal(50), partial_share=Decimal("0.201"))
    pair = pair_with(rules, deposit="19", mark="95")
    market(pair, "ann", 100, "95")
    pair.do("quote", "COIN", Decimal("79.9"), None)
    pair.do("set_marks", {"COIN": Decimal("79.91")})
    assert held(pair) == {"COIN": 79}
    pair.now += later_ms
    pair.do("set_marks", {"COIN": Decimal("78.9")})  # worth 3.11 where 3.12 is needed
    assert held(pair) == left


def test_nothing_happens_to_a_position_that_nobody_will_take() -> None:
    pair = pair_with(deposit="19", mark="95")
    market(pair, "ann", 100, "95")
    pair.do("set_marks", {"COIN": Decimal("79.99")})
    assert held(pair) == {"COIN": 100}
    pair.do("quote", "COIN", Decimal("79.98"), None)
    pair.do("set_marks", {"COIN": Decimal("79.99")})
    assert held(pair) == {}


def test_a_tier_begins_at_its_bound() -> None:
    pair = pair_with()
    pair.do("set_leverage", "ann", "TIERED", 10, CROSS)
    market(pair, "ann", 100, "100", "TIERED")
    assert pair.seen["Order would cause position to exceed margin tier limit at current leverage"] == 1
    market(pair, "ann", 99, "100", "TIERED")
    assert held(pair) == {"TIERED": 99}


def test_all_margin_may_be_used_and_not_one_lot_more() -> None:
    pair = pair_with()
    pair.do("set_leverage", "ann", "COIN", 3, CROSS)
    assert rest(pair, "ann", 2000, "99") == 1  # margined at the mark: 2000 of 3000
    rest(pair, "ann", 1001, "99")
    assert pair.seen["Insufficient margin to place order."] == 1
    rest(pair, "ann", 1000, "98")
    rest(pair, "ann", -3000, "101")  # the other side of the same worst case
    assert pair.twin.spare_margin("ann") == 0
    assert pair.seen["resting"] == 3


def test_closing_part_of_an_isolated_position_gives_back_that_part_of_its_margin() -> None:
    pair = pair_with()
    pair.do("set_leverage", "ann", "COIN", 5, ISOLATED)
    market(pair, "ann", 1000, "100")
    ann = pair.twin._account("ann")
    assert ann.cash == 800
    assert ann.positions[0].cash == -800
    market(pair, "ann", -400, "110")  # −800 + 440 + 660 held = 300 of its own, 4/10 of it goes back
    assert ann.cash == 920
    assert ann.positions[0].cash == -480
    assert ann.realised == 40
    market(pair, "ann", -600, "110")
    assert held(pair) == {}
    assert ann.cash == 1100
    assert ann.realised == 100


def test_funding_is_paid_on_the_oracle_price_and_the_capped_rate() -> None:
    pair = pair_with()
    market(pair, "ann", 200, "100")
    pair.do("settle_funding", {"COIN": Decimal("0.001")}, {"COIN": Decimal(105)})
    assert pair.twin._account("ann").funding == Decimal("-0.21")
    pair.do("settle_funding", {"COIN": Decimal("-0.5")}, {"COIN": Decimal(105)})
    assert pair.twin._account("ann").funding == Decimal("-0.21") + Decimal("8.4")
    pair.do("settle_funding", {"COIN": Decimal("0.001")}, {})
    pair.do("settle_funding", {}, {"COIN": Decimal(105)})
    assert pair.twin._account("ann").funding == Decimal("8.19")


def test_the_best_price_is_first_then_the_oldest_then_the_outside() -> None:
    pair = pair_with()
    for name in ("bob", "cat"):
        pair.do("deposit", name, Decimal(1000))
    rest(pair, "bob", -100, "101")
    rest(pair, "cat", -100, "101")
    rest(pair, "cat", -100, "100.5")
    pair.do("quote", "COIN", None, Decimal(101))
    pair.do("submit", "ann", Order("ann", "COIN", Side.BUY, 250))
    assert (held(pair, "bob"), held(pair, "cat")) == ({"COIN": -100}, {"COIN": -150})
    pair.do("submit", "ann", Order("ann", "COIN", Side.BUY, 250))
    assert (held(pair, "bob"), held(pair, "cat"), held(pair)) == (
        {"COIN": -100},
        {"COIN": -200},
        {"COIN": 500},
    )
    assert pair.twin._account("ann").cash == 1000 - Decimal("100.5") - 4 * 101


def test_ones_own_order_in_the_way_is_cancelled_and_the_next_one_met() -> None:
    pair = pair_with()
    pair.do("deposit", "bob", Decimal(1000))
    rest(pair, "ann", -100, "101")
    rest(pair, "bob", -100, "102")
    rest(pair, "ann", 150, "103")
    assert (held(pair), held(pair, "bob")) == ({"COIN": 100}, {"COIN": -100})
    assert pair.twin.state()["ann"]["orders"] == [(3, 50, "resting")]
    assert pair.seen["selfTradeCanceled"] == 1


def test_a_stop_fires_at_its_price_and_sells_no_more_than_is_held() -> None:
    pair = pair_with()
    market(pair, "ann", 100, "100")
    stop = Trigger(TriggerKind.STOP, Decimal(95))
    pair.do("submit", "ann", Order("stop", "COIN", Side.SELL, 300, reduce_only=True, trigger=stop))
    pair.do("quote", "COIN", Decimal(94), None)
    pair.do("set_marks", {"COIN": Decimal("95.01")})
    assert held(pair) == {"COIN": 100}
    pair.do("set_marks", {"COIN": Decimal(95)})
    assert held(pair) == {}
    assert pair.twin._account("ann").realised == -6
    assert pair.seen["trigger filled"] == 1


def test_the_fee_tier_comes_from_the_fourteen_full_days_before() -> None:
    fees = FeeSchedule((*FREE.tiers, FeeTier(Decimal(100), taker=Decimal("0.01"), maker=Decimal(0))))
    pair = pair_with(Rules(fees=fees))
    ann = pair.twin._account("ann")
    day = 86_400_000
    pair.now = (pair.now // day + 1) * day
    market(pair, "ann", 200, "100")
    market(pair, "ann", -200, "100")
    assert ann.fees == 0  # today's trades do not count yet
    pair.now += day
    market(pair, "ann", 20, "100")
    assert ann.fees == Decimal("0.2")
    pair.now += 14 * day
    market(pair, "ann", 20, "100")
    assert ann.fees == Decimal("0.2")  # the 20 of a fortnight ago are all that counts
