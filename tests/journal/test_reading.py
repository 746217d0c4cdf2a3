import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from bot.cli import cli
from bot.errors import ConfigError, StateError
from bot.journal.book import funding, orders, positions
from bot.journal.journal import Journal
from bot.journal.ledger import Drift
from bot.journal.pnl import pnl
from bot.journal.reader import read
from bot.journal.records import EquityPoint, PositionFacts, StrategyPnl
from bot.journal.status import status
from bot.model.account import MarginMode
from bot.model.decision import Memory, OrderPlan, TradingState
from bot.model.money import ZERO
from bot.model.order import Fill, FundingPayment, Order, OrderReport, OrderStatus, Purpose, Side
from tests.journal.diary import (
    DEPOSIT,
    FINDING,
    HOUR_MS,
    NAMES,
    START_MS,
    STRATEGIES,
    WALL_MS,
    Desk,
    decision,
    facts,
    quiet_cycle,
)

REPOSITORY = Path(__file__).resolve().parents[2]
PARTS = ("price", "funding", "fees", "total")
FLAT = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "paper.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with Journal.open(path) as opened:
        opened.begin_run(facts())
        yield opened


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Sixty hours over three days, with a liquidation on the second."""
    return Desk(tmp_path_factory.mktemp("desk") / "paper.sqlite").hours(60, crash_at=30)


def point(price: str, paid: str, fees: str, gross: str = "0", net: str = "0") -> EquityPoint:
    """Books of an account opened with 1,000."""
    equity = 1000 + Decimal(price) + Decimal(paid) - Decimal(fees)
    parts = Decimal(price), Decimal(paid), Decimal(fees)
    return EquityPoint(equity, equity, *parts, Decimal(gross), Decimal(net))


def pay(hour: int, coin: str, usd: str, rate: str = "0.00001") -> FundingPayment:
    return FundingPayment(START_MS + hour * HOUR_MS, coin, -5, Decimal(60000), Decimal(rate), Decimal(usd))


def test_opening_balance_and_parts_come_to_equity_exactly(desk: Desk) -> None:
    with read(desk.journal.path) as reader:
        told = pnl(reader)
    assert told["opening_usd"] == DEPOSIT
    assert told["equity_usd"] == desk.equity_usd()
    assert DEPOSIT + sum(told["pnl"][part] for part in PARTS[:3]) == desk.equity_usd()
    assert told["pnl"]["fees"] == -sum(fill.fee_usd for fill in desk.fills) < 0
    assert told["pnl"]["funding"] == sum(payment.usd for payment in desk.payments)


def test_coins_days_and_strategies_each_add_up_to_the_whole(desk: Desk) -> None:
    with read(desk.journal.path) as reader:
        told = pnl(reader)
    for rows in ("coins", "days", "strategies"):
        assert {part: sum(row[part] for row in told[rows]) for part in PARTS} == told["pnl"], rows
        for row in told[rows]:
            assert row["price"] + row["funding"] + row["fees"] == row["total"]
    assert [day["day"] for day in told["days"]] == ["2024-05-01", "2024-05-02", "2024-05-03"]
    assert set(told["suspense"].values()) == set(told["unattributed"].values()) == {ZERO}
    assert told["today"] == {key: told["days"][-1][key] for key in ("day", *PARTS)}


def test_a_coins_price_profit_is_the_cash_that_its_trades_brought_and_what_is_held(desk: Desk) -> None:
    with read(desk.journal.path) as reader:
        coins = {row["coin"]: row for row in pnl(reader)["coins"]}
    assert len(desk.liquidations) == 1
    for coin, row in coins.items():
        sold = sum(
            (-fill.notional_usd if fill.side is Side.BUY else fill.notional_usd)
            for fill in desk.fills
            if fill.instrument == coin
        )
        held = desk.account.positions.get(coin)
        worth = held.notional_usd(desk.exchange.marks[coin]) if held else ZERO
        lost = sum(taken.forfeited_usd for taken in desk.liquidations if taken.instrument == coin)
        assert row["price"] == sold + worth - lost
        assert row["funding"] == sum(p.usd for p in desk.payments if p.instrument == coin)


@pytest.mark.parametrize("venue_counts_it", [True, False], ids=["counted", "not counted"])
def test_a_payment_that_was_never_told_stands_in_suspense_to_the_millionth(
    path: Path, venue_counts_it: bool
) -> None:
    """Whether the venue's running total has the payment that no event told of, or only its equity."""
    desk = Desk(path).hours(5)
    desk.misses = lambda event: isinstance(event, FundingPayment) and event.instrument == "BTC"
    desk.counts_missed_funding = venue_counts_it
    desk.hour()
    desk.misses = None
    missed = desk.missed[0]
    assert isinstance(missed, FundingPayment)
    assert missed.usd
    part = "funding" if venue_counts_it else "price"
    assert desk.drifts[-1] == [Drift(part, missed.usd)]
    desk.hours(3)
    assert desk.drifts[-3:] == [[], [], []]  # told once, and kept
    with read(path) as reader:
        told, doing = pnl(reader), status(reader, WALL_MS)
    assert told["suspense"] == {**dict.fromkeys(PARTS, ZERO), part: missed.usd, "total": missed.usd}
    assert doing["suspense_usd"] == missed.usd
    assert told["equity_usd"] == desk.equity_usd()


