"""A ledger that was altered in any one place is found out, and one that was not is right."""

import shutil
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from bot.cli import cli
from bot.journal import market
from bot.journal.journal import Journal
from bot.journal.reader import read
from bot.journal.records import CycleFacts, EquityPoint, PositionFacts
from bot.journal.verify import verify
from bot.model.account import MarginMode
from bot.model.money import ZERO
from bot.model.order import Fill, FundingPayment, Purpose, Side, Transfer
from tests.journal.diary import HOUR_MS, START_MS, Desk, facts, quiet_cycle

D = Decimal
HOUR = START_MS // HOUR_MS


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Forty hours, with a liquidation, and a journal that is closed."""
    made = Desk(tmp_path_factory.mktemp("desk") / "paper.sqlite").hours(40, crash_at=20)
    made.journal.close()
    return made


@pytest.fixture
def copy(desk: Desk, tmp_path: Path) -> Path:
    return Path(shutil.copy(desk.journal.path, tmp_path / "copy.sqlite"))


def checked(path: Path) -> dict[str, Any]:
    with read(path) as reader:
        return verify(reader)


def altered(path: Path, statement: str) -> list[str]:
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement).rowcount > 0
    told = checked(path)
    assert told["is_right"] is False
    return [each["what"] for each in told["differences"]]


def test_books_that_nobody_touched_are_right(desk: Desk) -> None:
    told = checked(desk.journal.path)
    assert (told["is_right"], told["differences"], told["cycles"]) == (True, [], 40)
    assert told["entries"] == 1 + len(desk.fills) + len(desk.payments) + len(desk.liquidations)
    paid = told["funding"]
    assert (paid["hours"], paid["unknown"], paid["rows"]) == (len(desk.payments), 0, [])
    assert paid["paid_usd"] == paid["due_usd"] == sum(each.usd for each in desk.payments)


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE fill SET fee_usd = fee_usd + 1 WHERE trade_id = 3", "FEES:"),
        ("UPDATE fill SET price = price * 2 WHERE trade_id = 3", "worth of trade 3"),
        ("UPDATE fill SET lots = lots + 1 WHERE trade_id = 3", "worth of trade 3"),
        ("UPDATE fill SET side = CASE side WHEN 'buy' THEN 'sell' ELSE 'buy' END WHERE trade_id = 3", "lots of"),
        ("DELETE FROM fill WHERE trade_id = 3", "fill 3"),
        ("UPDATE funding SET usd = -usd WHERE instrument = 'BTC'", "FUNDING:BTC"),
        ("DELETE FROM funding WHERE instrument = 'ETH' AND time_ms = (SELECT max(time_ms) FROM funding)", "funding"),
        ("UPDATE funding SET rate = 0.5 WHERE instrument = 'ETH'", "its own size × oracle × rate"),
        ("UPDATE liquidation SET forfeited_usd = 1", "FORFEITED:DOGE"),
        ("UPDATE balance SET usd = usd + 1 WHERE account = 'CASH'", "CASH against the sum of postings"),
        ("UPDATE balance SET lots = lots + 1 WHERE account = 'POSITION:BTC'", "lots of POSITION:BTC"),
        ("UPDATE posting SET usd = usd + 1 WHERE entry_id = 5 AND account = 'CASH'", "sum of entry 5"),
        ("DELETE FROM posting WHERE entry_id = 5", "entry 5"),
        ("UPDATE equity SET equity_usd = equity_usd + 1 WHERE time_ms = (SELECT max(time_ms) FROM equity)",
         "equity against the venue's"),
        ("UPDATE equity SET funding_pnl_usd = '1' WHERE time_ms = (SELECT min(time_ms) FROM equity)",
         "FUNDING at 2024-05-01T01:00:00Z"),
        ("UPDATE equity SET fees_usd = '1' WHERE time_ms = (SELECT min(time_ms) FROM equity)",
         "FEES at 2024-05-01T01:00:00Z"),
        ("UPDATE position SET lots = lots + 1 WHERE instrument = 'ETH'", "lots of ETH against the venue's"),
        ("INSERT INTO transfer VALUES (1, '0xa', 'deposit', '5')", "transfer 0xa"),
    ],
)  # fmt: skip
def test_one_thing_altered_anywhere_is_found_and_named(copy: Path, statement: str, found: str) -> None:
    assert any(found in what for what in altered(copy, statement))


def test_a_transfer_is_booked_and_moves_neither_profit_nor_suspense(tmp_path: Path) -> None:
    path = tmp_path / "paper.sqlite"
    with Journal.open(path) as journal:
        journal.begin_run(facts())
        journal.open_books(START_MS, D(1000), D(1000), {})
        moved = Transfer(START_MS + 5, D("-100.25"), "withdraw", "0xa")
        point = EquityPoint(D("899.75"), D("899.75"), ZERO, ZERO, ZERO, ZERO, ZERO)
        for hour in (1, 2):  # told twice, booked once
            drifts = journal.record_cycle(
                quiet_cycle(START_MS + hour * HOUR_MS, equity=point, transfers=[moved])
            )
            assert drifts == []
    told = checked(path)
    assert (told["is_right"], told["entries"]) == (True, 2)


# Funding that was due against funding that was paid

RATE = D("0.00002")
Seen = tuple[int, float, float]


def hold(
    tmp_path: Path,
    payments: list[FundingPayment],
    seen: list[Seen],
    fills: list[Fill] | None = None,
    hours: int = 3,
) -> dict[str, Any]:
    """Holds 2 BTC from the half hour before the first settlement on; returns what is said of its funding."""
    path = tmp_path / "paper.sqlite"
    bought = Fill(
        1, START_MS - HOUR_MS // 2, "BTC", Side.BUY, 200_000, D(50_000), D(100_000), ZERO, False, "c", 1, Purpose.ENTRY
    )  # fmt: skip
    fills = [bought] if fills is None else fills
    paid = sum((each.usd for each in payments), ZERO)
    lots = sum(each.signed_lots for each in fills)
    cash = D(200_000) + paid - sum((D(each.signed_lots) / 100_000 * each.price for each in fills), ZERO)
    position = PositionFacts(
        "BTC", lots, 5, D(50_000), D(50_000), D(lots) / 2, ZERO, None, MarginMode.CROSS, START_MS, ZERO, ""
    )
    equity = cash + D(lots) / 100_000 * 50_000
    price = equity - 200_000 - paid
    with Journal.open(path) as journal:
        journal.begin_run(facts())
        journal.open_books(START_MS - HOUR_MS, D(200_000), D(200_000), {})
        cycle: CycleFacts = quiet_cycle(
            START_MS + hours * HOUR_MS,
            equity=EquityPoint(equity, cash, price, paid, ZERO, ZERO, ZERO),
            fills=fills,
            payments=payments,
            positions=[position] if lots else [],
        )
        assert journal.record_cycle(cycle) == []
    look(path, seen)
    return checked(path)


def look(path: Path, seen: list[Seen]) -> None:
    """As the market was seen, hour by hour."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for time_ms, oracle, rate in seen:
            row = market.encode({"oracle": np.array([oracle]), "funding_rate": np.array([rate])}, ["BTC"])
            connection.execute("INSERT INTO market VALUES (?, ?)", (time_ms, row))


