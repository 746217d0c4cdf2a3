"""Each rule of the policy by hand-computed numbers: the last that passes and the first that does not."""

import json
from pathlib import Path
from typing import Any

import pytest

from bot.signer.grammar import FORBIDDEN
from bot.signer.policy import SignerConfigError, parse
from bot.venues.hyperliquid.sending import Patience
from tests.signer.support import PEER, POLICY, START_MS, Desk, changed, order, trigger


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path)
    made.ready()
    return made


def test_what_is_asked_for_is_what_is_signed(desk: Desk) -> None:
    asked = order("sell", "0.01000", "49900.50", cloid="0x" + "ab" * 16)
    answer = desk.ask("order", orders=[asked], grouping="na", expires_in_ms=7_000)["ok"]

    assert json.loads(answer["body"])["action"] == {
        "type": "order",
        "orders": [
            {
                "a": 3,
                "b": False,
                "p": "49900.5",
                "s": "0.01",
                "r": False,
                "t": {"limit": {"tif": "Gtc"}},
                "c": "0x" + "ab" * 16,
            }
        ],
        "grouping": "na",
    }
    assert answer["expires_after_ms"] == START_MS + 7_000
    assert answer["nonce"] == START_MS


def test_before_the_first_report_only_what_reduces_is_signed(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.ask("prices", prices={"BTC": "50000"}, at_ms=desk.wall_ms)

    assert desk.order(order()) == "positions_unknown"
    assert desk.order(order("sell", reduce_only=True)) == "ok"
    assert desk.rule("cancel", cancels=[{"coin": "BTC", "oid": 1}], fast=False) == "ok"


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        # 0.05 × 50,000 = 2,500; a lot more is 2,500.50
        (order(size="0.05"), "ok"),
        (order(size="0.05001"), "order_usd"),
        # a sell below the reference may still fill at the reference
        (order("sell", "0.05001", "49900"), "order_usd"),
        # 50 bps of 50,000 = 250
        (order(price="50250", size="0.001"), "ok"),
        (order(price="50250.1", size="0.001"), "collar"),
        (order("sell", price="49750"), "ok"),
        (order("sell", price="49749.9"), "collar"),
        (order(price="41000"), "ok"),
        (order(price="39999.9"), "band"),
        (order("sell", price="250000.1", size="0.001"), "band"),
        # 200 bps for what only reduces
        (order("sell", price="49000", reduce_only=True), "ok"),
        (order("sell", price="48999.9", reduce_only=True), "collar"),
        (order("sell", "5", reduce_only=True), "ok"),
        (order(size="0.000001"), "size_decimals"),
        (order(coin="DOGE"), "coin"),
        # a stop: its limit at most 10 % past its trigger
        (trigger("sl", "45000"), "ok"),
        (trigger("sl", "45000", price="40500"), "ok"),
        (trigger("sl", "45000", price="40499"), "collar_trigger"),
        # a take-profit behind the market fires at once: at most 200 bps past the reference
        (trigger("tp", "55000"), "ok"),
        (trigger("tp", "49000"), "ok"),
        (trigger("tp", "48999"), "collar"),
        (trigger("sl", "45000", reduce_only=False), "opening_triggers"),
        (trigger("sl", "39999", price="40000"), "band"),
    ],
)
def test_an_orders_rules(desk: Desk, asked: dict[str, Any], rule: str) -> None:
    assert desk.order(asked) == rule


def test_a_position_counts_what_is_held_what_rests_and_what_was_signed(desk: Desk) -> None:
    # Limit $10,000 = 0.2 BTC at 50,000. Held 0.1, resting 0.04, so 0.06 is left.
    held = {"BTC": {"size": "0.1", "buys": "0.04", "sells": "0"}}
    desk.ask("positions", positions=held, open_orders=1, through_nonce=0, at_ms=desk.wall_ms)

    assert desk.order(order(size="0.04")) == "ok"
    assert desk.order(order(size="0.02001")) == "position_usd"
    assert desk.order(order(size="0.02")) == "ok"
    # Downwards what is held makes no room, since a stop may have closed it before: four of 0.05.
    assert desk.order(order("sell", "0.1", reduce_only=True)) == "ok"
    assert [desk.order(order("sell", "0.05")) for _ in range(5)] == ["ok"] * 4 + ["position_usd"]