def test_what_no_strategy_answers_for_is_told(journal: Journal, path: Path) -> None:
    carry = StrategyPnl("carry", Decimal(7), Decimal(2), Decimal(1))
    journal.record_cycle(quiet_cycle(START_MS + HOUR_MS, equity=point("10", "3", "1.5"), by_strategy=[carry]))
    with read(path) as reader:
        told = pnl(reader)
    # Fees: −1.5 in all, −1 of them carry's.
    rest = {"price": Decimal(3), "funding": Decimal(1), "fees": Decimal("-0.5"), "total": Decimal("3.5")}
    assert told["unattributed"] == rest


def test_midnights_funding_belongs_to_the_day_that_ends(journal: Journal, path: Path) -> None:
    midnight = START_MS + 24 * HOUR_MS
    points = {
        midnight - HOUR_MS: point("5", "1", "2"),
        midnight: point("5", "4", "2"),
        midnight + HOUR_MS: point("4", "4", "2.5"),
    }
    for time_ms, equity in points.items():
        journal.record_cycle(quiet_cycle(time_ms, equity=equity))
        if time_ms == midnight:
            with read(path) as reader:
                assert pnl(reader)["today"]["day"] == "2024-05-01"
    with read(path) as reader:
        told = pnl(reader)
    first, second = told["days"]
    assert (first["day"], first["price"], first["funding"], first["fees"], first["total"]) == (
        "2024-05-01",
        5,
        4,
        -2,
        7,
    )
    assert (second["day"], second["price"], second["funding"], second["fees"], second["total"]) == (
        "2024-05-02",
        -1,
        0,
        Decimal("-0.5"),
        Decimal("-1.5"),
    )
    assert (first["equity_usd"], second["equity_usd"]) == (1007, Decimal("1005.5"))
    assert told["today"]["total"] == Decimal("-1.5")


def test_before_the_first_cycle_nothing_is_known_and_nothing_is_made_up(journal: Journal, path: Path) -> None:
    with read(path) as reader:
        made, held, asked, paid = pnl(reader), positions(reader), orders(reader), funding(reader)
        doing = status(reader, WALL_MS)
    assert (made["equity_usd"], made["opening_usd"], made["today"], made["days"]) == (None, None, None, [])
    assert (held["positions"], held["equity_usd"], held["time"]) == ([], None, None)
    assert (asked["orders"], asked["count"]) == ([], 0)
    assert (paid["total"]["payments"], paid["total"]["usd"], paid["payments"]) == (0, 0, [])
    assert (doing["equity_usd"], doing["drawdown"], doing["state"], doing["findings"]) == (
        None,
        None,
        None,
        [],
    )


