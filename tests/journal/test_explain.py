from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.errors import ConfigError
from bot.journal.explain import explain
from bot.journal.journal import Journal
from bot.journal.reader import read
from bot.model.decision import Cancel, Decision, Finding, OrderPlan, Targets, TradingState
from bot.model.order import (
    Fill,
    Liquidation,
    Order,
    OrderReport,
    OrderStatus,
    Purpose,
    Side,
    Trigger,
    TriggerKind,
)
from tests.journal.diary import HOUR_MS, START_MS, decision, facts, quiet_cycle

EQUITY = Decimal(1000)
CUT = Finding("concentration", "ETH", "wanted 12,000 USD, one position may have 10,000 USD")
WHOLE = Finding("gross_leverage", "", "book × 0.9")
OTHER = Finding("data_freshness", "DOGE", "no increase: funding unknown")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "paper.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with Journal.open(path) as opened:
        opened.begin_run(facts())
        yield opened


def at(hour: int) -> int:
    return START_MS + hour * HOUR_MS


def named(hour: int) -> str:
    return f"{at(hour) // 1000:x}"


def cut(decided: Decision, lots: Sequence[Sequence[int]]) -> Decision:
    """The same decision after rules that allowed only so much."""
    by_strategy = np.array(lots, np.int64)
    return replace(decided, allowed=Targets(by_strategy.sum(axis=0), by_strategy))


def told(path: Path, name: str) -> dict[str, Any]:
    with read(path) as reader:
        return explain(reader, name)


def trade(number: int, order: Order, hour: int, purpose: Purpose = Purpose.ENTRY) -> Fill:
    return Fill(
        number,
        at(hour),
        order.instrument,
        order.side,
        order.lots,
        Decimal(3000),
        Decimal(3000) * order.lots / 10_000,
        Decimal("0.25"),
        False,
        order.client_id,
        number + 100,
        purpose,
    )


@pytest.fixture
def ether(journal: Journal) -> Order:
    """Two strategies want ETH, a rule cuts them down, an order fills; two hours later all of it stands unchanged."""
    order = Order(f"{named(0)}-ETH-entry", "ETH", Side.SELL, 30_000)
    scores, wanted = [[0.5, -0.5, 0.0], [0.0, -1.0, 0.0]], [[900, -10_000, 0], [0, -30_000, 0]]
    plan = OrderPlan((Cancel(7, "old-BTC-entry", "BTC", "price moved away"),), (order,))
    allowed = [[900, -10_000, 0], [0, -20_000, 0]]
    decided = cut(decision(at(0), scores, wanted, (CUT, WHOLE, OTHER), plan), allowed)
    journal.record_decision(decided, TradingState.ACTIVE, EQUITY)
    report = OrderReport(at(0), 3, order, OrderStatus.FILLED, 30_000, Decimal(3000))
    journal.record_cycle(quiet_cycle(at(1), reports=[report], fills=[trade(9, order, 0)]))
    for hour in (1, 2):
        again = cut(decision(at(hour), scores, wanted, (CUT, WHOLE, OTHER)), allowed)
        journal.record_decision(again, TradingState.ACTIVE, EQUITY + hour)
    return order


def test_a_decision_is_told_from_what_was_measured_to_what_was_filled(ether: Order, path: Path) -> None:
    story = told(path, named(0))
    assert (story["kind"], story["decision"]["id"], story["decision"]["repeats"]) == (
        "decision",
        named(0),
        None,
    )
    assert (story["decision"]["time"], story["decision"]["state"]) == ("2024-05-01T00:00:00Z", "active")
    beliefs = [(row["coin"], row["strategy"], row["score"]) for row in story["forecasts"]]
    assert beliefs == [("BTC", "carry", 0.5), ("ETH", "carry", -0.5), ("ETH", "fade", -1.0)]
    fade = story["forecasts"][2]
    assert (fade["wanted"], fade["allowed"], fade["because"]) == (-3, -2, "funding z +3.0 is extreme")
    assert [(row["coin"], row["wanted"], row["allowed"]) for row in story["targets"]] == [
        ("BTC", Decimal("0.009"), Decimal("0.009")),
        ("ETH", -4, -3),
    ]
    assert [(row["rule"], row["coin"]) for row in story["findings"]] == [
        ("concentration", "ETH"),
        ("gross_leverage", None),
        ("data_freshness", "DOGE"),
    ]
    assert [(row["client_id"], row["because"]) for row in story["cancels"]] == [
        ("old-BTC-entry", "price moved away")
    ]
    assert [(row["client_id"], row["status"], row["filled"]) for row in story["orders"]] == [
        (ether.client_id, "filled", 3)
    ]
    assert [(row["trade_id"], row["size"], row["fee_usd"]) for row in story["fills"]] == [
        (9, 3, Decimal("-0.25"))
    ]


