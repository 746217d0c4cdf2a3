"""`hedgerow init` against a devnet: what it writes is enough for the signer to sign an order that the venue takes."""

import json
import os
import signal
import subprocess
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from eth_account import Account
from eth_account.messages import encode_typed_data

from bot import settings
from bot.cli.init import init
from bot.devnet.server import Server
from bot.devnet.start import Options, running
from bot.signer import keystore, policy
from bot.signer.client import Holding, Order, SignerClient
from tests.signer.program import HEDGEROW, PASSWORD, Running, pipe_of

COINS = ("BTC", "ETH")


@pytest.fixture
def devnet() -> Iterator[Server]:
    with running(Options(coins=COINS, history_h=2, flow=False)) as server:
        yield server


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    encrypt = keystore.encrypt
    monkeypatch.setattr(keystore, "encrypt", lambda secret, password, _: encrypt(secret, password, 1 << 10))


def post(url: str, path: str, body: bytes) -> Any:
    request = urllib.request.Request(url + path, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.loads(reply.read())


def asked(devnet: Server, kind: str, user: str) -> Any:
    return post(devnet.url, "/info", json.dumps({"type": kind, "user": user}).encode())


def run(devnet: Server, folder: Path, *options: str, typed: str = "", key: str | None = None) -> Result:
    """Ask nothing, unless an answer is typed."""
    arguments = ["--network", "devnet", "--url", devnet.url, "--folder", str(folder), *options]
    if not typed:
        arguments += ["--non-interactive", "--password-fd", str(pipe_of(PASSWORD))]
    if key is not None:
        arguments += ["--key-fd", str(pipe_of(key))]
    result = CliRunner().invoke(init, arguments, input=typed)
    for each in devnet.funded:
        assert each["private_key"][2:] not in result.output
    return result


def files(folder: Path) -> tuple[dict[str, Any], policy.Policy, keystore.Keystore]:
    """What was written, read as those who use it do."""
    config = tomllib.loads((folder / "hyperliquid-devnet.toml").read_text())
    (stored,) = keystore.listed(folder / "keys")
    return config, policy.read(folder / "signer-policy-devnet.toml"), stored


def sign_and_send(devnet: Server, folder: Path) -> Any:
    """Start a real signer on what was written, have it sign an order, send that; the venue's answer."""
    started = Running(folder, policy=folder / "signer-policy-devnet.toml")
    try:
        started.until("ready:")
        with SignerClient(started.socket) as client:
            now_ms, mark = time.time_ns() // 1_000_000, devnet.world.exchange.marks["BTC"]
            client.clock(now_ms)
            client.prices({"BTC": f"{mark:f}"}, now_ms)
            client.positions({"BTC": Holding("0")}, open_orders=0, through_nonce=0, at_ms=now_ms)
            size = (Decimal(100) / mark).quantize(Decimal("0.00001"))
            price = (mark * Decimal("1.005")).quantize(Decimal(1))
            order = Order("BTC", "buy", f"{size:f}", f"{price:f}", f"0x{now_ms:032x}", tif="Ioc")
            body = client.order([order], 10_000).body
        return post(devnet.url, "/exchange", body)
    finally:
        started.end(signal.SIGKILL)


def test_from_nothing_to_an_order_that_the_venue_fills(devnet: Server, tmp_path: Path) -> None:
    owner, key = devnet.funded[0]["address"], devnet.funded[0]["private_key"]
    result = run(devnet, tmp_path, "--account", owner, "--approve", "key", "--days", "30", key=key)
    assert result.exit_code == 0, result.output
    config, rules, stored = files(tmp_path)

    assert config["venue"] == {
        "kind": "hyperliquid",
        "network": "devnet",
        "url": devnet.url,
        "account": owner,
        "coins": ["BTC", "ETH"],
    }
    assert (rules.account, rules.vault, rules.agent) == (owner, None, stored.address)
    assert rules.assets == {"BTC": 0, "ETH": 1}
    ((name, address, until),) = [tuple(each.values()) for each in asked(devnet, "extraAgents", owner)]
    assert (name, address) == ("hedgerow", stored.address)
    assert until == rules.agent_valid_until_ms == stored.valid_until_ms
    assert {path: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")} == {
        tmp_path / "keys": 0o700,
        stored.path: 0o600,
        tmp_path / "hyperliquid-devnet.toml": 0o600,
        tmp_path / "signer-policy-devnet.toml": 0o600,
        tmp_path / "signer-policy-devnet.toml.seal": 0o600,
    }
    assert not any(key[2:].encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert (
        f"hedgerow signer run {tmp_path}/signer-policy-devnet.toml --keystore {stored.path}" in result.output
    )

    (status,) = sign_and_send(devnet, tmp_path)["response"]["data"]["statuses"]
    assert "filled" in status
    (held,) = asked(devnet, "clearinghouseState", owner)["assetPositions"]
    assert held["position"]["coin"] == "BTC"


def test_a_sub_account_trades_its_own_books(devnet: Server, tmp_path: Path, cheap: None) -> None:
    owner, key = devnet.funded[1]["address"], devnet.funded[1]["private_key"]
    sub = devnet.door.identities.create_sub_account(owner, "desk")
    assert sub is not None
    devnet.world.fund(sub, Decimal(1_000))
    result = run(devnet, tmp_path, "--account", sub, "--approve", "key", key=key)
    assert result.exit_code == 0, result.output
    config, rules, _ = files(tmp_path)

    assert (config["venue"]["account"], rules.account, rules.vault) == (sub, owner, sub)
    assert f"{sub} is a sub-account of {owner}, signed for by the agent hedgerow" in result.output
    assert "filled" in sign_and_send(devnet, tmp_path)["response"]["data"]["statuses"][0]
    assert asked(devnet, "clearinghouseState", owner)["assetPositions"] == []
    assert len(asked(devnet, "clearinghouseState", sub)["assetPositions"]) == 1


def test_a_wallet_elsewhere_signs_what_is_printed(devnet: Server, tmp_path: Path) -> None:
    owner, key = devnet.funded[0]["address"], devnet.funded[0]["private_key"]
    command = [*HEDGEROW, "init", "--network", "devnet", "--url", devnet.url, "--folder", str(tmp_path)]
    command += ["--account", owner, "--coins", "BTC", "--capital", "500", "--name", "desk"]
    read = pipe_of(PASSWORD)
    command += ["--approve", "wallet", "--password-fd", str(read)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, pass_fds=(read,)
    ) as process:  # fmt: skip
        os.close(read)
        assert process.stdin is not None
        assert process.stdout is not None
        payload = json.loads(next(line for line in process.stdout if line.startswith("{")))
        signed = Account.from_key(key).sign_message(encode_typed_data(full_message=payload))
        process.stdin.write(f"0x{signed.signature.hex().removeprefix('0x')}\n")
        process.stdin.flush()
        rest, complaints = process.communicate(timeout=60)

    assert process.returncode == 0, complaints
    assert payload["message"]["agentName"].startswith("desk valid_until ")
    assert "then, one terminal: hedgerow signer run" in rest
    assert [each["name"] for each in asked(devnet, "extraAgents", owner)] == ["desk"]


def test_everything_may_be_typed(devnet: Server, tmp_path: Path, cheap: None) -> None:
    owner, key = devnet.funded[2]["address"], devnet.funded[2]["private_key"]
    answers = [owner, "BTC", "300", "desk", "key", PASSWORD, PASSWORD, key]
    result = run(devnet, tmp_path, typed="\n".join(answers) + "\n")
    assert result.exit_code == 0, result.output
    config, rules, stored = files(tmp_path)

    assert config["venue"]["coins"] == ["BTC"]
    assert (rules.max_gross_usd_micro, stored.name, stored.approved) == (300 * 10**6, "desk", True)
    assert key[2:] not in result.output
    assert PASSWORD not in result.output


def test_the_rest_of_the_config_is_right_as_it_is(devnet: Server, tmp_path: Path, cheap: None) -> None:
    """Its [venue] and live mode are read by the daemon; all else by the same keys as any config's."""
    run(devnet, tmp_path, "--account", devnet.funded[0]["address"], "--approve", "later")
    lines = (tmp_path / "hyperliquid-devnet.toml").read_text()
    first, second = lines.index("[venue]"), lines.index("[account]")
    paper = tmp_path / "paper.toml"
    paper.write_text(
        lines[:first].replace('"live"', '"paper"') + '[market]\nsource = "synthetic"\n' + lines[second:]
    )

    assert settings.load(paper, environ={}).limits.max_position_usd == 400


def test_nothing_is_overwritten_without_a_yes(devnet: Server, tmp_path: Path, cheap: None) -> None:
    owner = devnet.funded[0]["address"]
    arguments = ("--account", owner, "--approve", "later")
    assert run(devnet, tmp_path, *arguments).exit_code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    refused = run(devnet, tmp_path, *arguments)
    assert refused.exit_code == 2
    assert "is there already. Replace it? Give --overwrite to say yes" in refused.output
    typed = run(devnet, tmp_path, *arguments, typed="BTC\n300\ndesk\nn\n")
    assert typed.exit_code == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert run(devnet, tmp_path, *arguments, "--overwrite").exit_code == 0
    assert len(keystore.listed(tmp_path / "keys")) == 2  # a key is never written over


def test_an_agent_that_a_new_one_would_end_is_not_ended_without_a_yes(
    devnet: Server, tmp_path: Path, cheap: None
) -> None:
    owner, key = devnet.funded[0]["address"], devnet.funded[0]["private_key"]
    first = run(devnet, tmp_path / "one", "--account", owner, "--approve", "key", key=key)
    assert first.exit_code == 0, first.output
    before = asked(devnet, "extraAgents", owner)

    second = run(devnet, tmp_path / "two", "--account", owner, "--approve", "key", key=key)
    assert "has an agent 'hedgerow' already; a new one ends it" in second.output
    assert not (tmp_path / "two").exists()
    assert asked(devnet, "extraAgents", owner) == before


def test_an_approval_that_fails_leaves_the_files_and_says_how_to_go_on(
    devnet: Server, tmp_path: Path, cheap: None
) -> None:
    owner, others = devnet.funded[0]["address"], devnet.funded[1]["private_key"]
    result = run(devnet, tmp_path, "--account", owner, "--approve", "key", key=others)
    _, _, stored = files(tmp_path)

    assert result.exit_code != 0
    assert f"the key entered is of {devnet.funded[1]['address']}, not of {owner}" in str(result.exception)
    assert f"go on with `hedgerow wallet approve-agent {stored.path} --send" in str(result.exception)
    assert not stored.approved


def test_saved_coins_are_taken_instead_of_the_venues(devnet: Server, tmp_path: Path, cheap: None) -> None:
    saved = tmp_path / "meta.json"
    rows = [{"name": n, "szDecimals": d, "maxLeverage": 10} for n, d in (("SOL", 2), ("ETH", 3), ("BTC", 4))]
    saved.write_text(json.dumps({"universe": rows}))
    folder = tmp_path / "desk"
    arguments = ("--account", devnet.funded[0]["address"], "--approve", "later", "--meta", str(saved))
    assert run(devnet, folder, *arguments).exit_code == 0
    _, rules, _ = files(folder)

    assert rules.assets == {"BTC": 2, "ETH": 1}
    assert {name: coin.size_decimals for name, coin in rules.coins.items()} == {"BTC": 4, "ETH": 3}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--account", "0x12"), "is no address"),
        (("--account", "0x" + "12" * 20), "is not known on devnet: deposit there first"),
        (("--account", "OWNER", "--coins", "BTC,NOPE"), "the venue lists no perpetual 'NOPE'"),
        (("--account", "OWNER", "--capital", "24"), "takes no order below $10"),
        (("--account", "OWNER", "--approve", "wallet"), "asks for a signature, and --non-interactive"),
        (("--account", "OWNER", "--approve", "key"), "--key-fd is missing, and --non-interactive"),
        (("--account", "OWNER", "--name", "seventeen-letters"), "must be 1 to 16 letters"),
        (("--account", "OWNER", "--url", "https://api.hyperliquid.xyz"), "is the server of mainnet"),
        ((), "--account is missing, and --non-interactive asks nothing"),
    ],
)
def test_a_wrong_answer_is_told_in_one_sentence(
    devnet: Server, tmp_path: Path, cheap: None, options: tuple[str, ...], words: str
) -> None:
    given = [devnet.funded[0]["address"] if each == "OWNER" else each for each in options]
    if "--approve" not in given:
        given += ["--approve", "later"]
    result = run(devnet, tmp_path, *given)

    assert result.exit_code != 0
    told = f"{result.output} {result.exception}"
    assert words in told


def test_an_agents_address_is_answered_with_the_one_it_acts_for(
    devnet: Server, tmp_path: Path, cheap: None
) -> None:
    owner, key = devnet.funded[0]["address"], devnet.funded[0]["private_key"]
    assert run(devnet, tmp_path, "--account", owner, "--approve", "key", key=key).exit_code == 0
    _, _, stored = files(tmp_path)
    again = run(devnet, tmp_path / "b", "--account", stored.address, "--approve", "later")

    assert f"is an agent's address; give the address it acts for, {owner}" in str(again.exception)
