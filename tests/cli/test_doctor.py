"""`hedgerow doctor` and `hedgerow run` as processes that can look up no name: what they find out without a network."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.trader.daemon import ENVIRONMENT, REPOSITORY

CUT_OFF = """
import socket, sys

def nowhere(host, *rest, **keywords):
    raise socket.gaierror(socket.EAI_NONAME, f"no name is looked up here: {host}")

socket.getaddrinfo = nowhere
from bot.cli import main
main(sys.argv[1:])
"""
EXCHANGES = {
    "binance-demo": ("binance", "demo-fapi.binance.com"),
    "bybit-testnet": ("bybit", "api-testnet.bybit.com"),
    "okx-demo": ("okx", "www.okx.com"),
}

ACCOUNT = f"0x{'ab' * 20}"


def hedgerow(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CUT_OFF, *arguments],
        cwd=folder,
        env={**ENVIRONMENT, "XDG_RUNTIME_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def checks(folder: Path, *arguments: str) -> tuple[int, dict[str, tuple[str, str]]]:
    done = hedgerow(folder, "doctor", *arguments, "--json")
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["ok"] == (done.returncode == 0)
    return done.returncode, {each["check"]: (each["outcome"], each["said"]) for each in told["checks"]}


def config(name: str) -> str:
    return str(REPOSITORY / "config" / f"{name}.toml")


@pytest.mark.parametrize("name", EXCHANGES)
def test_the_config_of_each_central_exchange_passes_without_a_network(tmp_path: Path, name: str) -> None:
    venue, host = EXCHANGES[name]
    code, found = checks(tmp_path, config(name), "--offline")
    assert code == 0
    assert not [each for each in found.values() if each[0] == "failed"]
    assert found[f"{venue} hosts"][0] == "ok"
    assert host in found[f"{venue} hosts"][1]
    assert found[f"{venue} signer"][0] == "warning"
    assert "hedgerow signer run" in found[f"{venue} signer"][1]
    assert found[f"{venue} key"][0] == "warning"  # nobody can know
    assert not (tmp_path / "state").exists()  # looking leaves nothing behind


def test_okx_is_asked_as_a_demo_by_a_header(tmp_path: Path) -> None:
    assert "x-simulated-trading: 1" in checks(tmp_path, config("okx-demo"), "--offline")[1]["okx hosts"][1]


@pytest.mark.parametrize("name", EXCHANGES)
def test_a_run_without_a_network_says_in_one_sentence_what_it_could_not_reach(
    tmp_path: Path, name: str
) -> None:
    venue, host = EXCHANGES[name]
    done = hedgerow(tmp_path, "run", config(name), "--set", "journal.path=state/x.sqlite")
    assert done.returncode == 1
    assert f"error: {venue} can't be reached at {host}: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "override", "check", "said"),
    [
        ("binance-demo", "cex.binance.service=testnet", "config", "binance has demo"),
        ("okx-demo", "execution.stop_loss=0.1", "okx stops", "no algo orders of OKX"),
        ("binance-demo", "strategies.0.plugin=carrots", "config", "carrots"),
        ("binance-demo", "watchdog.min_free_disk_mb=1e12", "journal folder", "MB"),
    ],
)
def test_what_is_wrong_fails_with_what_to_do(
    tmp_path: Path, name: str, override: str, check: str, said: str
) -> None:
    code, found = checks(tmp_path, config(name), "--offline", "--set", override)
    assert code == 1
    assert found[check][0] == "failed"
    assert said in found[check][1]


def test_a_paper_config_and_a_backtest_pass_too(tmp_path: Path) -> None:
    for name in ("paper", "paper-carry-spot", "paper-carry-cross", "hyperliquid-testnet"):
        mine = ["--set", f"venue.account={ACCOUNT}"] if name == "hyperliquid-testnet" else []
        code, found = checks(tmp_path, config(name), "--offline", *mine)
        assert (name, code) == (name, 0), found


def test_online_a_venue_that_does_not_answer_fails(tmp_path: Path) -> None:
    code, found = checks(tmp_path, config("hyperliquid-testnet"), "--set", f"venue.account={ACCOUNT}")
    assert code == 1
    failures = {check: said for check, (outcome, said) in found.items() if outcome == "failed"}
    assert failures
    assert any("api.hyperliquid-testnet.xyz" in said for said in failures.values()), failures
