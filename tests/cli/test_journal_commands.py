import json
import os
import pty
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bot.cli import cli, main
from bot.cli.reading import DEFAULT_JOURNAL, clock, number, price, show_json, signed
from bot.errors import ConfigError
from bot.model.order import FundingPayment
from bot.settings import JournalSettings
from tests.journal.diary import DEPOSIT, FINDING, HOUR_MS, START_MS, Desk

REPOSITORY = Path(__file__).resolve().parents[2]
COMMANDS = (
    "status",
    "positions",
    "orders",
    "funding",
    "pnl",
    "explain BTC",
    "explain latest",
    "ledger verify",
)
CONFIG = 'version = 1\nname = "x"\nmode = "paper"\n[market]\n[[strategies]]\nplugin = "funding_carry"\n'
HEAVY = ("numpy", "pydantic", "pyarrow", "structlog", "apscheduler", "plotly", "bottleneck", "pandas", "numba", "ccxt",
         "hyperliquid", "eth_account", "coincurve")  # fmt: skip
BECAUSE = "carry: funding z +1.5 is extreme"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Sixty hours with a liquidation; its daemon, this process, is still running."""
    return Desk(tmp_path_factory.mktemp("desk") / "paper.sqlite").hours(60, crash_at=30)


def ask(desk: Desk, command: str) -> str:
    done = CliRunner().invoke(
        cli, [*command.split(), "--journal", str(desk.journal.path)], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return done.output


def facts(desk: Desk, command: str) -> dict[str, Any]:
    told = json.loads(ask(desk, f"{command} --json"), parse_float=Decimal, parse_int=Decimal)
    assert isinstance(told, dict)
    return told


def leave(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert isinstance(caught.value.code, int)
    captured = capsys.readouterr()
    assert captured.out == ""
    return caught.value.code, captured.err


def row(told: str, *starts: str) -> list[str]:
    """Cells of the first line that begins with these words."""
    return next(line.split() for line in told.splitlines() if line.split()[: len(starts)] == list(starts))


def test_json_amounts_read_as_decimals_add_up_exactly(desk: Desk) -> None:
    told = facts(desk, "pnl")
    assert told["opening_usd"] + told["pnl"]["total"] == told["equity_usd"] == desk.equity_usd()
    for parts in (told["pnl"], told["today"], *told["coins"], *told["days"], *told["strategies"]):
        assert parts["price"] + parts["funding"] + parts["fees"] == parts["total"]
    assert told["pnl"]["fees"] == -sum(fill.fee_usd for fill in desk.fills)
    paid = facts(desk, "funding --limit 1000")
    assert len(paid["payments"]) == len(desk.payments) == 150
    assert sum(each["usd"] for each in paid["payments"]) == sum(each.usd for each in desk.payments)
    assert sum(each["usd"] for each in paid["coins"]) == told["pnl"]["funding"]
    assert facts(desk, "status")["pnl"] == told["pnl"]


def test_json_keeps_digits_that_a_float_would_lose(capsys: pytest.CaptureFixture[str]) -> None:
    show_json({"a": [Decimal("96408.38774534591545083"), Decimal("1E+3"), Decimal(-0)], "b": {"é": None}})
    assert capsys.readouterr().out == '{"a": [96408.38774534591545083, 1000, 0], "b": {"\\u00e9": null}}\n'


def test_a_payment_in_json_is_size_times_oracle_times_rate_against_the_holder(desk: Desk) -> None:
    for each in facts(desk, "funding --limit 1000")["payments"]:
        owed = -each["size"] * each["oracle"] * each["rate_per_hour"]
        assert abs(owed - each["usd"]) <= Decimal("0.000001")
        assert float(each["rate_apr"]) == pytest.approx(float(each["rate_per_hour"]) * 8760)


def test_positions_in_json_are_what_the_exchange_holds(desk: Desk) -> None:
    told = {each["coin"]: each for each in facts(desk, "positions")["positions"]}
    held = desk.account.positions
    assert {name: each["size"] for name, each in told.items()} == {
        name: position.size for name, position in held.items()
    }
    for name, each in told.items():
        assert each["notional_usd"] == held[name].notional_usd(desk.exchange.marks[name])
        assert each["side"] == ("long" if held[name].lots > 0 else "short")


def test_status_says_how_it_stands(desk: Desk) -> None:
    told = ask(desk, "status")
    assert row(told, "daemon")[:3] == ["daemon", "running", "(pid"]
    assert f"(pid {os.getpid()})" in told
    assert row(told, "equity")[1] == f"{desk.equity_usd():,.2f}"
    assert row(told, "time")[1:3] == ["2024-05-03", "12:00,"]
    assert row(told, "state") == ["state", "active"]
    loss = 1 - desk.equity_usd() / DEPOSIT
    assert f"{loss:.2%} below the high of 100,000.00" in told
    assert f"hedgerow explain {desk.decisions[-1].snapshot_id}" in told
    assert FINDING.detail in told


def test_pnl_shows_fees_as_a_loss_and_every_row_adds_up_to_the_cent(desk: Desk) -> None:
    told = ask(desk, "pnl")
    fees = sum((fill.fee_usd for fill in desk.fills), Decimal(0))
    cells = [Decimal(cell.replace(",", "")) for cell in row(told, "since", "opening")[2:]]
    assert cells[2] == -round(fees, 2)
    assert abs(sum(cells[:3]) - cells[3]) <= Decimal("0.02")
    assert "not explained" not in told
    assert "2024-05-02" in told
    assert "2024-05-02" not in ask(desk, "pnl --days 1").replace("today, 2024-05-03", "")


def test_orders_are_the_open_ones_unless_all_are_asked_for(desk: Desk) -> None:
    resting = [report.order.client_id for report in desk.exchange.open_orders("desk")]
    assert [each["client_id"] for each in facts(desk, "orders")["orders"]] == resting
    assert resting[0] in ask(desk, "orders")
    everything = facts(desk, "orders --all --limit 7 --coin eth")
    assert len(everything["orders"]) == 7
    assert {each["coin"] for each in everything["orders"]} == {"ETH"}
    assert f"The newest 7 of {everything['count']}" in ask(desk, "orders --all --limit 7 --coin eth")
    assert ask(desk, "orders --coin eth") == "no open orders; list finished ones with --all\n"


def test_funding_since_counts_back_from_the_last_cycle_or_from_a_date(desk: Desk) -> None:
    three = facts(desk, "funding --since 3h --coin btc")
    assert [each["time_ms"] for each in three["payments"]] == [
        START_MS + hour * HOUR_MS for hour in (60, 59, 58)
    ]
    day = facts(desk, "funding --since 2024-05-03T00:00:00Z --limit 100")
    assert min(each["time_ms"] for each in day["payments"]) == START_MS + 48 * HOUR_MS
    assert facts(desk, "funding --since 2d")["since_ms"] == START_MS + 12 * HOUR_MS + 1
    assert ask(desk, "funding --since 2030-01-01") == "no funding payments since 2030-01-01 00:00\n"
    with pytest.raises(ConfigError, match="is not a date"):
        ask(desk, "funding --since yesterday")


def test_explain_tells_the_story_in_words(desk: Desk) -> None:
    told = ask(desk, "explain DOGE")
    assert "the latest change of DOGE" in told
    assert row(told, "DOGE", "carry")[:5] == ["DOGE", "carry", "+0.50", "200,000", "200,000"]
    assert "funding z -1.5 is extreme" in told
    assert f"{desk.decisions[0].snapshot_id}-DOGE-entry" in told
    assert "liquidation" in told.partition("What the venue did since")[2]
    taken = desk.liquidations[0]
    liquidated = next(
        fill for fill in desk.fills if fill.time_ms == taken.time_ms and fill.instrument == "DOGE"
    )
    assert "No decision asked for trade" in ask(desk, f"explain {liquidated.trade_id}")


@pytest.mark.parametrize("command", [*COMMANDS, "orders --all --limit 500", "funding --limit 500"])
def test_a_pipe_of_80_columns_cuts_nothing_off_and_folds_nothing(command: str, desk: Desk) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bot", *command.split(), "--journal", str(desk.journal.path)],
        cwd=REPOSITORY,
        env={**os.environ, "COLUMNS": "80", "TERM": "dumb"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (done.stderr, "…" in done.stdout) == ("", False)
    lines = done.stdout.splitlines()
    if command == "positions":
        assert sum(BECAUSE in line for line in lines) == len(desk.account.positions)
    if command.startswith("orders --all"):
        names = {word for line in lines for word in line.split()}
        asked = {order.client_id for each in desk.decisions for order in each.plan.orders}
        assert asked <= names


def test_a_narrow_terminal_folds_sentences_only(desk: Desk) -> None:
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as terminal:
        subprocess.run(
            [sys.executable, "-m", "bot", "positions", "--journal", str(desk.journal.path)],
            cwd=REPOSITORY,
            env={**os.environ, "COLUMNS": "80", "TERM": "xterm"},
            stdout=terminal,
            timeout=60,
            check=True,
        )
    told = os.read(leader, 1 << 16).decode()
    os.close(leader)
    assert "…" not in told
    for name, position in desk.account.positions.items():
        assert name in told
        assert number(position.size) in told


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "text"])
def test_no_command_imports_anything_heavy(as_json: bool, desk: Desk) -> None:
    program = f"""
