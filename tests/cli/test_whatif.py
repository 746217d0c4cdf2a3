import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bot.cli import cli, main
from bot.model.account import MarginMode
from bot.model.decision import OrderPlan
from bot.model.order import OrderReport
from bot.model.panel import FloatArray
from bot.sim.coins import MAJORS
from bot.venues.sources import SyntheticSource
from bot.venues.venue import AccountState
from tests.trader.paper import TERMS, run
from tests.trader.two_legs import Apart, Faults, lives, mandate, market

BOOK = (
    "--hold", "BTC=-0.5", "--hold", "UBTC/USDC=0.5", "--mark", "BTC=100000", "--mark", "UBTC/USDC=100000",
    "--equity", "hyperliquid=20000", "--equity", "hyperliquid spot=50000",
)  # fmt: skip


def ask(*arguments: str) -> Any:
    done = CliRunner().invoke(cli, ["whatif", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_a_book_told_by_hand(tmp_path: Path) -> None:
    facts = ask(*BOOK, "--price", "40%", "--distance", "50")
    assert facts["equity_usd"] == 70_000
    assert [each["wallet"] for each in facts["liquidated"]] == ["hyperliquid"]
    assert facts["legs"][0]["liquidation_price"] == pytest.approx(136_585.37, abs=0.01)
    assert facts["delta"][0]["coins"] == 0
    assert facts["delta_after"][0]["usd"] == pytest.approx(70_000)
    assert facts["rescue"][0]["transfer_usd"] == pytest.approx(6_875)


def test_contracts_of_a_thousand_are_counted_as_such() -> None:
    facts = ask(
        "--hold", "kPEPE=-1000", "--mark", "kPEPE=0.01", "--equity", "hyperliquid=100",
        "--hold", "binance:1000PEPE=1000", "--mark", "binance:1000PEPE=0.01", "--equity", "binance=100",
    )  # fmt: skip
    assert [(each["underlying"], each["coins"]) for each in facts["delta"]] == [("PEPE", 0)]
    assert facts["legs"][0]["coin"] in {"kPEPE", "binance:1000PEPE"}
    moves = {each["coin"]: each["move"] for each in facts["legs"]}
    assert moves["kPEPE"] > 0  # a short dies of a rise
    assert moves["binance:1000PEPE"] is None  # 100 USD behind 10: not even a price of nothing kills it


def test_it_is_told_in_words() -> None:
    done = CliRunner().invoke(
        cli,
        [
            "whatif",
            *BOOK,
            "--price",
            "40%",
            "--venue-down",
            "hyperliquid",
            "--funding",
            "-0.1%/h",
            "--distance",
            "50",
        ],
    )
    assert done.exit_code == 0, done.output
    for said in (
        "hyperliquid is liquidated",
        "net now: +0 BTC",
        "can't be traded: UBTC/USDC",
        "a person has to move",
    ):
        assert said in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--hold", "BTC=-0.5"), "has no price; give it one with --mark"),
        (("--hold", "BTC=x", "--mark", "BTC=1"), "is no NAME=NUMBER"),
        (("--hold", "BTC=1", "--mark", "BTC=1"), "whose equity is not given"),
        (
            ("--hold", "UBTC/USDC=-1", "--mark", "UBTC/USDC=1", "--equity", "hyperliquid spot=1"),
            "can't be held short",
        ),
        ((*BOOK, "--price", "25"), "must be a percentage such as -25%"),
        ((*BOOK, "--price", "-100%"), "can't fall by 100%"),
        ((*BOOK, "--venue-down", "kraken"), "nothing is held at 'kraken'"),
        ((*BOOK, "--depeg", "UETH/USDC=-3%"), "'UETH/USDC' is not held"),
        ((*BOOK, "--coin", "BTCH=-5%"), "nothing is held of 'BTCH'"),
        ((*BOOK, "--hours", "-5"), "must be 0 or more"),
        ((*BOOK, "--distance", "-20"), "--distance"),
        (("--journal", "nowhere.sqlite"), "no journal at nowhere.sqlite"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_sentence(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["whatif", *arguments])
    assert ended.value.code
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told


def test_the_book_of_a_journal_is_played_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "paper.sqlite"
    positions: list[dict[str, Any]] = []
    while not positions:
        coins = [MAJORS[name] for name in ("BTC", "SOL", "DOGE", "WIF")]
        run(SyntheticSource(coins, 11, 1_704_067_200_000, 120, 400), path, 20)
        held = CliRunner().invoke(cli, ["positions", "--journal", str(path), "--json"])
        positions = json.loads(held.output)["positions"]
    before = path.read_bytes()
    facts = ask("--journal", str(path), "--price", "-10%")
    # Of an account whose coins all fall by a tenth, each loses a tenth of what it is worth.
    assert facts["price_usd"] == pytest.approx(sum(-0.1 * each["notional_usd"] for each in positions))
    assert {each["coin"] for each in facts["legs"]} == {each["coin"] for each in positions}
    by_coin = {each["coin"]: each for each in facts["legs"]}
    for each in positions:
        if each["liquidation_price"] is not None:
            told = by_coin[each["coin"]]["liquidation_price"]
            assert told == pytest.approx(each["liquidation_price"], rel=1e-3)
    assert path.read_bytes() == before


def test_a_book_with_isolated_margin_is_refused_for_the_whole_wallet_would_not_carry_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "paper.sqlite"
    coins = [MAJORS[name] for name in ("BTC", "SOL", "DOGE", "WIF")]
    terms = replace(TERMS, margin_mode=MarginMode.ISOLATED)
    for _ in range(20):
        it = run(SyntheticSource(coins, 11, 1_704_067_200_000, 120, 400), path, 20, terms=terms)
        if it.account is not None and it.account.positions:
            break
    with pytest.raises(SystemExit) as ended:
        main(["whatif", "--journal", str(path), "--price", "-10%"])
    assert ended.value.code
    assert "isolated margin" in capsys.readouterr().err


class Moving(Apart):
    """Money comes into one wallet, out of the other, while orders are sent."""

    async def send(self, plan: OrderPlan) -> Sequence[OrderReport]:
        self.moved += 100.0
        return await super().send(plan)


def test_each_wallet_of_a_journal_is_worth_what_it_was_after_the_last_order(tmp_path: Path) -> None:
    path, venue = tmp_path / "j", Moving(market(), Faults())
    lives(path, venue, mandate(-1.0), 1)
    facts = ask("--journal", str(path))
    assert venue.moved >= 1_000.0  # ten orders, all since the decision
    worth = {each["wallet"]: each["equity_usd"] for each in facts["wallets"]}
    assert worth == {"hyperliquid": 8_000 + venue.moved, "binance": 92_000 - venue.moved}
    assert facts["notes"] == []
    legs = {each["coin"]: each for each in facts["legs"]}
    # 0.2 BTC short behind 9,000 USD at a maintenance rate of 1.25 %: 9,000 − 20,000 m = 250 (1 + m).
    assert legs["BTC"]["move"] == pytest.approx((8_000 + venue.moved - 250) / 20_250)
    assert legs["binance:BTC"]["move"] is None  # 91,000 USD behind 20,000: nothing kills it


def test_a_journal_without_its_wallets_is_read_by_what_the_last_decision_knew(tmp_path: Path) -> None:
    path, venue = tmp_path / "j", Apart(market(), Faults())
    lives(path, venue, mandate(-1.0), 2)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE wallet")
        connection.execute("UPDATE equity SET equity_usd = '99960'")
    facts = ask("--journal", str(path))
    assert {each["wallet"]: each["equity_usd"] for each in facts["wallets"]} == {
        "hyperliquid": 8_000,
        "binance": 92_000,
    }
    assert facts["notes"] == [
        "the wallets are as the last decision knew them; -40.00 USD that came since are in none of them"
    ]
    lives(path, venue, mandate(-1.0), 1)  # an earlier program's journal is taken up
    assert ask("--journal", str(path))["notes"] == []


def test_one_equity_for_two_wallets_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, venue = tmp_path / "j", Together(market(), Faults())
    lives(path, venue, mandate(-1.0), 2)
    with pytest.raises(SystemExit):
        main(["whatif", "--journal", str(path)])
    said = capsys.readouterr().err
    assert (
        "held in binance, hyperliquid, and the journal has one equity for all of them; tell it by hand"
        in said
    )


class Together(Apart):
    """An account that tells only what all of it is worth."""

    def _state(self, mark: FloatArray) -> AccountState:
        state = super()._state(mark)
        return replace(state, view=replace(state.view, wallet_usd=None))


def test_what_no_run_has_told_of_is_named(tmp_path: Path) -> None:
    path = tmp_path / "j"
    lives(path, Apart(market(), Faults()), mandate(-1.0), 2)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO position SELECT 'MYTH', lots, size_decimals, entry_price, mark, notional_usd, unrealised_usd, "
            "liquidation_price, margin_mode, opened_ms, funding_usd, because FROM position WHERE instrument = 'BTC'"
        )
    facts = ask("--journal", str(path))
    assert [each["coin"] for each in facts["legs"]] == ["BTC", "binance:BTC"]
    assert len(facts["notes"]) == 1
    assert "MYTH" in facts["notes"][0]
    done = CliRunner().invoke(cli, ["whatif", "--journal", str(path)])
    assert "note: left out" in done.output
