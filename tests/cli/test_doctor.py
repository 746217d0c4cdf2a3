"""`hedgerow doctor` and `hedgerow run` as processes that can look up no name: what they find out without a network."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bot.cli.doctor import doctor
from bot.devnet.start import Options, running
from bot.doctor import signers
from bot.doctor.accounts import accounts_of
from bot.journal.journal import Journal
from bot.settings import Settings
from bot.signer import keystore, wallet
from bot.signer.cex_signing import CexKey
from bot.signer.client import SignerClient
from tests.signer.cex_support import SECRET, key
from tests.signer.program import PASSWORD, Running
from tests.trader.daemon import ENVIRONMENT, REPOSITORY
from tests.venues.cex.desk import policy

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
SIGNS = "it answers at {} and signs for testnet with the API key {}"


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    encrypt = keystore.encrypt
    monkeypatch.setattr(keystore, "encrypt", lambda secret, password, _: encrypt(secret, password, 1 << 10))


@contextmanager
def signing(folder: Path, name: str, changes: Sequence[tuple[str, str]] = ()) -> Iterator[Running]:
    """A signer of the policy that ships for a config, with a key of its own."""
    mine = key(EXCHANGES[name][0])
    wallet.create_cex(folder / "keys", "testnet", mine, PASSWORD)
    text = (REPOSITORY / "config" / "policies" / f"{name}.toml").read_text()
    for old, new in [(f"0x{'0' * 40}", mine.address), *changes]:
        assert old in text
        text = text.replace(old, new)
    (folder / "policy.toml").write_text(text)
    signer = Running(folder)
    try:
        signer.until("ready")
        yield signer
    finally:
        signer.end()


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


def checks_here(*arguments: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """The same in this process, which has loaded the client library once: for what asks no network."""
    done = CliRunner().invoke(doctor, [*arguments, "--offline", "--json"])
    told: dict[str, Any] = json.loads(done.stdout)
    return done.exit_code, {each["check"]: (each["outcome"], each["said"]) for each in told["checks"]}


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
def test_a_run_without_its_signer_says_so_in_one_sentence(tmp_path: Path, name: str) -> None:
    done = hedgerow(tmp_path, "run", config(name), "--set", "journal.path=state/x.sqlite")
    assert done.returncode == 1
    socket = tmp_path / "hedgerow" / f"{EXCHANGES[name][0]}-testnet" / "sign.sock"
    assert f"error: the signer at {socket} does not answer" in done.stderr
    assert "start `hedgerow signer`" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", EXCHANGES)
def test_with_the_signer_of_the_policy_that_ships_all_is_well_and_only_the_network_is_missing(
    tmp_path: Path, name: str, cheap: None
) -> None:
    venue, host = EXCHANGES[name]
    with signing(tmp_path, name) as signer:
        here = ["--set", f"cex.{venue}.signer={signer.socket}"]
        code, found = checks(tmp_path, config(name), "--offline", *here)
        assert code == 0
        assert found[f"{venue} signer"] == ("ok", SIGNS.format(signer.socket, key(venue).address))
        assert found[f"{venue} policy"][0] == "ok"

        code, found = checks(tmp_path, config(name), *here)
        assert code == 1
        assert {check for check, (outcome, _) in found.items() if outcome == "failed"} == {f"{venue} answers"}
        assert host in found[f"{venue} answers"][1]

        done = hedgerow(tmp_path, "run", config(name), *here, "--set", "journal.path=state/x.sqlite")
        assert done.returncode == 1
        assert f"error: {venue} can't be reached at {host}: " in done.stderr
        assert "Traceback" not in done.stderr
    assert SECRET not in json.dumps(found) + done.stdout + done.stderr + signer.output


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("account.leverage=4", "account.leverage = 4 is above the 3 that the policy has for BTC"),
        (
            "execution.slippage_bps=101",
            "slippage_bps = 101 allows prices that collar_bps = 100 of BTC refuses",
        ),
        (
            "execution.slippage_bps=40",
            "slippage_bps = 40, up to 4 times it, allows prices that collar_reduce_bps = 150 of BTC refuses",
        ),
        ('cex.binance.coins=["BTC","SOL"]', "SOL is not in the policy, so add [symbols.SOLUSDT]"),
        ("execution.style=maker", "add leverage to the policy's allow"),
        ("execution.style=maker", 'execution.style = "maker" needs "Alo" in the policy\'s tif'),
        ("account.leverage=3", 'account.margin_mode = "cross" needs cross = true'),
    ],
)
def test_what_the_policy_would_refuse_is_told_before_it_does(
    tmp_path: Path, cheap: None, override: str, said: str
) -> None:
    tight = [
        ("cross = true\n", "" if "cross = true" in said else "cross = true\n"),
        ('"leverage", ', "" if "leverage to" in said else '"leverage", '),
        ("collar_reduce_bps = 600", f"collar_reduce_bps = {150 if 'collar_reduce' in said else 600}"),
        ('tif = ["Alo", ', "tif = [" if '"Alo"' in said else 'tif = ["Alo", '),
    ]
    with signing(tmp_path, "binance-demo", tight) as signer:
        here = ["--set", f"cex.binance.signer={signer.socket}", "--set", override]
        code, found = checks_here(config("binance-demo"), *here)
    assert code == 1
    assert found["binance policy"][0] == "failed"
    assert said in found["binance policy"][1]
    assert found["binance signer"][0] == "ok"


def test_a_hedge_that_is_tried_again_at_worse_prices_is_held_against_the_policys_collar() -> None:
    settings = Settings.model_validate(tomllib.loads(Path(config("binance-demo")).read_text()))
    tried = settings.execution.model_copy(update={"hedge_attempts": 4})
    limits = {"max_leverage": 3, "collar_bps": 100, "collar_reduce_bps": 600}
    told = {"allow": signers.ASKED[True], "tif": ["Ioc"], "cross": True, "limits": {"BTCUSDT": limits}}
    account = replace(accounts_of(settings)[0], coins=("BTC",))
    assert signers._refused(account, settings.model_copy(update={"execution": tried}), told) == []
    on_spreads = settings.model_copy(update={"execution": tried, "find_spreads": True})
    (said,) = signers._refused(account, on_spreads, told)
    assert "slippage_bps = 30, up to 4 times it, allows prices that collar_bps = 100 of BTC refuses" in said


def test_a_piece_of_a_spread_is_held_against_the_policys_largest_order() -> None:
    settings = Settings.model_validate(tomllib.loads(Path(config("binance-demo")).read_text()))
    on_spreads = settings.model_copy(update={"find_spreads": True})
    limits = {"max_position_usd": "1000000", "max_order_usd": "4999.99"}
    told = {"limits": {"BTCUSDT": limits}}
    account = replace(accounts_of(settings)[0], coins=("BTC",))

    def said(of: Settings, most_usd: str) -> list[str]:
        limits["max_order_usd"] = most_usd
        return [each for each in signers._tighter(account, of, told) if "max_unhedged_usd" in each]

    (sentence,) = said(on_spreads, "4999.99")
    assert (
        "max_unhedged_usd = 5000.0, what a spread is opened by at once, is above max_order_usd = 4999.99 of BTC"
        in sentence
    )
    assert said(on_spreads, "5000") == said(settings, "4999.99") == []


def test_a_position_larger_than_the_policys_is_a_warning(tmp_path: Path, cheap: None) -> None:
    with signing(tmp_path, "binance-demo") as signer:
        here = ["--set", f"cex.binance.signer={signer.socket}", "--set", "limits.max_position_usd=1501"]
        code, found = checks_here(config("binance-demo"), *here)
    assert code == 0
    assert found["binance policy"][0] == "warning"
    assert "1501 is above" in found["binance policy"][1]


def test_another_venues_signer_fails_and_so_does_one_that_is_locked(tmp_path: Path, cheap: None) -> None:
    with signing(tmp_path, "binance-demo") as signer:
        there = ["--set", f"cex.okx.signer={signer.socket}"]
        code, found = checks_here(config("okx-demo"), *there)
        assert code == 1
        assert "signs for binance; name the one of okx" in found["okx signer"][1]
        with SignerClient(signer.socket) as client:
            client.lock()
        here = ["--set", f"cex.binance.signer={signer.socket}"]
        code, found = checks_here(config("binance-demo"), *here)
        assert code == 1
        assert found["binance signer"][0] == "failed"
        assert "signs nothing" in found["binance signer"][1]
        assert "hedgerow signer unlock" in found["binance signer"][1]


def test_a_journal_in_use_or_of_another_kind_fails(tmp_path: Path) -> None:
    path = tmp_path / "desk.sqlite"
    here = [config("okx-demo"), "--set", f"journal.path={path}"]
    with Journal.open(path):
        code, found = checks_here(*here)
        assert code == 1
        assert f"(pid {os.getpid()}) is writing {path}" in found["journal"][1]
    code, found = checks_here(*here)
    assert code == 0
    assert "nobody is writing it" in found["journal"][1]
    path.write_text("something else entirely, long enough to be looked at as a file of SQLite's " * 20)
    code, found = checks_here(*here)
    assert code == 1
    assert "it is not a journal" in found["journal"][1]


def test_on_a_devnet_every_question_is_answered(tmp_path: Path, cheap: None) -> None:
    options = Options(coins=("BTC", "ETH"), history_h=2, flow=False, cex_port=0, cex_usdt=Decimal(5_000))
    with running(options) as devnet:
        site: Any = devnet.sites["cex"]
        account = site.accounts[0]
        mine = CexKey("binance", account["api_key"], account["api_secret"])
        wallet.create_cex(tmp_path / "keys", "devnet", mine, PASSWORD)
        (tmp_path / "policy.toml").write_text(policy(mine.address, {"BTCUSDT": 3, "ETHUSDT": 3}))
        signer = Running(tmp_path)
        try:
            signer.until("ready")
            told = {"network": "devnet", "url": site.url, "signer": str(signer.socket)}
            here = [part for key, value in told.items() for part in ("--set", f"cex.binance.{key}={value}")]
            code, found = checks(tmp_path, config("binance-demo"), *here)
        finally:
            signer.end()
    assert code == 0, found
    assert found["binance answers"][0] == found["binance contracts"][0] == found["binance policy"][0] == "ok"
    assert "holds 5000" in found["binance account"][1]
    assert account["api_secret"] not in json.dumps(found)
    assert "BTCUSDT, ETHUSDT are traded there" in found["binance contracts"][1]


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