def test_funding_is_summed_by_coin_with_what_was_received_and_paid(journal: Journal, path: Path) -> None:
    paid = [
        pay(1, "BTC", "-1.25"),
        pay(24, "BTC", "0.5"),
        pay(25, "BTC", "0.000001", "-0.00002"),
        pay(25, "ETH", "-3"),
    ]
    journal.record_cycle(quiet_cycle(START_MS + 25 * HOUR_MS, payments=paid))
    with read(path) as reader:
        told = funding(reader, limit=2)
    bitcoin, ether = told["coins"]
    assert (bitcoin["coin"], bitcoin["payments"]) == ("BTC", 3)
    assert bitcoin["received_usd"] == Decimal("0.500001")
    assert bitcoin["paid_usd"] == Decimal("-1.25")
    assert bitcoin["usd"] == Decimal("-0.749999")
    # The last cycle was at hour 25, so hour 1 is 24 hours ago and lies outside.
    assert bitcoin["last_24h_usd"] == Decimal("0.500001")
    assert bitcoin["last_rate_apr"] == pytest.approx(-0.1752)  # −0.002 % × 8760
    assert (ether["received_usd"], ether["paid_usd"]) == (0, -3)
    assert told["total"]["usd"] == Decimal("-3.749999")
    assert told["total"]["payments"] == 4
    assert [(row["coin"], row["usd"]) for row in told["payments"]] == [
        ("BTC", Decimal("0.000001")),
        ("ETH", -3),
    ]
    first = told["payments"][0]
    assert (first["size"], first["oracle"], first["rate_per_hour"]) == (
        Decimal("-0.00005"),
        60000,
        Decimal("-0.00002"),
    )
    assert first["time"] == "2024-05-02T01:00:00Z"


def test_funding_of_one_coin_and_since_a_moment(journal: Journal, path: Path) -> None:
    paid = [pay(1, "BTC", "-1"), pay(2, "BTC", "2"), pay(2, "ETH", "4"), pay(3, "BTC", "8")]
    journal.record_cycle(quiet_cycle(START_MS + 3 * HOUR_MS, payments=paid))
    with read(path) as reader:
        since = funding(reader, since_ms=START_MS + 2 * HOUR_MS)
        one = funding(reader, since_ms=START_MS + 2 * HOUR_MS, coin="BTC")
    assert (since["total"]["usd"], since["total"]["payments"], len(since["payments"])) == (14, 3, 3)
    assert (one["total"]["usd"], [row["usd"] for row in one["payments"]]) == (10, [8, 2])


def test_sums_of_many_millionths_are_exact(journal: Journal, path: Path) -> None:
    # Each of these, and their sum, is off by something when summed as floats.
    paid = [pay(hour, "BTC", f"{hour}.{(hour * 7919) % 1_000_000:06d}") for hour in range(1, 400)]
    journal.record_cycle(quiet_cycle(START_MS + 400 * HOUR_MS, payments=paid))
    with read(path) as reader:
        assert funding(reader)["total"]["usd"] == sum(payment.usd for payment in paid)


