"""The signer as a program: its socket, its hardening, its files, and what it never says."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot.cli.signer import signer as command
from bot.signer import keystore, wallet
from bot.signer.client import Denied, Holding, Locked, Order, SignerClient, SignerGone
from bot.signer.policy import SignerConfigError
from tests.signer.program import PASSWORD, Running, pipe_of
from tests.signer.support import AGENT, POLICY, SECRET


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = wallet.create(tmp_path / "keys", "desk", "testnet", SECRET, PASSWORD, n=1 << 10)
    assert made.address == AGENT
    (tmp_path / "policy.toml").write_text(POLICY)
    (tmp_path / "policy.toml").chmod(0o600)
    return tmp_path


@contextlib.contextmanager
def running(folder: Path, *options: str) -> Iterator[Running]:
    started = Running(folder, *options)
    try:
        started.until("ready:")
        yield started
    finally:
        if started.process.poll() is None:
            started.end(signal.SIGKILL)


def prepare(client: SignerClient) -> None:
    now = time.time_ns() // 1_000_000
    client.prices({"BTC": "50000"}, now)
    client.positions({"BTC": Holding("0")}, open_orders=0, through_nonce=0, at_ms=now)


def one(cloid: int, size: str = "0.01") -> Order:
    return Order("BTC", "buy", size, "50000", f"0x{cloid:032x}", tif="Gtc")


def test_a_client_gets_signatures_refusals_and_the_lock(folder: Path) -> None:
    with running(folder) as signer, SignerClient(signer.socket) as client:
        assert (signer.socket.stat().st_mode & 0o777, signer.socket.parent.stat().st_mode & 0o777) == (
            0o600,
            0o700,
        )
        prepare(client)
        first, second = client.order([one(1)], 10_000), client.order([one(2)], 10_000)
        assert second.nonce > first.nonce
        assert json.loads(first.body)["nonce"] == first.nonce
        with pytest.raises(Denied) as denied:
            client.order([one(3), one(4, "0.06")], 10_000)
        assert (denied.value.rule, denied.value.limit, denied.value.value, denied.value.index) == (
            "order_usd",
            "2500",
            "3000",
            1,
        )
        with SignerClient(signer.socket) as other:
            assert other.status()["state"] == "ready"
            with pytest.raises(Denied, match="one_trader"):
                other.cancel([("BTC", 1)])
            other.lock()
        with pytest.raises(Locked):
            client.cancel([("BTC", 1)])
        assert signer.end() == 0
        assert not signer.socket.exists()
        with pytest.raises(SignerGone):
            client.status()


def test_a_killed_signer_starts_again_with_its_nonces_and_budgets(folder: Path) -> None:
    nonces: list[int] = []
    with running(folder) as signer, SignerClient(signer.socket) as client:
        prepare(client)
        nonces += [client.order([one(n)], 10_000).nonce for n in range(5)]
        left = client.status()["left"]["turnover_usd_per_day"]
        signer.end(signal.SIGKILL)
    with running(folder) as signer, SignerClient(signer.socket) as client:
        assert client.status()["left"]["turnover_usd_per_day"] == left == "47500"
        nonces += [client.cancel([("BTC", n)]).nonce for n in range(5)]
    assert nonces == sorted(set(nonces))


def test_the_key_and_the_password_appear_nowhere(folder: Path) -> None:
    with running(folder) as signer, SignerClient(signer.socket) as client:
        prepare(client)
        client.order([one(1)], 10_000)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as rude:
            rude.connect(str(signer.socket))
            rude.send(b'{"id":1,"do":"export_key"}')
            reply = rude.recv(65_536)
        signer.end()
        written = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    everything = b"\n".join([*written, reply, signer.output.encode()]).lower()
    assert b"forbidden" in everything
    for canary in (SECRET.hex().encode(), SECRET, SECRET[::-1].hex().encode(), PASSWORD.encode()):
        assert canary not in everything


def test_memory_and_environment_of_a_hardened_signer_are_closed_and_it_has_no_network(folder: Path) -> None:
    with running(folder) as signer:
        process = Path("/proc") / str(signer.process.pid)
        if "not dumpable: yes" in signer.output and os.geteuid() != 0:
            with pytest.raises(PermissionError):
                (process / "environ").read_bytes()
        if "no network: yes" in signer.output:
            assert (process / "ns" / "net").readlink() != Path("/proc/self/ns/net").readlink()
        status = (process / "status").read_text()
        assert ("Seccomp:\t2" in status) == ("system call filter: yes" in signer.output)
        assert ("NoNewPrivs:\t1" in status) == ("no new privileges: yes" in signer.output)


def test_the_system_call_filter_refuses_sockets_and_programs() -> None:
    code = (
        "import os, socket, hashlib\n"
        "from bot.signer.hardening import harden\n"
        "took = {m.name: m.took_effect for m in harden(frozenset({os.geteuid()}))}\n"
        "out = [took['system call filter']]\n"
        "for attempt in (lambda: socket.socket(), lambda: os.execv('/bin/true', ['true'])):\n"
        "    try: attempt(); out.append('done')\n"
        "    except PermissionError: out.append('refused')\n"
        "    except OSError as e: out.append(e.errno)\n"
        "hashlib.sha256(b''); open('/proc/self/stat').read()\n"
        "print(out)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    if done.stdout.startswith("[False"):
        pytest.skip("this kernel or machine has no filter")
    assert done.stdout.strip() == "[True, 'refused', 'refused']"


def test_a_second_signer_of_the_same_key_does_not_start(folder: Path) -> None:
    with running(folder):
        second = Running(folder)
        assert second.process.wait(timeout=30) == 2
        rest, _ = second.process.communicate()
        assert "another signer holds" in rest


def test_the_signer_starts_without_anything_heavy() -> None:
    code = "import bot.signer.program, sys; print(sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in (
        "'eth_account'",
        "'hyperliquid'",
        "'pydantic'",
        "'numpy'",
        "'ccxt'",
        "'bot.errors'",
        "'bot.model'",
    ):
        assert heavy not in modules


@pytest.mark.parametrize(("what", "mode"), [("policy.toml", 0o620), ("keys", 0o750), ("key", 0o640)])
def test_files_that_others_could_change_or_read_are_refused(folder: Path, what: str, mode: int) -> None:
    from bot.signer import policy

    stored = next((folder / "keys").glob("*.json"))
    (stored if what == "key" else folder / what).chmod(mode)

    def checked() -> None:
        policy.read(folder / "policy.toml")
        keystore.read(stored)

    with pytest.raises(SignerConfigError, match="others"):
        checked()


def test_keystores_are_those_of_other_wallets_both_ways(tmp_path: Path) -> None:
    from eth_account import Account

    ours = keystore.encrypt(SECRET, PASSWORD, n=1 << 10)
    theirs = Account.encrypt(SECRET, PASSWORD, kdf="scrypt", iterations=1 << 10)
    older = Account.encrypt(SECRET, PASSWORD, kdf="pbkdf2", iterations=1_000)

    assert Account.decrypt({"version": 3, "crypto": ours}, PASSWORD) == SECRET
    assert keystore.decrypt(theirs["crypto"], PASSWORD) == SECRET
    assert keystore.decrypt(older["crypto"], PASSWORD) == SECRET
    with pytest.raises(keystore.WrongPassword):
        keystore.decrypt(ours, "wrong password")


def unlocked(folder: Path, password: str = PASSWORD) -> Result:
    arguments = ["unlock", str(folder / "policy.toml"), "--keystore", str(next((folder / "keys").glob("*")))]
    arguments += ["--state", str(folder / "state"), "--password-fd", str(pipe_of(password))]
    return CliRunner().invoke(command, arguments)


def test_a_lock_is_taken_back_by_whoever_knows_the_password_while_the_signer_is_stopped(folder: Path) -> None:
    with running(folder) as signer, SignerClient(signer.socket) as client:
        with pytest.raises(Denied, match="forbidden"):
            client.request("withdraw3")
        assert "another signer holds" in str(unlocked(folder).exception)
        signer.end(signal.SIGKILL)
    with running(folder) as signer, SignerClient(signer.socket) as client:
        signer.until("LOCKED, so nothing is signed: it was asked for withdraw3; ")
        with pytest.raises(Locked, match="hedgerow signer unlock"):
            client.cancel([("BTC", 1)])
        signer.end()
    assert "does not open" in str(unlocked(folder, "not the password").exception)
    with running(folder) as signer, SignerClient(signer.socket) as client:
        with pytest.raises(Locked):
            client.cancel([("BTC", 1)])
        signer.end()
    assert unlocked(folder).output == "unlocked; it was locked because it was asked for withdraw3\n"
    assert unlocked(folder).output == "it was not locked\n"
    with running(folder) as signer, SignerClient(signer.socket) as client:
        assert client.cancel([("BTC", 1)]).nonce > 0
        signer.end()


def test_idle_connections_shut_out_nobody_and_never_whoever_trades(folder: Path) -> None:
    with running(folder) as signer, SignerClient(signer.socket) as trader, contextlib.ExitStack() as stack:
        assert trader.cancel([("BTC", 1)]).nonce > 0
        connection = trader._socket
        idle = []
        for _ in range(40):
            idle.append(stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)))
            idle[-1].connect(str(signer.socket))
            with SignerClient(signer.socket) as other:
                assert other.status()["state"] == "positions_unknown"
        assert trader.cancel([("BTC", 1)]).nonce > 0
        assert trader._socket is connection
        assert idle[0].recv(1) == b""  # hung up on
        idle[-1].send(b'{"id":1,"do":"status"}')
        assert b'"ok"' in idle[-1].recv(1 << 17)