def test_a_decision_that_repeats_another_says_so_and_shows_that_one(ether: Order, path: Path) -> None:
    first, last = told(path, named(0)), told(path, named(2))
    assert last["decision"]["repeats"] == {
        "id": named(0),
        "time": "2024-05-01T00:00:00Z",
        "time_ms": START_MS,
    }
    assert (last["decision"]["id"], last["decision"]["equity_usd"]) == (named(2), 1002)
    for part in ("forecasts", "targets", "findings", "orders", "fills", "cancels"):
        assert last[part] == first[part] != []
    assert told(path, "latest")["decision"] == last["decision"]
    assert told(path, named(2).upper())["decision"] == last["decision"]


@pytest.mark.parametrize(
    "name", [f"{named(0)}-ETH-entry", "9", "3"], ids=["client id", "trade", "order number"]
)
def test_an_order_and_a_trade_lead_to_their_decision_in_that_coin(
    name: str, ether: Order, path: Path
) -> None:
    story = told(path, name)
    assert (story["coin"], story["decision"]["id"]) == ("ETH", named(0))
    assert {row["coin"] for part in ("forecasts", "targets", "orders", "fills") for row in story[part]} == {
        "ETH"
    }
    assert [row["rule"] for row in story["findings"]] == ["concentration", "gross_leverage"]
    assert story["cancels"] == []


def test_trades_are_told_in_the_order_in_which_they_happened(
    ether: Order, journal: Journal, path: Path
) -> None:
    # A venue's numbers of trades need not grow.
    late = replace(trade(3, ether, 1), lots=1, notional_usd=Decimal("0.3"))
    journal.record_cycle(quiet_cycle(at(3), fills=[late]))
    assert [row["trade_id"] for row in told(path, named(0))["fills"]] == [9, 3]
    assert [row["trade_id"] for row in told(path, "ETH")["fills"]] == [9, 3]


@pytest.mark.parametrize("number", [10**18, (1 << 63) - 101])
def test_a_trade_is_found_by_as_long_a_number_as_the_journal_gives(
    number: int, ether: Order, journal: Journal, path: Path
) -> None:
    # Trades at central exchanges are numbered by 63 bits of a hash: most of them have nineteen digits.
    journal.record_cycle(quiet_cycle(at(3), fills=[trade(number, ether, 2)]))
    story = told(path, str(number))
    assert (story["kind"], story["decision"]["id"]) == ("trade", named(0))
    for longer in (str(1 << 63), "9" * 20, "9" * 5000):
        with pytest.raises(ConfigError, match="knows no decision, order, trade or coin"):
            told(path, longer)


def test_fills_are_told_in_the_order_in_which_they_happened_whatever_their_numbers(
    ether: Order, journal: Journal, path: Path
) -> None:
    journal.record_cycle(quiet_cycle(at(3), fills=[trade(10**18, ether, 1), trade(5, ether, 2)]))
    for name in (named(0), "ETH", ether.client_id):
        assert [row["trade_id"] for row in told(path, name)["fills"]] == [9, 10**18, 5]


def test_a_coins_story_is_its_latest_change_not_the_latest_decision(
    ether: Order, journal: Journal, path: Path
) -> None:
    assert told(path, "eth")["now"] is None  # nothing has changed since
    # BTC changes, ETH is only mentioned again, with another score.
    scores = [[1.0, -0.25, 0.0], [0.0, -1.0, 0.0]]
    plan = OrderPlan((), (Order(f"{named(3)}-BTC-entry", "BTC", Side.BUY, 100),))
    changed = decision(at(3), scores, [[1000, -10_000, 0], [0, -20_000, 0]], (), plan)
    journal.record_decision(changed, TradingState.ACTIVE, EQUITY)
    story = told(path, "ETH")
    assert (story["kind"], story["id"], story["decision"]["id"]) == ("coin", "ETH", named(0))
    assert story["now"]["decision"]["id"] == named(3)
    assert [(row["strategy"], row["score"]) for row in story["now"]["forecasts"]] == [
        ("carry", -0.25),
        ("fade", -1.0),
    ]
    assert story["now"]["findings"] == []
    assert told(path, "BTC")["decision"]["id"] == named(3)


def test_what_the_venue_did_to_a_coin_since_is_told(ether: Order, journal: Journal, path: Path) -> None:
    stop = Order(
        "p-ETH-stop",
        "ETH",
        Side.BUY,
        30_000,
        trigger=Trigger(TriggerKind.STOP, Decimal(3300)),
        purpose=Purpose.STOP,
    )
    report = OrderReport(at(3), 8, stop, OrderStatus.FILLED, 30_000, Decimal(3300))
    fill = trade(10, stop, 3, Purpose.STOP)
    journal.record_cycle(quiet_cycle(at(3), reports=[report], fills=[fill]))
    story = told(path, "ETH")
    assert [(row["trade_id"], row["purpose"]) for row in story["since"]] == [(10, "stop")]
    assert [row["trade_id"] for row in story["fills"]] == [9]