def test_a_position_is_told_in_coins_with_its_distance_to_liquidation(journal: Journal, path: Path) -> None:
    short = PositionFacts(
        "ETH",
        -15_000,
        4,
        Decimal(3100),
        Decimal(3000),
        Decimal(-4500),
        Decimal(150),
        Decimal(3600),
        MarginMode.CROSS,
        START_MS,
        Decimal("-0.75"),
        "fade: funding z +3.0",
    )
    spared = replace(short, instrument="BTC", lots=5, size_decimals=5, liquidation_price=None)
    equity = point("150", "-0.75", "0", "4500", "-4500")
    memory = Memory.blank(len(STRATEGIES), len(NAMES), 100_000.0)
    memory.held_lots[:2, NAMES.index("ETH")] = -20_000, 5_000
    memory.held_lots[1, NAMES.index("BTC")] = 5
    cycle = quiet_cycle(
        START_MS + 30 * HOUR_MS, positions=[short, replace(spared, opened_ms=START_MS + 31 * HOUR_MS)]
    )
    journal.record_cycle(replace(cycle, equity=equity, memory=memory))
    with read(path) as reader:
        told = positions(reader)
    bitcoin, ether = told["positions"]
    assert ether["by_strategy"] == {STRATEGIES[0]: Decimal(-2), STRATEGIES[1]: Decimal("0.5")}
    assert bitcoin["by_strategy"] == {STRATEGIES[1]: Decimal("0.00005")}
    assert bitcoin["held_h"] == 0  # opened since by hand, after the moment that the books are of
    assert (ether["coin"], ether["side"], ether["size"]) == ("ETH", "short", Decimal("-1.5"))
    assert (ether["entry_price"], ether["mark"], ether["notional_usd"]) == (3100, 3000, -4500)
    assert (ether["unrealised_usd"], ether["funding_usd"]) == (150, Decimal("-0.75"))
    assert ether["liquidation_distance"] == pytest.approx(0.2)
    assert (ether["held_h"], ether["because"]) == (30, "fade: funding z +3.0")
    assert (bitcoin["side"], bitcoin["size"]) == ("long", Decimal("0.00005"))
    assert (bitcoin["liquidation_price"], bitcoin["liquidation_distance"]) == (None, None)
    assert (told["gross_usd"], told["net_usd"]) == (4500, -4500)


def test_open_orders_are_told_apart_from_what_is_finished(journal: Journal, path: Path) -> None:
    asked = [Order(f"a-{coin}-{n}", coin, Side.BUY, 5 + n) for n in range(3) for coin in ("BTC", "ETH")]
    journal.record_decision(
        decision(START_MS, FLAT, plan=OrderPlan((), tuple(asked))), TradingState.ACTIVE, ZERO
    )
    answers = [
        OrderReport(START_MS, 1, asked[0], OrderStatus.FILLED, 5, Decimal(60000)),
        OrderReport(START_MS, 2, asked[1], OrderStatus.REJECTED, reason="too small"),
        OrderReport(START_MS, 3, asked[2], OrderStatus.RESTING, 2, Decimal(59000)),
        OrderReport(START_MS, 4, asked[3], OrderStatus.WAITING),
        OrderReport(START_MS, 5, asked[4], OrderStatus.CANCELED),
    ]
    journal.record_cycle(quiet_cycle(START_MS + HOUR_MS, reports=answers))
    with read(path) as reader:
        unfinished = orders(reader)
        everything = orders(reader, everything=True)
        bitcoin = orders(reader, everything=True, coin="BTC", limit=2)
    status_of = {row["client_id"]: row["status"] for row in unfinished["orders"]}
    assert status_of == {"a-ETH-2": "planned", "a-ETH-1": "waiting", "a-BTC-1": "resting"}
    assert everything["count"] == 6
    assert [row["client_id"] for row in everything["orders"]] == [each.client_id for each in reversed(asked)]
    assert (bitcoin["count"], [row["client_id"] for row in bitcoin["orders"]]) == (3, ["a-BTC-2", "a-BTC-1"])
    partial = bitcoin["orders"][1]
    assert (partial["size"], partial["filled"], partial["average_price"]) == (
        Decimal("0.00006"),
        Decimal("0.00002"),
        59000,
    )
    refused = next(row for row in everything["orders"] if row["status"] == "rejected")
    assert (refused["reason"], refused["average_price"]) == ("too small", None)
    assert refused["decision"] == f"{START_MS // 1000:x}"