def test_a_report_settles_what_was_signed_up_to_its_nonce_and_no_later(desk: Desk) -> None:
    nonces = [
        desk.ask("order", orders=[order(size="0.05")], grouping="na", expires_in_ms=9_000)["ok"]["nonce"]
        for _ in range(4)
    ]
    assert desk.order(order(size="0.05")) == "position_usd"

    # Three of the four did not fill; the fourth is not yet known.
    desk.ask("positions", positions={}, open_orders=0, through_nonce=nonces[2], at_ms=desk.wall_ms)
    assert [desk.order(order(size="0.05")) for _ in range(4)] == ["ok", "ok", "ok", "position_usd"]


def test_a_report_settles_no_nonce_that_was_not_given_out(desk: Desk) -> None:
    # So that nobody can settle an order before it is signed.
    last = desk.ask("status")["ok"]["last_nonce"]
    told = {"positions": {}, "open_orders": 0, "at_ms": desk.wall_ms}
    assert desk.rule("positions", through_nonce=last + 1, **told) == "through_nonce"
    assert desk.rule("positions", through_nonce=2**53, **told) == "through_nonce"
    assert [desk.order(order(size="0.05")) for _ in range(5)] == ["ok"] * 4 + ["position_usd"]
    last = desk.ask("status")["ok"]["last_nonce"]
    assert desk.rule("positions", through_nonce=last, **told) == "ok"
    assert desk.order(order(size="0.05")) == "ok"


def test_an_order_counts_until_a_report_of_a_time_when_it_had_expired_for_long(desk: Desk) -> None:
    assert [desk.order(order(size="0.05"), expires_in_ms=9_000) for _ in range(4)] == ["ok"] * 4
    desk.wait(19_000)
    desk.ready()  # through nonce 0, and exactly ten seconds past the expiry
    assert desk.order(order(size="0.0001")) == "position_usd"
    desk.wait(1)
    desk.ready(BTC="0.05")  # one of the four had filled
    assert [desk.order(order(size="0.05")) for _ in range(4)] == ["ok", "ok", "ok", "position_usd"]