import sys
from click.testing import CliRunner
from bot.cli import cli
for command in {COMMANDS!r}:
    arguments = [*command.split(), "--journal", {str(desk.journal.path)!r}] + ["--json"] * {as_json}
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
print(*sorted(set({HEAVY!r} + ("rich",) * {as_json}) & set(sys.modules)), sep=",")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_the_journal_is_the_one_named_else_the_configs_else_the_default(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert JournalSettings().path == DEFAULT_JOURNAL
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEDGEROW__JOURNAL__PATH", raising=False)
    code, error = leave(capsys, "status")
    assert (code, error.count("\n")) == (1, 1)
    assert error.startswith("error: no journal at state/paper.sqlite; start a run with `hedgerow run CONFIG`")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "paper.sqlite").symlink_to(desk.journal.path)
    assert json.loads(CliRunner().invoke(cli, ["status", "--json"]).output)["name"] == "desk"
    config = tmp_path / "paper.toml"
    config.write_text(f'{CONFIG}[journal]\npath = "{tmp_path}/elsewhere.sqlite"\n')
    code, error = leave(capsys, "status", str(config))
    assert (code, "elsewhere.sqlite" in error) == (1, True)
    config.write_text(f'{CONFIG}[journal]\npath = "{desk.journal.path}"\n')
    for command in COMMANDS:
        done = CliRunner().invoke(cli, [*command.split(), str(config), "--json"], catch_exceptions=False)
        assert json.loads(done.output), command
    code, error = leave(capsys, "status", str(config), "--journal", str(desk.journal.path))
    assert (code, "give one of them" in error) == (2, True)


