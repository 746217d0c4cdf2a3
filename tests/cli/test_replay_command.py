"""`hedgerow replay` on a journal that a run of a real config left behind."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bot import app, settings
from bot.cli import cli
from bot.cli import replay as command
from bot.errors import ConfigError
from bot.journal.journal import Journal
from bot.trader.trader import Trader
from bot.venues.simulated import SimulatedVenue
from bot.venues.sources import ReplaySource
from tests.trader.paper import TERMS
from tests.trader.test_trader import synthetic
from tests.trader.two_legs import HERE, PRICE, THERE, Faults, TwoLegs, market

CONFIG = """
version = 1
name = "replayed"
mode = "paper"
[market]
[execution]
stop_loss = 0.05
[[strategies]]
plugin = "{plugin}"
[strategies.parameters]
half_life_h = 12
min_hold_h = 6
hurdle = {hurdle}
[journal]
path = "{journal}"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 50 hours, still going on; and other configs beside its own."""
    here = tmp_path_factory.mktemp("replay")
    journal = here / "journal.sqlite"
    (here / "mine.toml").write_text(CONFIG.format(plugin="funding_carry", hurdle=0.0, journal=journal))
    (here / "other.toml").write_text(CONFIG.format(plugin="funding_carry", hurdle=9.0, journal=journal))
    loaded = settings.load(here / "mine.toml")

    async def life(opened: Journal) -> None:
        daemon = app.Daemon(loaded, app.daemon_mandate_of(loaded, here))
        it: Trader = daemon.trader(SimulatedVenue(synthetic(), TERMS), opened)
        await it.start()
        for _ in range(50):
            assert await it.cycle()

    with Journal.open(journal) as opened:
        asyncio.run(life(opened))
    return here


def ask(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["replay", str(folder / "mine.toml"), *arguments])


def facts(folder: Path, *arguments: str, code: int) -> dict[str, Any]:
    done = ask(folder, "--json", *arguments)
    assert done.exit_code == code, done.output
    told = json.loads(done.stdout)
    assert isinstance(told, dict)
    return told


def test_the_same_program_and_config_differ_in_nothing(folder: Path) -> None:
    told = facts(folder, code=0)
    assert (told["decisions"], told["equal"], told["different"], told["not_made_again"]) == (50, 50, 0, 0)
    assert (told["differences"], told["missing"]) == ([], [])
    done = ask(folder)
    assert done.exit_code == 0
    assert "50 equal, 0 different, 0 not made again" in done.output


SPREADS = """
version = 1
name = "both legs"
mode = "paper"
[market]
[cex.binance]
coins = ["BTC"]
[account]
wallets = {{ hyperliquid = 0.5, binance = 0.5 }}
[limits]
max_net_leverage = 0.1
[[spreads]]
primary = "BTC"
hedge = "binance:BTC"
[[strategies]]
plugin = "funding_carry"
on = "spreads"
[strategies.parameters]
half_life_h = 1
min_hold_h = 1
hurdle = 0.0
[journal]
path = "{journal}"
"""


def test_decisions_on_spreads_are_made_again_by_the_config_of_their_run_and_by_the_file(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine.toml").write_text(SPREADS.format(journal=tmp_path / "journal.sqlite"))
    loaded = settings.load(tmp_path / "mine.toml")
    history = 190
    panel = market([PRICE, 1.001 * PRICE] * 100, funding=(1e-4, 1e-5))._panel
    source = ReplaySource(panel, (HERE, THERE), history, history, {"recorded": "two legs"})

    async def life(opened: Journal) -> None:
        daemon = app.Daemon(loaded, app.daemon_mandate_of(loaded, tmp_path))
        it = daemon.trader(TwoLegs(source, Faults()), opened)
        await it.start()
        for _ in range(3):
            assert await it.cycle()

    with Journal.open(tmp_path / "journal.sqlite") as opened:
        asyncio.run(life(opened))
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM fill").fetchone()[0] > 0
    assert facts(tmp_path, code=0)["equal"] == 3
    assert facts(tmp_path, "--config", str(tmp_path / "mine.toml"), code=0)["equal"] == 3
    elsewhere = SPREADS.format(journal=tmp_path / "journal.sqlite").replace("BTC", "ETH")
    (tmp_path / "elsewhere.toml").write_text(elsewhere)
    told = facts(tmp_path, "--config", str(tmp_path / "elsewhere.toml"), code=2)
    assert "'ETH' is not traded here" in told["missing"][0]["why"]


def test_another_config_shows_what_it_would_have_decided(folder: Path) -> None:
    told = facts(folder, "--config", str(folder / "other.toml"), code=1)
    assert told["different"] == len(told["differences"]) > 0
    changes = told["differences"][0]["changes"]
    assert {"opinion", "wanted", "order"} <= {change["what"] for change in changes}
    opinion = next(change for change in changes if change["what"] == "opinion")
    assert opinion["who"] == "funding_carry"
    assert opinion["now"]["score"] == 0
    done = ask(folder, "--config", str(folder / "other.toml"), "--limit", "1")
    assert done.exit_code == 1
    assert told["differences"][0]["decision"] in done.output
    assert "entry" in done.output
    same = (
        "--config",
        str(folder / "other.toml"),
        "--set",
        'strategies=[{plugin="funding_carry",parameters={half_life_h=12,min_hold_h=6,hurdle=0.0}}]',
    )
    assert facts(folder, *same, code=0)["different"] == 0


def test_a_span_or_one_decision(folder: Path) -> None:
    everything = facts(folder, "--config", str(folder / "other.toml"), code=1)["differences"]
    some = everything[0]
    assert facts(folder, "--from", some["time"], "--to", some["time"], code=0)["decisions"] == 1
    assert facts(folder, "--decision", some["decision"], code=0)["decisions"] == 1
    assert facts(folder, "--decision", "latest", code=0)["decisions"] == 1


def test_nothing_to_make_again_is_exit_code_2(folder: Path) -> None:
    assert facts(folder, "--from", "2030-01-01", code=2)["decisions"] == 0
    assert "no decisions there" in ask(folder, "--from", "2030-01-01").output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--decision", "ffff"), "knows no decision 'ffff'"),
        (("--from", "yesterday"), "is not a date"),
    ],
)
def test_what_cannot_be_is_a_sentence(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    done = ask(folder, *arguments)
    assert isinstance(done.exception, ConfigError)
    assert said in str(done.exception)
    assert done.exception.exit_code == 2


@pytest.mark.parametrize(
    "arguments", [("--set", "sizing.position_size=0.1"), ("--decision", "1", "--to", "2030-01-01")]
)
def test_options_that_do_not_go_together_are_usage_errors(folder: Path, arguments: tuple[str, ...]) -> None:
    assert ask(folder, *arguments).exit_code == 2


def test_a_config_of_a_run_that_can_not_be_used_any_more_is_said_to_be_so(
    folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.sqlite"
    with (
        closing(sqlite3.connect(folder / "journal.sqlite")) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
        for change, why in (
            ("replace(config, 'funding_carry', 'gone_away')", "can't be used any more"),
            ("replace(config, '0.0', '\"[masked]\"')", "has a secret in it"),
        ):
            with target:
                target.execute(f"UPDATE run SET config = {change}")
            done = CliRunner().invoke(cli, ["replay", "--journal", str(copy), "--json"])
            assert done.exit_code == 2
            told = json.loads(done.stdout)
            assert (told["equal"], told["not_made_again"]) == (0, 50)
            assert why in told["missing"][0]["why"]


def test_it_reads_only_and_while_a_daemon_writes(folder: Path) -> None:
    with Journal.open(folder / "journal.sqlite") as journal:
        before = (folder / "journal.sqlite").read_bytes()
        assert facts(folder, code=0)["equal"] == 50
        journal.record_event(1, "still", "written")
        assert (folder / "journal.sqlite").read_bytes() == before
    assert command.__doc__
