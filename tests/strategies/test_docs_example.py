"""The guide's example is a real file: short, found by its path from a real config, and it trades."""

import ast
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import bot.strategy
from bot import compose, plugins
from bot.cli import cli
from bot.errors import ConfigError
from bot.model.funding import HOURS_PER_YEAR
from bot.model.instrument import simple_instrument
from bot.model.panel import FIELDS, Field
from bot.research.backtest import Backtest, run
from bot.research.markets import synthetic_panel
from bot.research.plugin_check import check
from bot.settings import Settings, load
from bot.sim.coins import MAJORS
from bot.strategy import Strategy
from tests.signals.naive import panel_of
from tests.strategies.moments import asked, led_through, score

REPOSITORY = Path(__file__).resolve().parent.parent.parent
EXAMPLES = REPOSITORY / "docs" / "examples"
FILE, CONFIG = EXAMPLES / "calm_carry.py", EXAMPLES / "calm-carry.toml"
GUIDE = REPOSITORY / "docs" / "strategies.md"
BLOCK = re.compile(r"(?:<!-- (?P<source>\S+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)


@pytest.fixture
def settings() -> Settings:
    return load(CONFIG, environ={})


def calm_carry(**parameters: float) -> Strategy:
    return plugins.build(str(FILE), parameters)


def test_the_example_is_at_most_forty_lines() -> None:
    assert len(FILE.read_text().splitlines()) <= 40


def test_the_example_needs_nothing_but_the_public_names() -> None:
    nodes = ast.walk(ast.parse(FILE.read_text()))
    imported = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert imported == {"collections.abc", "dataclasses", "bot.strategy"}


def test_the_config_names_the_file_beside_it_and_sets_its_parameters(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # found from the config's folder, wherever one stands
    (slot,) = compose.mandate_of(settings, CONFIG.parent).strategies
    assert type(slot.strategy).__name__ == "CalmCarry"
    assert slot.name == "calm_carry"
    assert (slot.strategy.enter_apr, slot.strategy.calm) == (0.20, 0.90)  # type: ignore[attr-defined]
    assert slot.strategy.exit_apr == 0.05  # type: ignore[attr-defined]


def test_the_example_trades_in_a_backtest_of_its_config(settings: Settings) -> None:
    assert settings.data is not None
    coins = [MAJORS[name] for name in settings.data.coins]
    test = Backtest(
        name=settings.name,
        panel=synthetic_panel(coins, 1200, seed=7),
        instruments=tuple(simple_instrument(c.name, c.size_decimals, c.max_leverage) for c in coins),
        mandate=compose.mandate_of(settings, CONFIG.parent),
    )
    record = run(test)
    assert len(record.fills) >= 4
    assert len(record.payments) >= 100
    assert any(
        re.fullmatch(r"carry [+-]\d+\.\d% a year, volatility \d+%", note.because) for note in record.notes
    )
    change = record.equity_end - test.equity_usd
    assert abs(record.price_usd + record.funding_usd - record.fees_usd - change) < 1e-6


def test_the_config_runs_as_a_daemon_on_paper(tmp_path: Path) -> None:
    ran = CliRunner().invoke(
        cli,
        [
            *("run", str(CONFIG), "--cycles", "3"),
            *("--set", "market.speed=7200", "--set", f"journal.path={tmp_path / 'paper.sqlite'}"),
        ],
    )
    assert ran.exit_code == 0, ran.output
    assert (tmp_path / "paper.sqlite").stat().st_size > 0


def test_the_example_stands_on_the_paid_side_once_it_is_calm_and_stays_for_less() -> None:
    strategy = calm_carry()
    assert score(strategy, carry=0.30, volatility=0.5) == -1.0
    assert score(strategy, carry=-0.30, volatility=0.5) == 1.0
    assert score(strategy, carry=0.30, volatility=0.9) == 0.0
    assert score(strategy, carry=0.10, volatility=0.5) == 0.0
    assert score(strategy, previous=-1.0, carry=0.10, volatility=0.9) == -1.0
    assert score(strategy, previous=-1.0, carry=0.04, volatility=0.5) == 0.0
    assert score(strategy, previous=-1.0, carry=-0.10, volatility=0.5) == 0.0


def test_the_example_says_why() -> None:
    opinion = asked(calm_carry(), carry=0.253, volatility=0.51)
    assert opinion.reason(0) == "carry +25.3% a year, volatility 51%"


def test_the_example_gets_in_and_out_of_a_market_once() -> None:
    apr = np.full(900, 0.10)
    apr[400:600], apr[600:] = 0.50, 0.02
    mark = 100 * np.exp(0.002 * (np.arange(900) % 2))
    given = led_through(calm_carry(), panel_of(mark=mark, funding_rate=apr / HOURS_PER_YEAR))[:, 0]
    assert [(a, b) for a, b in pairwise(given.tolist()) if a != b] == [(0.0, -1.0), (-1.0, 0.0)]


def test_the_example_refuses_parameters_that_contradict_each_other() -> None:
    with pytest.raises(ConfigError, match=r"exit_apr 0.3 must be at least 0 and below enter_apr 0.25"):
        calm_carry(exit_apr=0.3)


def test_the_example_keeps_every_promise() -> None:
    assert [each.detail for each in check(calm_carry()).checks if not each.passed] == []


# The guide


def blocks(language: str) -> list[tuple[str, str]]:
    """(file that it says it is from or "", text) of each block of code."""
    found = BLOCK.finditer(GUIDE.read_text())
    return [(m["source"] or "", m["text"]) for m in found if m["language"] == language]


def test_what_the_guide_shows_of_the_example_is_in_the_example() -> None:
    excerpts = [
        (source, text) for language in ("python", "toml") for source, text in blocks(language) if source
    ]
    assert len(excerpts) >= 5
    for source, text in excerpts:
        assert text in (REPOSITORY / source).read_text(), f"not in {source}: {text}"


def test_the_guides_other_code_is_python_that_uses_names_there_are() -> None:
    others = [text for source, text in blocks("python") if not source]
    assert others
    public = {"ClassVar": None, "Mapping": None} | {
        name: getattr(bot.strategy, name) for name in bot.strategy.__all__
    }
    for text in others:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                assert node.id in public or node.id in ("self", "panel", "frozenset", "str")
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "panel"
            ):
                assert node.attr in FIELDS


def test_the_guides_table_of_signals_is_complete_and_right() -> None:
    text = GUIDE.read_text()
    section = text[text.index("## Signals") : text.index("The raw market")]
    table = "\n".join(line.split("|")[1] for line in section.splitlines() if line.startswith("|"))
    named = set(re.findall(r"`(\w+)", table))
    shipped = {name: getattr(bot.strategy, name) for name in bot.strategy.__all__}
    signals = {
        name
        for name, each in shipped.items()
        if str(getattr(each, "__module__", "")).startswith("bot.signals")
        and name not in {"Regime", "regime_labels"}
    }
    assert named == signals
    for name, arguments in re.findall(r"`(\w+)\(([^)]*)\)`", table):
        code = getattr(bot.strategy, name).__code__
        assert tuple(arguments.split(", ")) == code.co_varnames[: len(arguments.split(", "))], name


def test_the_guide_names_raw_fields_that_a_panel_has() -> None:
    named = set(re.findall(r"`panel\.(\w+)`", GUIDE.read_text()))
    assert named
    assert named <= set(FIELDS)
    assert isinstance(panel_of(mark=[1.0]).mark, Field)


def test_the_commands_of_the_guide_are_commands() -> None:
    for _, text in blocks("console"):
        for command in re.findall(r"\$ hedgerow (.+)", text):
            words = command.split()
            path = words[: 2 if words[0] == "strategies" else 1]
            assert CliRunner().invoke(cli, [*path, "--help"]).exit_code == 0, command
            for word in words:
                if word.startswith("docs/"):
                    assert (REPOSITORY / word).is_file()
