"""What a person should move between wallets is said once, stays in the journal as long as it is so, and is in the status."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from bot.cli.status import status as command
from bot.journal.reader import read
from bot.journal.status import status
from bot.pipeline.mandate import Mandate
from tests.trader.two_legs import HERE, LOOSE, PRICE, THERE, Apart, Faults, TwoLegs, lives, mandate, market


def told() -> Mandate:
    limits = replace(LOOSE, min_free_margin=0.2, min_liquidation_distance=0.1, stress_move=0.15)
    return replace(mandate(-1.0), limits=limits)


def written(path: Path) -> list[list[dict[str, Any]]]:
    with read(path) as reader:
        return [
            json.loads(row["text"])
            for row in reader.each("SELECT text FROM event WHERE kind = 'to_move' ORDER BY id")
        ]


def test_it_is_said_once_and_ends_when_the_money_has_come(tmp_path: Path) -> None:
    # 20,000 USD short at 5x: 15 % up its margin is 4,600, and its wallet 8,000 − 3,000 = 5,000, of which 4,400 is the most
    # before a rule cuts; 5,750 would be wholly well, so 750 are missing.
    path, venue = tmp_path / "j", Apart(market(), Faults())
    with capture_logs() as said:
        lives(path, venue, told(), 8)
    assert [
        (each["source"], each["target"], each["move_usd"])
        for each in said
        if each["event"] == "transfer needed"
    ] == [(THERE.wallet, HERE.wallet, "750.00")]
    (first,) = written(path)
    assert [(each["target"], each["usd"]) for each in first] == [(HERE.wallet, 750.0)]
    with read(path) as reader:
        (stands,) = status(reader, 0)["to_move"]
    assert (stands["source"], stands["usd"], stands["needed_usd"]) == (THERE.wallet, 750.0, 750.0)
    shown = CliRunner().invoke(command, ["--journal", str(path)], terminal_width=250).output
    assert "move 750.00 USD from binance to hyperliquid: if prices move +15%" in " ".join(shown.split())

    with capture_logs() as said:
        lives(path, venue, told(), 3)  # a restart does not say it again
    assert "transfer needed" not in {each["event"] for each in said}
    assert len(written(path)) == 1

    venue.moved = 751.0
    with capture_logs() as said:
        lives(path, venue, told(), 3)
    assert [each["target"] for each in said if each["event"] == "no transfer needed any more"] == [
        HERE.wallet
    ]
    assert written(path)[1:] == [[]]
    with read(path) as reader:
        assert status(reader, 0)["to_move"] == []


def test_it_is_written_down_again_where_the_amount_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "j"
    venue = Apart(market([PRICE] * 16 + [1.03 * PRICE] * 44), Faults())
    with capture_logs() as said:
        lives(path, venue, told(), 12)
    assert len([each for each in said if each["event"] == "transfer needed"]) == 1
    first, *_, last = written(path)
    # 3 % up: 20,600 USD, and 7,400 in the wallet; 15 % from there 23,690, 4,738 of margin that take 5,922.50, and 4,310.
    assert (first[0]["usd"], last[0]["usd"]) == (750.0, 1_612.5)


@pytest.mark.parametrize(
    ("rises", "amounts"),
    # Each per cent up asks for 287.50 more: less than a tenth of 750 is not worth a row.
    [(1.0025, [750.0]), (1.0028, [750.0, 830.5])],
)
def test_an_amount_that_has_hardly_changed_is_not_written_down_again(
    tmp_path: Path, rises: float, amounts: list[float]
) -> None:
    path = tmp_path / "j"
    lives(path, Apart(market([PRICE] * 16 + [rises * PRICE] * 44), Faults()), told(), 12)
    assert [each["usd"] for (each,) in written(path)] == amounts


def test_it_ends_with_the_spread(tmp_path: Path) -> None:
    path, venue = tmp_path / "j", Apart(market(), Faults())
    lives(path, venue, told(), 5)
    assert written(path)[-1] != []
    lives(path, venue, mandate(0.0), 3)
    assert venue._ready().lots.tolist() == [0, 0]
    assert written(path)[-1] == []


def test_of_margin_that_is_each_position_s_own_nothing_is_said(tmp_path: Path) -> None:
    lives(tmp_path / "j", TwoLegs(market(), Faults()), told(), 5)
    assert written(tmp_path / "j") == []