def test_status_tells_worth_leverage_and_what_the_rules_say_now(journal: Journal, path: Path) -> None:
    first, second = START_MS, START_MS + HOUR_MS
    journal.record_decision(decision(first, FLAT, findings=[FINDING]), TradingState.REDUCING, ZERO)
    journal.record_decision(decision(second, FLAT, findings=[FINDING]), TradingState.REDUCING, ZERO)
    equity = point("-90", "-5", "5", "1800", "-450")
    memory = replace(Memory.blank(2, 3, 1000.0), high_water_mark_usd=1200.0)
    journal.record_cycle(quiet_cycle(second, equity=equity, memory=memory))
    with read(path) as reader:
        told = status(reader, WALL_MS + 4_500)
    assert (told["daemon"], told["pid"], told["name"], told["mode"]) == (
        "running",
        os.getpid(),
        "desk",
        "paper",
    )
    assert (told["equity_usd"], told["opening_usd"], told["state"]) == (900, 1000, "reducing")
    assert told["pnl"] == {"price": -90, "funding": -5, "fees": -5, "total": -100}
    assert told["drawdown"] == pytest.approx(0.25)
    assert (told["gross_leverage"], told["net_leverage"]) == (2.0, -0.5)
    assert (told["time"], told["last_cycle_age_s"], told["cycles"]) == ("2024-05-01T01:00:00Z", 4.5, 1)
    # The second decision repeats the first, whose finding therefore still stands.
    assert told["last_decision"]["id"] == f"{second // 1000:x}"
    assert told["findings"] == [{"rule": "concentration", "coin": "ETH", "detail": FINDING.detail}]


def test_a_decision_of_which_nobody_has_told_what_came_of_it_is_told(journal: Journal, path: Path) -> None:
    def told() -> tuple[str | None, str]:
        with read(path) as reader:
            asked = ["positions", "--journal", str(path)]
            assert status(reader, WALL_MS)["unfinished"] == positions(reader)["unfinished"]
            return reader.unfinished, CliRunner().invoke(cli, asked, catch_exceptions=False).output

    first, second = decision(START_MS, FLAT), decision(START_MS + HOUR_MS, FLAT)
    journal.record_decision(first, TradingState.ACTIVE, ZERO)
    name, shown = told()
    assert (name, "was not carried out to its end" in shown) == (first.snapshot_id, True)
    journal.record_cycle(quiet_cycle(START_MS, equity=point("0", "0", "0")))
    name, shown = told()
    assert (name, "was not carried out to its end" in shown) == (None, False)
    journal.record_decision(second, TradingState.ACTIVE, ZERO)
    assert told()[0] == second.snapshot_id


def test_a_new_high_within_the_cycle_is_no_drawdown(journal: Journal, path: Path) -> None:
    memory = Memory.blank(2, 3, 1000.0)
    journal.record_cycle(quiet_cycle(START_MS, equity=point("50", "0", "0"), memory=memory))
    with read(path) as reader:
        told = status(reader, WALL_MS)
    assert (told["drawdown"], told["high_water_mark_usd"]) == (0.0, 1050)


def test_a_daemon_that_said_goodbye_has_stopped_and_one_that_did_not_is_gone(path: Path) -> None:
    def told() -> str:
        with read(path) as reader:
            return str(status(reader, WALL_MS)["daemon"])

    with Journal.open(path) as journal:
        journal.begin_run(facts())
        assert told() == "running"
    assert told() == "gone"
    with Journal.open(path) as journal:
        journal.begin_run(facts())
        journal.end_run(WALL_MS)
    assert told() == "stopped"


def test_a_reader_sees_one_cycle_while_the_daemon_writes_on(path: Path) -> None:
    desk = Desk(path).hours(2)
    with read(path) as reader:
        before = pnl(reader)
        desk.hours(3)
        assert {**pnl(reader), "time": None} == {**before, "time": None}
        assert funding(reader)["total"]["usd"] == before["pnl"]["funding"]
    with read(path) as reader:
        assert pnl(reader)["equity_usd"] == desk.equity_usd() != before["equity_usd"]


