import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import click
import pytest
from click.testing import CliRunner

import bot.cli
from bot.cli import COMMANDS, LazyGroup, cli, main
from bot.errors import ConfigError, DataError, HedgerowError, OutcomeUnknown, StateError
from bot.settings import load

REPOSITORY = Path(__file__).resolve().parents[2]
HEAVY = (
    "apscheduler",
    "bottleneck",
    "ccxt",
    "coincurve",
    "eth_account",
    "hyperliquid",
    "jinja2",
    "numba",
    "numpy",
    "pandas",
    "plotly",
    "pyarrow",
    "pydantic",
    "rich",
    "sqlite3",
    "structlog",
)
PAPER = 'version = 1\nname = "paper"\nmode = "paper"\n[market]\n[[strategies]]\nplugin = "funding_carry"\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "paper.toml"
    path.write_text(PAPER)
    return path


def leave(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert isinstance(caught.value.code, int)
    return caught.value.code


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make `hedgerow data` end in this error."""

    @click.command()
    def failing() -> NoReturn:
        raise error

    monkeypatch.setattr(LazyGroup, "get_command", lambda *_: failing)


def test_help_imports_nothing_heavy() -> None:
    program = f"""
import sys
from bot.cli import cli
try:
    cli(["--help"])
except SystemExit as leaving:
    assert leaving.code == 0, leaving.code
print(*sorted(set({HEAVY!r}) & set(sys.modules)), sep=",", file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == ""
    assert "backtest" in done.stdout


def test_help_lists_every_command_and_an_example() -> None:
    told = CliRunner().invoke(cli, ["--help"]).output
    assert [name for name in COMMANDS if f"\n  {name} " not in told] == []
    assert "Example:" in told


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    done = CliRunner().invoke(cli, [name, "--help"])
    assert done.exit_code == 0, done.output
    assert "Example:" in done.output


# Commands that do not answer with facts: daemons, whose logs tell what happens, one that prints JSON anyway, and those
# that deal with keys, which are a dialogue.
WITHOUT_FACTS = {"run", "guard watch", "devnet", "config schema"}
A_DIALOGUE = ("init", "guard init", "signer ", "wallet ")


def leaves(group: click.Group = cli, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command there is, with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def test_every_command_down_to_the_last_has_an_example_and_prints_its_facts_as_json() -> None:
    commands = dict(leaves())
    assert {"backtest", "config check", "data describe", "strategies check"} <= set(commands)
    assert [name for name, command in commands.items() if "Example:" not in (command.epilog or "")] == []
    takes_json = {
        name
        for name, command in commands.items()
        if any("--json" in option.opts for option in command.params)
    }
    silent = {name for name in set(commands) - takes_json if not name.startswith(A_DIALOGUE)}
    assert silent <= WITHOUT_FACTS


def test_a_command_that_is_not_there_says_so_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(bot.cli.COMMANDS, "sow", ("bot.cli.sow:sow", "Sow."))
    assert leave("sow") == 1
    assert capsys.readouterr().err == "error: 'sow' is not part of this version of hedgerow\n"


def test_an_import_that_fails_inside_a_command_is_not_mistaken_for_an_absent_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "needy_command.py").write_text("import a_module_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(bot.cli.COMMANDS, "sow", ("needy_command:sow", "Sow."))
    assert leave("sow") == 1
    assert "unexpected ModuleNotFoundError: No module named 'a_module_nobody_has'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--nonsense"], ["nonsense"], ["config", "check"], ["config", "nonsense"]]
)
def test_wrong_usage_leaves_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert leave(*arguments) == 2
    captured = capsys.readouterr()
    assert "Error: " in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigError, 2), (DataError, 2), (StateError, 1), (OutcomeUnknown, 1), (HedgerowError, 1)],
)
def test_a_known_error_is_one_line_and_its_own_exit_code(
    error: type[HedgerowError], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(monkeypatch, error("found this;\n do that"))
    assert leave("data") == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "error: found this; do that\n")


def test_an_unexpected_error_is_one_line_that_tells_how_to_see_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(monkeypatch, ZeroDivisionError("division by zero"))
    assert leave("data") == 1
    told = "error: unexpected ZeroDivisionError: division by zero; run again with --debug to see where\n"
    assert capsys.readouterr().err == told


def test_an_unexpected_error_keeps_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(monkeypatch, ValueError(f"not a key: 0x{'5e' * 32}"))
    assert leave("data") == 1
    assert "5e5e" not in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--debug", "data"], ["data", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(monkeypatch, ConfigError("found this; do that"))
    assert leave(*arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):")
    assert err.endswith("error: found this; do that\n")


def test_an_interrupt_leaves_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(monkeypatch, KeyboardInterrupt())
    assert leave("data") == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["config", "schema"], ["--version"]])
def test_a_reader_that_leaves_early_gets_no_complaint(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "bot", *arguments],
            cwd=REPOSITORY,
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "")


def test_the_version_is_the_packages() -> None:
    declared = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert CliRunner().invoke(cli, ["--version"]).output == f"hedgerow {declared}\n"