def test_without_a_config_the_environment_still_says_where_the_journal_is(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEDGEROW__JOURNAL__PATH", str(desk.journal.path))
    assert json.loads(CliRunner().invoke(cli, ["status", "--json"]).output)["name"] == "desk"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("explain", "nonsense"), "error: the journal knows no decision, order, trade or coin 'nonsense'; "),
        (("orders", "--coin", "DOG"), "no coin 'DOG'; did you mean DOGE?"),
        (("funding", "--since", "soon"), "error: 'soon' is not a date; "),
        (("orders", "--limit", "0"), "Error: Invalid value for '--limit'"),
        (("explain",), "Error: Missing argument 'ID'"),
    ],
)
def test_a_wrong_question_is_answered_in_one_sentence_with_exit_code_2(
    arguments: tuple[str, ...], sentence: str, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    code, error = leave(capsys, *arguments, "--journal", str(desk.journal.path))
    assert (code, sentence in error, "Traceback" in error) == (2, True, False)


def test_amounts_are_shown_with_the_digits_that_matter() -> None:
    assert [signed(Decimal(text)) for text in ("1234.565", "-0.004", "0", "-0.000", "-12")] == [
        "+1,234.56",
        "-0.004000",
        "0.00",
        "0.00",
        "-12.00",
    ]
    assert [number(Decimal(text)) for text in ("0.00005", "1E+3", "100", "-1.50")] == [
        "0.00005",
        "1,000",
        "100",
        "-1.5",
    ]
    assert [price(Decimal(text)) for text in ("1194550.12774", "0.000012345678", "2894.123456", "0")] == [
        "1,194,550",
        "0.0000123457",
        "2,894.12",
        "0",
    ]
    assert [clock("2024-05-01T00:00:00Z"), clock("2024-05-01T00:00:30.500Z"), clock(None)] == [
        "2024-05-01 00:00",
        "2024-05-01 00:00:30",
        "–",
    ]


def test_ledger_verify_is_right_and_leaves_with_0(desk: Desk) -> None:
    told = facts(desk, "ledger verify")
    assert (told["is_right"], told["differences"], told["cycles"]) == (True, [], 60)
    assert "0 differences" in ask(desk, "ledger verify")


def test_what_nothing_explains_is_shown_by_status_and_pnl_and_fails_ledger_verify(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "paper.sqlite").hours(3)
    desk.misses = lambda event: isinstance(event, FundingPayment) and event.instrument == "BTC"
    desk.hour()
    (missed,) = desk.missed
    assert isinstance(missed, FundingPayment)
    amount = signed(missed.usd)
    assert f"nothing explains {amount} USD that the venue states" in ask(desk, "status")
    assert row(ask(desk, "pnl"), "not", "explained")[-1] == amount
    assert facts(desk, "pnl")["suspense"]["total"] == missed.usd
    for options in ([], ["--json"]):
        done = CliRunner().invoke(cli, ["ledger", "verify", *options, "--journal", str(desk.journal.path)])
        assert done.exit_code == 1
        assert "SUSPENSE:funding" in done.output
