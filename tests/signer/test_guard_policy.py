"""The policy that `hedgerow guard init` writes: its signer cancels and reduces, and signs nothing else, whatever it is asked."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot.signer import policy
from bot.signer.draft import Draft, DraftCoin, guard_text
from tests.signer.fuzz import RESTART_EVERY, Fuzz
from tests.signer.support import AGENT, Desk, order, trigger

COINS = (
    DraftCoin("BTC", 3, 5, Decimal(100_000), 40),
    DraftCoin("ETH", 4, 4, Decimal(3_000), 25),
)
TEXT = guard_text(
    Draft(
        network="testnet",
        master="0x00000000000000000000000000000000000000aa",
        vault=None,
        agent=AGENT,
        valid_until=None,
        coins=COINS,
        capital_usd=0,
        leverage=3,
        source="a test",
    )
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path, TEXT)
    desk.ready(BTC="0.02", ETH="-1")
    return desk


def test_it_signs_what_only_reduces_and_what_cancels(desk: Desk) -> None:
    assert desk.order(order("sell", "0.02", "49000", reduce_only=True, tif="Ioc")) == "ok"
    assert desk.order(trigger("sl", "45000")) == "ok"
    cancels = [{"coin": "BTC", "oid": 7}]
    assert desk.rule("cancel", cancels=cancels, fast=False) == "ok"


@pytest.mark.parametrize("side", ["buy", "sell"])
@pytest.mark.parametrize("size", ["0.00001", "0.01", "0.02"])
@pytest.mark.parametrize("tif", ["Ioc", "Gtc", "Alo"])
def test_it_signs_no_order_that_could_open(desk: Desk, side: str, size: str, tif: str) -> None:
    assert desk.order(order(side, size, "50000", tif=tif)) not in {"ok", "locked"}


def test_one_that_could_open_spoils_a_whole_batch(desk: Desk) -> None:
    closes = order("sell", "0.02", "49900", reduce_only=True, tif="Ioc")
    assert desk.order(closes, order("buy", "0.00001", "50000", tif="Ioc")) not in {"ok", "locked"}


def test_it_signs_no_trigger_that_could_open(desk: Desk) -> None:
    assert desk.order(trigger("sl", "45000", reduce_only=False)) == "opening_triggers"


def test_it_moves_no_order_no_leverage_and_no_money(desk: Desk) -> None:
    moved = [{"oid": 7, "order": trigger("sl", "45000")}]
    assert desk.rule("modify", modifies=moved, always=False, expires_in_ms=9_000) == "action"
    assert desk.rule("leverage", coin="BTC", leverage=1, is_cross=False) == "action"
    assert desk.rule("isolated_margin", coin="BTC", usd_micro=-1_000_000) == "action"
    assert desk.rule("schedule_cancel", time_ms=None) == "action"
    assert desk.rule("withdraw3", amount="1") == "forbidden"


def test_after_a_flood_of_requests_it_still_reduces(desk: Desk) -> None:
    for _ in range(100):
        desk.order(order("buy", "0.01", "50000", tif="Ioc"))
    assert desk.order(trigger("sl", "45000")) == "ok"


def test_what_is_left_tells_that_it_can_open_nothing(desk: Desk) -> None:
    left = desk.ask("status")["ok"]["left"]
    assert left["orders_per_min"] == 0
    assert Decimal(left["turnover_usd_per_day"]) == 0


def test_every_limit_that_opening_is_asked_for_is_nothing() -> None:
    rules = policy.parse(TEXT.encode())
    assert rules.allow == {"order", "cancel"}
    assert rules.orders_per_min == rules.max_open_orders == rules.actions_per_day == 0
    assert rules.turnover_usd_micro_per_day == rules.max_gross_usd_micro == 0
    for coin in rules.coins.values():
        assert coin.max_order_usd_micro == coin.max_position_usd_micro == coin.max_leverage == 0


class Reducing(Fuzz):
    """Counts what was signed and is neither a cancel nor an order that only reduces."""

    def right(self, request: dict[str, Any], ok: dict[str, Any]) -> bool:
        action = json.loads(ok["body"])["action"]
        only = action["type"] == "cancel" or (
            action["type"] == "order" and all(each["r"] is True for each in action["orders"])
        )
        return only and super().right(request, ok)


def test_no_request_honest_or_hostile_makes_it_sign_anything_else(tmp_path: Path) -> None:
    fuzz = Reducing(7, tmp_path, f"lock_on_forbidden = false\ndenials_per_min = 10000000\n{TEXT}")
    for number in range(1, 30_001):
        fuzz.step()
        if number % RESTART_EVERY == 0:
            fuzz.restart()
    assert (fuzz.counts["escapes"], fuzz.counts["false_denials"], fuzz.counts["faults"]) == (0, 0, 0)
    assert fuzz.counts["signed"] > 1_000