def test_config_check_says_what_it_read(config: Path) -> None:
    done = CliRunner().invoke(cli, ["config", "check", str(config), "--set", "execution.stop_loss=0.1"])
    assert (done.exit_code, done.output) == (
        0,
        f"{config} is right: paper, paper, funding_carry; needs 192 h of history\n",
    )
    facts = json.loads(CliRunner().invoke(cli, ["config", "check", str(config), "--json"]).output)
    assert (facts["ok"], facts["mode"], facts["strategies"]) == (True, "paper", ["funding_carry"])


def test_config_check_of_a_wrong_config_leaves_with_2(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave("config", "check", str(config), "--set", "account.leverage=90") == 2
    assert (
        capsys.readouterr().err
        == "error: --set: account.leverage is 90, but must be a whole number from 1 to 50\n"
    )


WRONG = {
    "a parameter of another type": (
        ["strategies.0.parameters.hold_h=soon"],
        'strategy funding_carry: hold_h is \'soon\', but must be a whole number',
    ),
    "a parameter misspelt": (
        ["strategies.0.parameters.hurdel=0.1"],
        "strategy funding_carry: hurdel is not a parameter; did you mean hurdle?",
    ),
    "parameters that contradict each other": (
        ["strategies.0.parameters.exit_apr=0.9"],
        "strategy funding_carry: exit_apr must be at least 0 and below full_apr, found 0.9 and 0.6",
    ),
    "a plugin misspelt": (["strategies.0.plugin=funding_cary"], "there is no strategy 'funding_cary'; did you mean"),
    "a coin that the market has not": (["market.coins=['BTC', 'SOLL']"], "the synthetic market has no coin 'SOLL'"),
    "per cent for a fraction": (["limits.max_drawdown=25"], "limits.max_drawdown is 25, but must be a number above 0 below 1"),
    "a key of another section": (["sizing.max_gross_leverage=2"], "did you mean limits.max_gross_leverage?"),
    "a number in quotes": (["account.leverage='3'"], 'account.leverage is "3", but must be a whole number from 1 to 50'),
    "a mode without its market": (["mode=backtest"], 'mode = "backtest" needs a [data] section; add one'),
    "a recording without its folder": (["market.source=replay", "data.table=candles"], "the config names no data folder"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_that_people_make_is_one_sentence_from_check_and_from_run(
    mistake: str, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides, told = WRONG[mistake]
    options = [part for override in overrides for part in ("--set", override)]
    said = []
    for command in (["config", "check"], ["run"]):
        journal = ["--set", f"journal.path={tmp_path / 'journal.sqlite'}"]
        assert leave(*command, str(config), *options, *journal) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert len(captured.err.splitlines()) == 1
        said.append(captured.err)
    assert told in said[0]
    assert said[1] == (said[0] if mistake != "a mode without its market" else said[1])
    assert not (tmp_path / "journal.sqlite").exists()


def test_config_check_reads_the_recording_that_is_named(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--set", "mode=backtest", "--set", "data.table=candles"]
    assert leave("config", "check", str(config), *options, "--data", str(tmp_path / "none")) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_capital_that_is_lent_twice_is_said_by_check(config: Path) -> None:
    config.write_text(PAPER + 'capital = 0.7\n[[strategies]]\nplugin = "positioning"\ncapital = 0.8\n')
    done = CliRunner().invoke(cli, ["config", "check", str(config)])
    assert done.exit_code == 0, done.output
    assert (
        "caution: the strategies' capital adds up to 1.5 × equity (funding_carry 0.7 + positioning 0.8)"
        in done.output
    )
    facts = json.loads(CliRunner().invoke(cli, ["config", "check", str(config), "--json"]).output)
    assert len(facts["cautions"]) == 2


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ([], "no stop rests at the venue"),
        (["execution.stop_loss=0.1"], None),
        (["execution.stop_loss=0.3", "account.margin_mode=isolated", "account.leverage=10"], "isolated margin at leverage 10 that may be 5% from entry"),
        (["execution.stop_loss=0.04", "account.margin_mode=isolated", "account.leverage=10"], None),
        (["execution.stop_loss=0.4", "limits.max_gross_leverage=3"], "a gross leverage of 3 that may be 20% from entry"),
        (["execution.stop_loss=0.4", "limits.max_gross_leverage=1"], None),
    ],
)  # fmt: skip
def test_positions_that_no_stop_would_save_are_cautioned_of(
    config: Path, overrides: list[str], told: str | None
) -> None:
    asked = [part for override in overrides for part in ("--set", override)]
    facts = json.loads(CliRunner().invoke(cli, ["config", "check", str(config), "--json", *asked]).output)
    assert len(facts["cautions"]) == (0 if told is None else 1)
    assert told is None or told in facts["cautions"][0]


def test_pieces_of_spreads_that_the_signer_would_refuse_are_cautioned_of() -> None:
    def cautions(most_usd: int) -> list[str]:
        asked = ["--json", "--set", f"policy.max_order_usd={most_usd}"]
        told = CliRunner().invoke(
            cli, ["config", "check", str(REPOSITORY / "config/paper-carry-cross.toml"), *asked]
        )
        return list(json.loads(told.output)["cautions"])

    assert len(cautions(5000)) == 1
    (_, said) = cautions(4999)
    assert (
        "max_unhedged_usd = 5000.0, what a spread is opened by at once, is above policy.max_order_usd = 4999"
        in said
    )


SECRETIVE = """
from collections.abc import Mapping
from dataclasses import dataclass
from bot.strategy import Field, Opinion, Panel, Strategy, View

@dataclass(frozen=True)
class Secretive(Strategy):
    api_key: str = ""
    password: str = ""
    token: str = ""
    size: float = 0.0

    def signals(self, panel: Panel) -> Mapping[str, Field]:
        return {"price": panel.mark}

    def forecast(self, view: View) -> Opinion:
        return view.opinion(self.size + 0.0 * view.price, "so")
"""


@pytest.fixture
def secretive(tmp_path: Path) -> Path:
    (tmp_path / "secretive.py").write_text(SECRETIVE)
    path = tmp_path / "secretive.toml"
    path.write_text(
        PAPER.replace("funding_carry", "secretive.py")
        + '[strategies.parameters]\napi_key = "hunter-1"\npassword = "hunter-2"\ntoken = "hunter-3"\nsize = 0.5\n'
        + f'[data]\nfolder = "{tmp_path / "market"}"\n[journal]\npath = "{tmp_path / "journal.sqlite"}"\n'
    )
    return path


def test_a_parameter_that_is_a_secret_reaches_neither_report_nor_journal_nor_screen(
    secretive: Path, tmp_path: Path
) -> None:
    def run(*arguments: str) -> str:
        done = CliRunner().invoke(cli, list(arguments))
        assert done.exit_code == 0, done.output
        return done.output

    run("data", "generate", str(tmp_path / "market"), "--days", "2", "--coins", "BTC")
    said = run("backtest", str(secretive), "--json", "--out", str(tmp_path / "out"))
    said += run("config", "show", str(secretive)) + run("config", "show", str(secretive), "--json")
    run("run", str(secretive), "--cycles", "2", "--set", "market.speed=7200")
    files = [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith("secretive")]
    assert {"report.html", "report.json", "journal.sqlite"} <= {path.name for path in files}
    kept = {path.name: path.read_bytes() for path in files}
    assert [name for name, content in kept.items() if b"hunter" in content] == []
    assert "hunter" not in said
    assert json.loads(kept["report.json"])["config"]["strategies"][0]["parameters"] == {
        "api_key": "[masked]", "password": "[masked]", "token": "[masked]", "size": 0.5,
    }  # fmt: skip


def test_a_secret_of_the_wrong_type_is_not_shown_either(
    secretive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave("config", "check", str(secretive), "--set", "strategies.0.parameters.api_key=31337") == 2
    assert "api_key is [masked], but must be a text" in capsys.readouterr().err


def test_a_band_without_end_can_be_written_into_a_journal(config: Path, tmp_path: Path) -> None:
    options = ["--set", "sizing.no_trade_band=inf", "--set", f"journal.path={tmp_path / 'journal.sqlite'}"]
    done = CliRunner().invoke(
        cli, ["run", str(config), "--cycles", "1", *options, "--set", "market.speed=7200"]
    )
    assert done.exit_code == 0, done.output


def test_an_error_that_quotes_control_characters_writes_them_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(monkeypatch, ConfigError("no coin '\x1b[2J\u202eCTB'"))
    assert leave("data") == 2
    assert capsys.readouterr().err == "error: no coin '\\x1b[2J\\u202eCTB'\n"


def test_config_show_prints_a_config_that_reads_back_the_same(config: Path, tmp_path: Path) -> None:
    overrides = [
        "sizing.no_trade_band=inf",
        "account.equity_usd=12345.678901",
        'name=Tab "and" \\ é',
        'strategies.0.parameters={ a = 1, b = "x", coins = ["BTC", "ETH"], deep = { c = [[1.5], []] }, t = [{ d = 1 }] }',
        "policy.collar_bps=77",
    ]
    options = [part for override in overrides for part in ("--set", override)]
    done = CliRunner().invoke(cli, ["config", "show", str(config), *options])
    assert done.exit_code == 0, done.output
    shown = tmp_path / "shown.toml"
    shown.write_text(done.output)
    assert load(shown, environ={}) == load(config, overrides, {})


def test_config_show_as_json_is_json(config: Path) -> None:
    done = CliRunner().invoke(
        cli, ["config", "show", str(config), "--json", "--set", "sizing.no_trade_band=inf"]
    )

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is not JSON")

    facts = json.loads(done.output, parse_constant=refuse)
    assert facts["sizing"]["no_trade_band"] == "Infinity"
    assert facts["market"]["coins"][0] == "BTC"


def test_config_schema_is_json_schema() -> None:
    written = json.loads(CliRunner().invoke(cli, ["config", "schema"]).output)
    assert written["properties"]["version"]["const"] == 1