def payment(
    hour: int, lots: int = 200_000, oracle: str = "50000", late_ms: int = 48, usd: str = ""
) -> FundingPayment:
    due = -D(lots) / 100_000 * D(oracle) * RATE
    return FundingPayment(START_MS + hour * HOUR_MS + late_ms, "BTC", lots, D(oracle), RATE, D(usd or due))


def settlement(hour: int, oracle: float = 50_000.0, rate: float = float(RATE)) -> Seen:
    return START_MS + hour * HOUR_MS, oracle, rate


def test_funding_that_was_paid_as_it_was_due_leaves_nothing_to_tell(tmp_path: Path) -> None:
    told = hold(tmp_path, [payment(hour) for hour in range(3)], [settlement(hour) for hour in range(3)])
    # 2 BTC × 50,000 × 0.002 % = 2 USD an hour, paid by the long.
    assert told["funding"]["due_usd"] == told["funding"]["paid_usd"] == D(-6)
    assert (told["funding"]["rows"], told["is_right"]) == ([], True)


def test_an_hour_that_was_due_and_never_told_is_named_with_its_amount(tmp_path: Path) -> None:
    told = hold(tmp_path, [payment(0), payment(2)], [settlement(hour) for hour in range(3)])
    (row,) = told["funding"]["rows"]
    assert (row["time"], row["coin"], row["due_usd"], row["paid_usd"], row["difference_usd"]) == (
        "2024-05-01T01:00:00Z",
        "BTC",
        D(-2),
        ZERO,
        D(2),
    )
    assert row["wrong"] == "it was due and never told"
    assert (told["is_right"], told["funding"]["difference_usd"]) == (False, D(2))


def test_an_hour_of_which_nobody_knows_the_rate_is_counted_and_not_guessed(tmp_path: Path) -> None:
    told = hold(tmp_path, [payment(0), payment(2)], [])
    assert (told["funding"]["unknown"], told["funding"]["rows"], told["is_right"]) == (1, [], True)


def test_an_oracle_price_read_at_another_moment_is_nothing_but_one_far_off_is_wrong(tmp_path: Path) -> None:
    near = [settlement(0, 50_100.0), settlement(1), settlement(2)]
    told = hold(tmp_path, [payment(hour) for hour in range(3)], near)
    assert (told["funding"]["rows"], told["is_right"]) == ([], True)
    (tmp_path / "far").mkdir()
    told = hold(tmp_path / "far", [payment(hour) for hour in range(3)], [settlement(1, 40_000.0)])
    assert (told["is_right"], told["funding"]["rows"][0]["difference_usd"]) == (False, D("-0.4"))