def test_what_expired_days_ago_does_not_stop_a_signer_that_was_started_anew(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.ready()
    assert [desk.order(order(size="0.05")) for _ in range(4)] == ["ok"] * 4
    desk.wait(2 * 86_400_000)
    desk.again()
    desk.ready()  # by a journal that knows no nonce
    assert desk.order(order(size="0.05")) == "ok"


def test_gross_adds_up_all_coins(desk: Desk) -> None:
    desk.ready(BTC="-0.18", ETH="2.6")  # 9,000 + 5,200 of 15,000

    assert desk.order(order(coin="ETH", size="0.4", price="2000")) == "ok"
    assert desk.order(order(coin="ETH", size="0.0001", price="2000")) == "gross_usd"
    assert desk.order(order(size="0.04")) == "ok"  # buys back, gross does not grow


def test_a_coins_own_limit_beats_the_one_for_all(desk: Desk) -> None:
    assert desk.order(order(coin="ETH", size="0.5", price="2000")) == "ok"
    assert desk.order(order(coin="ETH", size="0.5001", price="2000")) == "order_usd"
    assert desk.order(order(coin="ETH", size="0.1", price="2015")) == "ok"
    assert desk.order(order(coin="ETH", size="0.1", price="2015.1")) == "collar"


def test_turnover_is_counted_when_signed_and_comes_back_after_a_day(tmp_path: Path) -> None:
    desk = Desk(tmp_path, changed(turnover_usd_per_day=5000))
    desk.ready()
    assert [desk.order(order(size="0.05")) for _ in range(3)] == ["ok", "ok", "turnover_usd"]
    assert desk.order(order("sell", "1", reduce_only=True)) == "ok"

    desk.wait(86_399_999)
    last = desk.ask("status")["ok"]["last_nonce"]
    told = desk.ask("positions", positions={}, open_orders=0, through_nonce=last, at_ms=desk.wall_ms)
    assert "ok" in told
    desk.ask("prices", prices={"BTC": "50000"}, at_ms=desk.wall_ms)
    assert desk.order(order(size="0.05")) == "turnover_usd"
    desk.wait(1)
    assert desk.order(order(size="0.05")) == "ok"


def test_rates_are_per_kind_and_minute(desk: Desk) -> None:
    small = {"size": "0.0001"}
    assert [desk.order(order(**small)) for _ in range(31)][-1] == "ok"
    reduces = [desk.order(order("sell", "0.0001", reduce_only=True)) for _ in range(31)]
    assert reduces == ["ok"] * 30 + ["reduces_per_min"]
    cancels = [{"coin": "BTC", "oid": n} for n in range(30)]
    asked = [desk.rule("cancel", cancels=cancels, fast=False) for _ in range(4)]
    assert asked == ["ok"] * 3 + ["cancels_per_min"]
    desk.wait(60_000)
    assert desk.rule("cancel", cancels=cancels, fast=False) == "ok"


def test_a_spent_day_still_lets_cancel_fence_and_reduce(tmp_path: Path) -> None:
    desk = Desk(tmp_path, changed(actions_per_day=1))
    desk.ready()
    nonce = desk.ask("order", orders=[order()], grouping="na", expires_in_ms=9_000)["ok"]["nonce"]

    assert desk.order(order()) == "actions_per_day"
    assert desk.rule("leverage", coin="BTC", leverage=2, is_cross=False) == "actions_per_day"
    assert desk.rule("cancel", cancels=[{"coin": "BTC", "oid": 1}], fast=False) == "ok"
    assert desk.rule("fence", nonce=nonce) == "ok"
    assert desk.order(order("sell", reduce_only=True)) == "ok"


def test_leverage_margin_mode_and_isolated_margin_have_their_limits(desk: Desk) -> None:
    assert desk.rule("leverage", coin="BTC", leverage=5, is_cross=False) == "ok"
    assert desk.rule("leverage", coin="BTC", leverage=6, is_cross=False) == "leverage"
    assert desk.rule("leverage", coin="BTC", leverage=5, is_cross=True) == "cross"
    assert desk.rule("isolated_margin", coin="BTC", usd_micro=600_000_000) == "ok"
    assert desk.rule("isolated_margin", coin="BTC", usd_micro=-400_000_001) == "isolated_margin_usd"
    assert desk.rule("isolated_margin", coin="BTC", usd_micro=-400_000_000) == "ok"


def test_only_a_nonce_of_ones_own_can_be_fenced(desk: Desk) -> None:
    nonce = desk.ask("order", orders=[order()], grouping="na", expires_in_ms=9_000)["ok"]["nonce"]

    assert desk.rule("fence", nonce=nonce + 1) == "fence"
    answer = desk.ask("fence", nonce=nonce)["ok"]
    body = json.loads(answer["body"])
    assert (body["action"], body["nonce"], body["expiresAfter"]) == ({"type": "noop"}, nonce, None)


def test_fences_have_a_rate_of_their_own(tmp_path: Path) -> None:
    desk = Desk(tmp_path, changed(fences_per_min=3, actions_per_day=2))
    desk.ready()
    nonce = desk.ask("order", orders=[order()], grouping="na", expires_in_ms=9_000)["ok"]["nonce"]
    assert [desk.rule("fence", nonce=nonce) for _ in range(4)] == ["ok"] * 3 + ["fences_per_min"]
    left = desk.ask("status")["ok"]["left"]
    assert (left["fences_per_min"], left["actions_per_day"]) == (0, 0)
    desk.again()
    assert desk.rule("fence", nonce=nonce) == "fences_per_min"
    desk.wait(60_000)
    assert desk.rule("fence", nonce=nonce) == "ok"


def test_without_a_word_of_the_policy_fences_are_twice_as_many_as_a_lost_order_takes(desk: Desk) -> None:
    per_min = 60 / Patience().poll_s
    assert desk.rules.fences_per_min >= 2 * per_min


def test_a_cloid_is_signed_once_and_a_replacement_may_keep_it(desk: Desk) -> None:
    first = order()
    assert desk.order(first) == "ok"
    assert desk.order(first) == "cloid_used"
    twice = order()
    assert desk.order(twice, twice) == "cloid_used"
    modifies = [{"oid": first["cloid"], "order": first}]
    assert desk.rule("modify", modifies=modifies, always=True, expires_in_ms=6_000) == "ok"


def test_reference_prices_must_be_fresh_and_move_no_faster_than_allowed(desk: Desk) -> None:
    desk.wait(3_000)
    assert desk.order(order()) == "ok"
    desk.wait(1)
    assert desk.order(order()) == "reference_age"
    # 50 bps a second over 3.001 s: 150.05 bps of 50,000 = 750.25
    told = {"at_ms": desk.wall_ms}
    assert desk.rule("prices", prices={"BTC": "50750.3"}, **told) == "reference_step"
    assert desk.rule("prices", prices={"BTC": "50750.2"}, **told) == "ok"
    assert desk.rule("prices", prices={"BTC": "50750.3"}, **told) == "reference_step"  # no time has passed
    assert desk.rule("prices", prices={"BTC": "300000"}, **told) == "band"
    assert desk.rule("prices", prices={"BTC": "51000"}, at_ms=desk.wall_ms - 3_001) == "reference_age"
    assert desk.rule("prices", prices={"BTC": "51000"}, at_ms=desk.wall_ms + 2_001) == "reference_age"


def test_expiry_tif_actions_and_the_agents_end_are_the_policys(tmp_path: Path) -> None:
    text = changed(tif=["Alo"], allow=["order"]).replace(
        "network", "agent_valid_until = 2026-09-21T14:00:00Z\nnetwork", 1
    )
    desk = Desk(tmp_path, text)
    desk.wall_ms = 1_790_000_000_000 - 3_600_000
    desk.engine._clock._anchor = desk.wall_ms - desk.boot_ms
    desk.ready()
    assert desk.rules.agent_valid_until_ms == 1_789_999_200_000
    assert desk.order(order()) == "tif"
    assert desk.order(order(tif="Alo"), expires_in_ms=4_999) == "expires_ms"
    assert desk.order(order(tif="Alo"), expires_in_ms=15_001) == "expires_ms"
    assert desk.order(order(tif="Alo")) == "ok"
    assert desk.rule("cancel", cancels=[{"coin": "BTC", "oid": 1}], fast=False) == "action"
    desk.wait(1_789_999_200_000 - desk.wall_ms)
    assert desk.order(order(tif="Alo")) == "agent_expired"


def test_many_denials_leave_only_what_reduces_for_a_while(desk: Desk) -> None:
    assert [desk.order(order(coin="DOGE")) for _ in range(20)] == ["coin"] * 20

    assert desk.order(order()) == "reducing"
    assert desk.order(order("sell", reduce_only=True)) == "ok"
    assert desk.ask("status")["ok"]["state"] == "reducing"


@pytest.mark.parametrize("do", [*sorted(FORBIDDEN), "usd_send", "approveAgent", "Withdraw3", "personal_sign"])
def test_asking_for_what_is_never_signed_locks_the_signer(tmp_path: Path, do: str) -> None:
    everything = changed(lock_on_forbidden=True)
    desk = Desk(tmp_path, everything)
    desk.ready()

    assert desk.rule(do, destination="0x" + "1" * 40, amount="1") == "forbidden"
    assert desk.order(order("sell", reduce_only=True)) == "locked"
    assert desk.ask("status")["ok"]["state"] == "locked"
    assert '"kind":"sign"' not in (tmp_path / "audit.jsonl").read_text()


def test_one_connection_trades_until_it_hangs_up(desk: Desk) -> None:
    from dataclasses import replace

    other = replace(PEER, connection=9)
    packet = json.dumps(
        {"id": 1, "do": "cancel", "cancels": [{"coin": "BTC", "oid": 1}], "fast": False}
    ).encode()
    assert b"one_trader" in desk.engine.handle(packet, other)
    assert b"left" in desk.engine.handle(b'{"id":1,"do":"status"}', other)
    desk.engine.hang_up(PEER.connection)
    assert b"signature" in desk.engine.handle(packet, other)
    assert desk.order(order("sell", reduce_only=True)) == "one_trader"


def test_a_clock_that_jumps_stops_the_signing_until_it_is_back(desk: Desk) -> None:
    cancel = {"cancels": [{"coin": "BTC", "oid": 1}], "fast": False}
    assert desk.rule("cancel", **cancel) == "ok"
    desk.wall_ms += 12 * 3_600_000
    assert desk.rule("cancel", **cancel) == "clock_jump"
    desk.wall_ms -= 12 * 3_600_000
    assert desk.rule("cancel", **cancel) == "ok"
    desk.wall_ms -= 59_000
    assert desk.rule("cancel", **cancel) == "ok"
    desk.wall_ms -= 12 * 3_600_000
    assert desk.rule("cancel", **cancel) == "nonce_ahead" or desk.rule("cancel", **cancel) == "clock_jump"


@pytest.mark.parametrize("hours", [25, -25])
def test_a_clock_that_jumped_and_came_back_gives_no_budget_back(tmp_path: Path, hours: int) -> None:
    desk = Desk(tmp_path, changed(turnover_usd_per_day=2500, actions_per_day=2))
    desk.ready()
    assert desk.order(order(size="0.05")) == "ok"
    leverage = {"coin": "BTC", "leverage": 2, "is_cross": False}
    assert [desk.rule("leverage", **leverage) for _ in range(2)] == ["ok", "actions_per_day"]
    left = desk.ask("status")["ok"]["left"]
    desk.wall_ms += hours * 3_600_000
    assert desk.order(order()) == "clock_jump"
    assert desk.rule("leverage", **leverage) == "clock_jump"
    assert desk.rule("prices", prices={"BTC": "50000"}, at_ms=desk.wall_ms) == "clock_jump"
    held = {"positions": {}, "open_orders": 0, "through_nonce": 0, "at_ms": desk.wall_ms}
    assert desk.rule("positions", **held) == "clock_jump"
    assert desk.rule("nonsense") == "unknown_request"
    desk.wall_ms -= hours * 3_600_000

    assert desk.ask("status")["ok"]["left"] == left
    assert desk.rule("leverage", **leverage) == "actions_per_day"
    assert desk.order(order(size="0.0001")) == "turnover_usd"
    assert desk.engine.limits.denials.total(desk.wall_ms) == 8


def test_the_venues_clock_moves_ours_by_a_little_only(desk: Desk) -> None:
    assert desk.rule("clock", venue_ms=desk.wall_ms + 2_001) == "clock_offset"
    assert desk.rule("clock", venue_ms=desk.wall_ms + 2_000) == "ok"
    assert desk.ask("status")["ok"]["now_ms"] == desk.wall_ms + 2_000


def test_a_devnets_simulated_clock_may_be_anything(tmp_path: Path) -> None:
    desk = Desk(tmp_path, changed(network="devnet", simulated_clock=True))

    assert desk.rule("clock", venue_ms=1_700_000_000_000) == "ok"
    answer = desk.ask("cancel", cancels=[{"coin": "BTC", "oid": 1}], fast=False)
    assert answer["ok"]["nonce"] == 1_700_000_000_000


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (POLICY.replace("max_gross_usd = 15000", ""), "max_gross_usd is missing"),
        (POLICY.replace("max_gross_usd", "max_gros_usd"), "is missing|is not a key"),
        (POLICY + "\nmax_ordr_usd = 3", "coins.ETH.max_ordr_usd is not a key"),
        (POLICY.replace("asset = 4", "asset = 3"), "same asset id"),
        (POLICY.replace("[40000, 250000]", "[250000, 40000]"), "lowest price above 0"),
        (POLICY.replace("= 15000\n", "= nan\n", 1), "must be a number"),
        (POLICY.replace("= 15000\n", "= -1\n", 1), "must be a number"),
        (POLICY.replace("= 40\n", "= 40.5\n", 1), "max_open_orders must be a whole number"),
        (POLICY.replace('"testnet"', '"mainet"'), "network must be one of"),
        (changed(simulated_clock=True), "is for network"),
        (POLICY.replace('"fence"]', '"withdraw3"]'), "allow must be a list"),
        (POLICY.replace(' "fence"]', ' "fence"'), "not TOML"),
        (changed(account="0x12"), "40 hex digits"),
        ("", "network is missing"),
    ],
)
def test_a_wrong_policy_is_refused_with_the_key_that_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(SignerConfigError, match=complaint):
        parse(text.encode())


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"[]",
        b"null",
        b'{"id":1}',
        b'{"id":1,"do":"status","x":1}',
        b'{"id":1,"id":1,"do":"status"}',
        b'{"id":-1,"do":"status"}',
        b'{"id":1.0,"do":"status"}',
        b'{"id":true,"do":"status"}',
        b'{"id":NaN,"do":"status"}',
        '{"id":1,"do":"stätus"}'.encode(),
        b"[" * 16_000,
        b'{"id":' + b"9" * 9_000 + b',"do":"status"}',
        b'{"id":1,"do":"status"}' + b" " * 20_000,
    ],
)
def test_what_is_not_the_protocol_is_denied(desk: Desk, packet: bytes) -> None:
    assert json.loads(desk.engine.handle(packet, PEER))["deny"]["rule"] == "grammar"
