import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bot.cli import cli, main
from bot.sim.coins import MAJORS
from bot.venues.sources import SyntheticSource
from tests.trader.paper import run

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