WRITER = """
import sys
from pathlib import Path
from tests.journal.diary import Desk
desk = Desk(Path(sys.argv[1]))
while True:
    desk.hour()
    print(desk.equity_usd(), flush=True)
"""


def test_a_journal_is_read_while_another_process_writes_it_and_after_that_was_killed(path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    for _ in range(3):
        writer.stdout.readline()
    with read(path) as reader:
        live, made = status(reader, WALL_MS), pnl(reader)
    assert (live["daemon"], live["pid"]) == ("running", writer.pid)
    assert set(made["suspense"].values()) == {ZERO}
    writer.send_signal(signal.SIGKILL)
    assert writer.wait(10) == -signal.SIGKILL
    acknowledged = writer.stdout.read().split()
    writer.stdout.close()
    with read(path) as reader:
        dead, made = status(reader, WALL_MS), pnl(reader)
    assert (dead["daemon"], dead["pid"]) == ("gone", None)
    assert dead["cycles"] >= 3 + len(acknowledged)
    assert set(made["suspense"].values()) == {ZERO}


def test_a_journal_at_rest_in_a_folder_that_cannot_be_written_is_read_without_side_files(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(path).hours(2)
    desk.journal.close()
    monkeypatch.setattr(os, "access", lambda *_: False)
    before = sorted(path.parent.iterdir())
    with read(path) as reader:
        assert pnl(reader)["equity_usd"] == desk.equity_usd()
    assert sorted(path.parent.iterdir()) == before


def test_reading_changes_nothing_and_cannot(desk: Desk) -> None:
    with pytest.raises(StateError, match="can't be written to"), read(desk.journal.path) as reader:
        list(reader.each("DELETE FROM fill RETURNING *"))


def test_what_is_no_journal_is_told_in_one_sentence(path: Path) -> None:
    with pytest.raises(StateError, match=r"no journal at .*--journal PATH"), read(path):
        pass
    path.parent.mkdir()
    path.write_bytes(b"")
    with pytest.raises(StateError, match="is empty"), read(path):
        pass
    path.write_text("not a database at all, but long enough to look like something " * 20)
    with pytest.raises(StateError, match="is not a journal"), read(path):
        pass


def test_a_journal_without_a_run_says_so(path: Path) -> None:
    Journal.open(path).close()
    with pytest.raises(StateError, match="no run yet"), read(path) as reader:
        status(reader, WALL_MS)


def test_a_coin_is_found_whatever_its_capitals_and_a_wrong_one_is_answered_with_the_nearest(
    desk: Desk,
) -> None:
    with read(desk.journal.path) as reader:
        assert reader.coin("doge") == "DOGE"
        with pytest.raises(ConfigError, match=r"no coin 'dog'; did you mean DOGE\?"):
            reader.coin("dog")
        with pytest.raises(ConfigError, match="no coin 'XRP'; it has BTC, DOGE, ETH"):
            reader.coin("XRP")


def test_digits_beyond_a_millionth_are_kept_so_that_nothing_is_left_unexplained(
    journal: Journal, path: Path
) -> None:
    gain = Decimal("0.1234567890123456")
    held = PositionFacts(
        "BTC",
        5,
        5,
        Decimal(60000),
        Decimal("62469.13578024691"),
        3 + gain,
        gain,
        None,
        MarginMode.CROSS,
        START_MS,
        ZERO,
        "",
    )
    bought = Fill(
        9, START_MS, "BTC", Side.BUY, 5, Decimal(60000), Decimal(3), ZERO, False, "c", 1, Purpose.ENTRY
    )
    equity = point(str(gain), "0", "0")
    assert not journal.record_cycle(quiet_cycle(START_MS, equity=equity, positions=[held], fills=[bought]))
    with read(path) as reader:
        told = pnl(reader)
    assert told["opening_usd"] == 1000
    assert set(told["suspense"].values()) == {ZERO}