def test_of_two_decisions_of_one_moment_the_one_that_traded_last_is_a_coins_latest_change(
    ether: Order, journal: Journal, path: Path
) -> None:
    # As where a venue took a leg while the first was carried out: its orders are made in turn, and known by their names.
    first, again = decision(at(3), [[1.0, 0.0, 0.0]] * 2), decision(at(3), [[0.0, 0.0, 0.0]] * 2)
    again = replace(again, snapshot_id=f"{first.snapshot_id}a1n1")
    for hour, each, side in ((4, first, Side.SELL), (5, again, Side.BUY)):
        order = Order(f"{each.snapshot_id}-ETH-leg1", "ETH", side, 30_000)
        report = OrderReport(at(hour), hour, order, OrderStatus.FILLED, 30_000, Decimal(3000))
        journal.record_decision(each, TradingState.ACTIVE, EQUITY)
        journal.record_cycle(quiet_cycle(at(hour), reports=[report], fills=[trade(hour, order, hour)]))
    story = told(path, "ETH")
    assert story["decision"]["id"] == again.snapshot_id
    assert [row["trade_id"] for row in story["fills"]] == [5]
    assert story["since"] == []


def test_a_protective_order_has_the_story_of_the_position_it_protects(
    ether: Order, journal: Journal, path: Path
) -> None:
    stop = Order(
        "p-ETH-stop",
        "ETH",
        Side.BUY,
        30_000,
        trigger=Trigger(TriggerKind.STOP, Decimal(3300)),
        purpose=Purpose.STOP,
    )
    journal.record_cycle(quiet_cycle(at(1), reports=[OrderReport(at(1), 8, stop, OrderStatus.WAITING)]))
    later = OrderPlan((), (Order(f"{named(3)}-ETH-entry", "ETH", Side.SELL, 100),))
    journal.record_decision(
        decision(at(3), [[0.0, -1.0, 0.0], [0.0, 0.0, 0.0]], None, (), later), TradingState.ACTIVE, EQUITY
    )
    story = told(path, "p-ETH-stop")
    assert (story["is_protection"], story["decision"]["id"]) == (True, named(0))
    assert [row["strategy"] for row in story["forecasts"]] == ["carry", "fade"]
    assert [(row["client_id"], row["trigger_price"]) for row in story["orders"]] == [("p-ETH-stop", 3300)]
    assert story["fills"] == []
    assert told(path, ether.client_id)["is_protection"] is False


@pytest.mark.parametrize("name", ["11", "liquidation-1"])
def test_a_liquidation_is_told_as_the_venues_own_doing(
    name: str, ether: Order, journal: Journal, path: Path
) -> None:
    taken = Order("liquidation-1", "ETH", Side.BUY, 30_000, purpose=Purpose.LIQUIDATION)
    event = Liquidation(at(4), "ETH", -30_000, Decimal(3900), "backstop", Decimal("12.5"))
    journal.record_cycle(
        quiet_cycle(at(4), fills=[trade(11, taken, 4, Purpose.LIQUIDATION)], liquidations=[event])
    )
    story = told(path, name)
    assert (story["decision"], story["coin"], story["orders"]) == (None, "ETH", [])
    assert story["liquidations"] == [{"kind": "backstop", "price": 3900, "usd": Decimal("-12.5")}]


def test_a_name_that_means_nothing_is_answered_with_what_to_do(ether: Order, path: Path) -> None:
    for name in ("nonsense", "987654", "9" * 30, "²", ""):
        with pytest.raises(ConfigError, match=r"no decision, order, trade or coin .*orders --all"):
            told(path, name)
    with pytest.raises(ConfigError, match="no decision, order"):
        told(path, "XRP")


def test_a_coin_that_no_decision_has_spoken_of_says_so(journal: Journal, path: Path) -> None:
    with pytest.raises(ConfigError, match="no decision has spoken of DOGE yet"):
        told(path, "DOGE")
    with pytest.raises(ConfigError, match="no decision, order, trade or coin 'latest'"):
        told(path, "latest")


def test_a_coin_that_a_rule_kept_out_is_explained_by_that_rule(journal: Journal, path: Path) -> None:
    scores = [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    kept_out = cut(decision(at(0), scores, [[0, 0, 500], [0, 0, 0]], (OTHER,)), [[0, 0, 0], [0, 0, 0]])
    journal.record_decision(kept_out, TradingState.ACTIVE, EQUITY)
    story = told(path, "DOGE")
    assert [(row["wanted"], row["allowed"]) for row in story["targets"]] == [(500, 0)]
    assert [row["rule"] for row in story["findings"]] == ["data_freshness"]
    assert (story["orders"], story["now"]) == ([], None)
