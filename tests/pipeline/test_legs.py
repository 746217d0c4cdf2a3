"""Spreads in a decision: what is wanted of the primary leg, the hedge that follows, and rules that cut one of the two."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.model.decision import TradingState
from bot.model.instrument import Instrument, simple_instrument, spot_instrument
from bot.model.spread import Spread
from bot.pipeline.decide import decide
from bot.pipeline.fitting import no_larger
from bot.pipeline.legs import Legs
from bot.pipeline.mandate import Mandate, Sizing, Slot
from bot.pipeline.portfolio import construct
from bot.pipeline.risk import review
from bot.pipeline.snapshot import Snapshot
from tests.pipeline.saying import Says
from tests.pipeline.scene import COINS, Mute, mandate, moment, opinion

PERP = simple_instrument("AAA", 2, 10)
SPOT = spot_instrument("BBB", 2, "AAA")
OTHER = simple_instrument("CCC", 2, 10)
THERE = Instrument("BBB", 1, PERP.tiers, underlying="AAA", venue="binance")
ON_SPOT, ACROSS = Spread(PERP, SPOT), Spread(PERP, THERE)
nan = float("nan")


def carrying(spread: Spread, **limits: Any) -> Mandate:
    told = mandate(sizing=Sizing(position_size=0.5, no_trade_band=0.0), **limits)
    return replace(told, strategies=(Slot("carry", Mute(), 1.0, spreads=(spread,)),))


def scene(told: Mandate, hedge: Instrument = SPOT, lots: Sequence[int] = (0, 0, 0), **given: Any) -> Snapshot:
    given = {"mark": (100.0, 99.0, 20.0), **given}
    return moment(told, given.pop("mark"), lots=lots, instruments=(PERP, hedge, OTHER), **given)


def with_wallets(snapshot: Snapshot, **usd: float) -> Snapshot:
    named = {name.replace("_", " "): value for name, value in usd.items()}
    return replace(snapshot, account=replace(snapshot.account, wallet_usd=named))


def test_the_hedge_follows_the_primary_leg() -> None:
    told = carrying(ON_SPOT)
    # Half of 10,000 USD short at 100 is 50 coins; so many are bought on spot, whatever they cost there.
    wanted = construct((opinion(-1.0, 0.0, 0.0),), scene(told), told)
    assert wanted.lots.tolist() == [-5000, 5000, 0]
    across = carrying(ACROSS)
    wanted = construct((opinion(0.999, 0.0, 0.0),), scene(across, THERE), across)
    assert wanted.lots.tolist() == [4990, -499, 0]  # in whole steps of a tenth of a coin


@pytest.mark.parametrize("score", [-1.0, -0.5, 0.5, 1.0])
def test_what_another_strategy_says_of_a_leg_changes_nothing_of_the_spread(score: float) -> None:
    told = carrying(ON_SPOT)
    (slot,) = told.strategies
    two = replace(told, strategies=(replace(slot, capital=0.5), Slot("coins", Mute(), 0.5)))
    held = np.zeros((2, 3), np.int64)
    snapshot = scene(two)
    snapshot = replace(snapshot, memory=replace(snapshot.memory, held_lots=held))
    wanted = construct((opinion(-1.0, 0.0, 0.0), opinion(score, score, score)), snapshot, two)
    assert wanted.by_strategy[:, :2].tolist() == [[-2500, 2500], [0, 0]]
    assert wanted.by_strategy[1, 2] * score > 0  # of what is no leg its opinion counts


def test_a_spread_is_never_long_against_spot() -> None:
    told = carrying(ON_SPOT)
    assert construct((opinion(1.0, 0.0, 0.0),), scene(told), told).lots.tolist() == [0, 0, 0]


def test_without_a_price_of_one_leg_both_stay() -> None:
    told = carrying(ON_SPOT)
    held = scene(told, lots=(-100, 100, 0), mark=(100.0, nan, 20.0))
    assert construct((opinion(-1.0, 0.0, 0.0),), held, told).lots.tolist() == [-100, 100, 0]


def allowed(told: Mandate, snapshot: Snapshot, score: float = -1.0) -> list[int]:
    wanted = construct((opinion(score, 0.0, 0.0),), snapshot, told)
    lots: list[int] = review(wanted, (opinion(score, 0.0, 0.0),), snapshot, told)[0].lots.tolist()
    return lots


def sized(told: Mandate, position_size: float) -> Mandate:
    return replace(told, sizing=Sizing(position_size=position_size, no_trade_band=0.0))


def test_a_change_too_small_for_either_venue_is_left() -> None:
    told = carrying(ON_SPOT)
    held = scene(told, lots=(-5000, 5000, 0))
    assert allowed(sized(told, 0.502), held) == [-5020, 5020, 0]  # 20 USD more
    assert allowed(sized(told, 0.501), held) == [-5000, 5000, 0]  # 10 USD, and 9.90 on spot
    # By so little it can't be brought down either, so it goes down by what can be traded: 10.50 USD at 99.
    assert allowed(sized(told, 0.499), held) == [-4979, 4979, 0]


def test_legs_that_are_uneven_are_evened() -> None:
    told = carrying(ON_SPOT)
    assert allowed(told, scene(told, lots=(-5000, 4900, 0))) == [-5000, 5000, 0]
    # Five dollars of it can't be traded: both legs go down by what can.
    assert allowed(told, scene(told, lots=(-5000, 4995, 0))) == [-4984, 4984, 0]


def test_less_than_a_step_of_one_leg_is_no_reason_to_trade() -> None:
    # A fee in coins, or a liquidation by part, left four hundredths of a coin that the hedge's tenths can't stand for.
    told = carrying(ACROSS)
    held = scene(told, THERE, lots=(-5004, 500, 0))
    assert allowed(told, held) == [-5000, 500, 0]


def test_coins_that_no_order_can_sell_do_not_keep_a_spread_from_being_opened() -> None:
    told = carrying(ON_SPOT)
    assert allowed(told, scene(told, lots=(0, 5, 0))) == [-5000, 5000, 0]
    # What an order can even is evened first.
    assert allowed(told, scene(told, lots=(0, 50, 0))) == [-50, 50, 0]


def test_what_a_rule_cuts_of_one_leg_is_cut_of_both() -> None:
    told = carrying(ON_SPOT, max_volume_share=0.01)
    # A day of 240,000 USD on spot allows 2,400 USD of it.
    thin = scene(told, volume_usd=(1e9, 10_000.0, 1e9))
    decision = decide(thin, _saying(told, -1.0))
    assert decision.allowed.lots.tolist() == [-2424, 2424, 0]
    assert [each.rule for each in decision.findings] == ["position_size", "both_legs"]


def _saying(told: Mandate, score: float) -> Mandate:
    slot = told.strategies[0]
    return replace(told, strategies=(replace(slot, strategy=Says(score)),))


def test_while_reducing_uneven_legs_come_down_to_what_both_hold() -> None:
    told = carrying(ON_SPOT)
    held = scene(told, lots=(-100, 60, 0), state=TradingState.REDUCING)
    wanted = construct((opinion(-1.0, 0.0, 0.0),), held, told)
    allowed, _ = review(wanted, (opinion(-1.0, 0.0, 0.0),), held, told)
    assert allowed.lots.tolist() == [-60, 60, 0]


def test_each_wallet_pays_for_its_own_leg() -> None:
    told = carrying(ON_SPOT, min_free_margin=0.2)
    wanted = construct((opinion(-1.0, 0.0, 0.0),), scene(told), told)
    # 50 coins at 99 cost 4,950 USD, all of it in cash, of which a fiftieth stays for fees; the perpetual takes a fifth of
    # 5,000 in margin.
    rich = with_wallets(scene(told, leverage=(5.0, 1.0, 5.0)), hyperliquid=2_000.0, hyperliquid_spot=5_060.0)
    assert review(wanted, (opinion(-1.0, 0.0, 0.0),), rich, told)[0].lots.tolist() == [-5000, 5000, 0]
    poor = with_wallets(scene(told, leverage=(5.0, 1.0, 5.0)), hyperliquid=9_000.0, hyperliquid_spot=990.0)
    allowed, findings = review(wanted, (opinion(-1.0, 0.0, 0.0),), poor, told)
    assert allowed.lots.tolist() == pytest.approx([-980, 980, 0], abs=1)  # 0.98 × 990 USD at 99
    assert allowed.lots.sum() == 0
    assert [each.rule for each in findings] == ["free_margin", "both_legs"]
    tight = with_wallets(scene(told, leverage=(5.0, 1.0, 5.0)), hyperliquid=1_000.0, hyperliquid_spot=9_000.0)
    allowed, _ = review(wanted, (opinion(-1.0, 0.0, 0.0),), tight, told)
    assert allowed.lots.tolist() == pytest.approx([-4000, 4000, 0], abs=1)  # 0.8 × 1,000 × 5


def test_what_one_wallet_has_does_not_keep_another_from_liquidation() -> None:
    told = carrying(ON_SPOT, min_liquidation_distance=0.3)
    wanted = construct((opinion(-1.0, 0.0, 0.0),), scene(told), told)
    # A short of 50 coins dies at 100 × (1 + d) where 1,000 − 5,000 d = 5,000 (1 + d) / 20: d is 14 %.
    thin = with_wallets(scene(told), hyperliquid=1_000.0, hyperliquid_spot=9_000.0)
    allowed, findings = review(wanted, (opinion(-1.0, 0.0, 0.0),), thin, told)
    primary = int(allowed.lots[0])
    # At the limit: 1,000 = x (0.3 + 1.3 / 20), so x is 2,739.7 USD.
    assert primary == pytest.approx(-2739, abs=2)
    assert allowed.lots[1] == -primary
    assert [each.rule for each in findings] == ["liquidation_distance", "both_legs"]


def test_a_leg_belongs_to_one_spread() -> None:
    told = carrying(ON_SPOT)
    twice = replace(told, strategies=(*told.strategies, Slot("again", Mute(), 1.0, spreads=(ACROSS,))))
    with pytest.raises(ValueError, match="AAA is the primary leg of two spreads"):
        twice.check_legs()


lots = st.lists(st.integers(-5000, 5000), min_size=3, max_size=3)


@given(lots, st.sampled_from([ON_SPOT, ACROSS]))
def test_the_common_part_is_even_and_no_larger(given_lots: list[int], spread: Spread) -> None:
    book = np.array(given_lots, dtype=np.int64)
    legs = Legs.of((spread,), COINS)
    common = legs.common(book)
    assert no_larger(common, book)
    assert spread.unhedged(int(common[0]), int(common[1])) == 0
    assert common[2] == book[2]
    # One more step of it would be more than one of the legs has.
    more = common.copy()
    more[0] += np.sign(book[0]) * spread.primary_lots
    more[1] += np.sign(book[1]) * spread.hedge_lots
    assert book[0] * book[1] >= 0 or not no_larger(more, book)


def test_a_spread_does_not_grow_while_its_legs_are_far_apart() -> None:
    told = carrying(ON_SPOT)
    wanted = construct((opinion(-1.0, 0.0, 0.0),), scene(told), told)
    off = scene(told, mark=(100.0, 97.0, 20.0), lots=(-100, 100, 0))
    allowed, findings = review(wanted, (opinion(-1.0, 0.0, 0.0),), off, told)
    assert allowed.lots.tolist() == [-100, 100, 0]  # what is held stays, and may be closed
    assert {each.rule for each in findings} == {"peg"}
    near = scene(told, mark=(100.0, 98.5, 20.0))
    assert review(wanted, (opinion(-1.0, 0.0, 0.0),), near, told)[0].lots.tolist() == wanted.lots.tolist()


def test_multipliers_are_counted_before_legs_are_called_apart() -> None:
    single = Instrument("BBB", 0, PERP.tiers, underlying="PEPE", venue="binance")
    spread = Spread(Instrument("AAA", 2, PERP.tiers, underlying="PEPE", multiplier=1000), single)
    told = carrying(spread)
    snapshot = moment(told, (100.0, 0.1, 20.0), instruments=(*spread.legs, OTHER))
    wanted = construct((opinion(-1.0, 0.0, 0.0),), snapshot, told)
    assert wanted.lots.tolist() == [-5000, 50_000, 0]
    assert review(wanted, (opinion(-1.0, 0.0, 0.0),), snapshot, told)[0].lots.tolist() == wanted.lots.tolist()


def test_no_venue_holds_more_than_its_share_and_both_legs_give_way() -> None:
    told = carrying(ACROSS, max_venue_leverage=0.3)
    snapshot = scene(told, THERE, mark=(100.0, 100.0, 20.0))
    wanted = construct((opinion(-1.0, 0.0, 0.0),), snapshot, told)
    assert wanted.lots.tolist() == [-5000, 500, 0]
    allowed, findings = review(wanted, (opinion(-1.0, 0.0, 0.0),), snapshot, told)
    assert allowed.lots.tolist() == pytest.approx([-3000, 300, 0], abs=10)
    assert allowed.lots[0] == -10 * allowed.lots[1]
    assert {each.rule for each in findings} >= {"venue_share"}
    # Of one venue there is no share to keep.
    alone = carrying(ON_SPOT, max_venue_leverage=0.3)
    wanted = construct((opinion(-1.0, 0.0, 0.0),), scene(alone), alone)
    assert (
        review(wanted, (opinion(-1.0, 0.0, 0.0),), scene(alone), alone)[0].lots.tolist()
        == wanted.lots.tolist()
    )


def test_a_spread_one_leg_of_which_was_stopped_rests_with_both() -> None:
    told = carrying(ON_SPOT)
    later = scene(told, rest_until=(0, 2**62, 0))  # of the hedge
    assert construct((opinion(-1.0, 0.0, 0.0),), later, told).lots.tolist() == [0, 0, 0]


def test_a_thin_hedge_does_not_leave_more_net_than_is_allowed() -> None:
    """A naked long beside a spread whose hedge is cut: the net is looked at when the legs are even."""
    told = carrying(ON_SPOT, max_net_leverage=0.1, max_volume_share=0.01)
    told = replace(told, strategies=(*told.strategies, Slot("naked", Mute(), 1.0)))
    snapshot = scene(told, volume_usd=(1e9, 10_000.0, 1e9), held=((0, 0, 0), (0, 0, 0)))
    wanted = construct((opinion(-1.0, 0.0, 0.0), opinion(0.0, 0.0, 1.0)), snapshot, told)
    allowed, findings = review(wanted, (opinion(-1.0, 0.0, 0.0), opinion(0.0, 0.0, 1.0)), snapshot, told)
    lots = allowed.lots.tolist()
    assert lots[0] == -lots[1] == -2424
    net = lots[0] * 1.0 + lots[1] * 0.99 + lots[2] * 0.2
    assert net <= 0.1 * 10_000 + 1
    assert "net_leverage" in [each.rule for each in findings]


def test_what_is_paid_in_full_has_no_liquidation() -> None:
    told = carrying(ON_SPOT, min_liquidation_distance=0.45)
    wanted = construct((opinion(-1.0, 0.0, 0.0),), scene(told), told)
    # Half of what spot is worth would be its margin if it had one; 5,000 USD of it with 5,000 USD in the wallet are no risk.
    rich = with_wallets(scene(told), hyperliquid=9_000.0, hyperliquid_spot=5_000.0)
    assert review(wanted, (opinion(-1.0, 0.0, 0.0),), rich, told)[0].lots.tolist() == [-5000, 5000, 0]


def test_wallets_are_looked_at_though_all_of_them_together_are_rich() -> None:
    told = carrying(ON_SPOT, min_free_margin=0.2)
    small = replace(told, sizing=Sizing(position_size=0.02, no_trade_band=0.0))
    wanted = construct((opinion(-1.0, 0.0, 0.0),), scene(small), small)  # 200 USD of 10,000
    poor = with_wallets(scene(small, leverage=(5.0, 1.0, 5.0)), hyperliquid=9_900.0, hyperliquid_spot=100.0)
    assert review(wanted, (opinion(-1.0, 0.0, 0.0),), poor, small)[0].lots[1] <= 101
    thin = with_wallets(scene(small), hyperliquid=30.0, hyperliquid_spot=9_970.0)
    far = carrying(ON_SPOT, min_liquidation_distance=0.3)
    assert abs(review(wanted, (opinion(-1.0, 0.0, 0.0),), thin, far)[0].lots[0]) < 90