def test_a_payment_at_another_rate_than_the_markets_is_wrong_by_what_it_is_off(tmp_path: Path) -> None:
    # The market settled three ten-thousandths of a per cent, and what was paid is right in itself.
    seen = [settlement(0), settlement(1, rate=0.00003), settlement(2)]
    told = hold(tmp_path, [payment(hour) for hour in range(3)], seen)
    (row,) = told["funding"]["rows"]
    assert (row["due_usd"], row["paid_usd"], row["difference_usd"]) == (D(-3), D(-2), D(1))
    assert "its rate is 0.00002, the market's was" in row["wrong"]
    assert not told["is_right"]


def test_a_payment_of_the_wrong_side_of_the_markets_rate_is_wrong(tmp_path: Path) -> None:
    told = hold(tmp_path, [payment(hour) for hour in range(3)], [settlement(1, rate=-0.00002)])
    (row,) = told["funding"]["rows"]
    assert (row["due_usd"], row["paid_usd"], told["is_right"]) == (D(2), D(-2), False)


def test_payments_of_hours_that_nobody_saw_are_counted(tmp_path: Path) -> None:
    told = hold(tmp_path, [payment(hour) for hour in range(3)], [settlement(1)])
    assert (told["funding"]["unseen"], told["funding"]["unknown"], told["is_right"]) == (2, 0, True)


NAN = float("nan")


def test_a_leg_whose_oracle_price_was_never_seen_is_neither_right_nor_wrong(tmp_path: Path) -> None:
    told = hold(tmp_path, [payment(hour) for hour in range(3)], [settlement(hour, NAN) for hour in range(3)])
    assert (told["funding"]["unknown"], told["funding"]["unseen"]) == (3, 0)
    assert told["funding"]["unverified"] == {"BTC": 3}
    assert (told["funding"]["due_usd"], told["funding"]["paid_usd"]) == (
        ZERO,
        ZERO,
    )  # of what could be reckoned
    said = CliRunner().invoke(cli, ["ledger", "verify", "--journal", str(tmp_path / "paper.sqlite")]).output
    assert "Whether the funding of BTC is right is unknown: of 3 hours" in said
    # One that was never told is no less unknown.
    (tmp_path / "b").mkdir()
    told = hold(tmp_path / "b", [], [settlement(hour, NAN) for hour in range(3)], hours=4)
    assert told["funding"]["unverified"] == {"BTC": 3}


def test_one_hour_of_a_known_oracle_price_is_something_to_go_by(tmp_path: Path) -> None:
    told = hold(
        tmp_path,
        [payment(hour) for hour in range(3)],
        [settlement(0), settlement(1, NAN), settlement(2, NAN)],
    )
    assert (told["funding"]["unknown"], told["funding"]["unverified"]) == (2, {})


def test_without_an_oracle_price_a_wrong_rate_is_found_and_an_hour_that_pays_nothing_is_none(
    tmp_path: Path,
) -> None:
    seen = [settlement(0, NAN), settlement(1, NAN, rate=0.00003), settlement(2, NAN, rate=0.0)]
    told = hold(tmp_path, [payment(0), payment(1)], seen)
    assert (told["funding"]["unknown"], told["is_right"]) == (2, False)
    (found,) = [each["what"] for each in told["differences"]]
    assert "its rate is 0.00002, the market's was 3e-05" in found


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (payment(1, lots=100_000), "paid on +100,000 lots, held were +200,000"),
        (payment(1, lots=-200_000), "paid on -200,000 lots, held were +200,000"),
        (payment(1, usd="2"), "it is not its own size × oracle × rate"),
    ],
    ids=["half", "side", "sign"],
)
def test_a_payment_on_another_position_or_of_another_sign_is_wrong(
    tmp_path: Path, wrong: FundingPayment, said: str
) -> None:
    told = hold(tmp_path, [payment(0), wrong, payment(2)], [])
    assert said in [row["wrong"] for row in told["funding"]["rows"]]
    assert [each["what"] for each in told["differences"]] == [
        f"funding of BTC at 2024-05-01T01:00:00Z: {said}"
    ]


@pytest.mark.parametrize("paid_lots", [0, 200_000])
def test_what_traded_in_the_millisecond_of_a_settlement_may_have_come_before_or_after_it(
    tmp_path: Path, paid_lots: int
) -> None:
    bought = Fill(
        1, START_MS + HOUR_MS, "BTC", Side.BUY, 200_000, D(50_000), D(100_000), ZERO, False, "c", 1, Purpose.ENTRY
    )  # fmt: skip
    payments = [payment(1, late_ms=0)] if paid_lots else []
    told = hold(tmp_path, [*payments, payment(2)], [settlement(hour) for hour in range(3)], [bought])
    assert (told["is_right"], told["funding"]["rows"]) == (True, [])
