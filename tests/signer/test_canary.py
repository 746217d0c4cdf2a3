"""A key that was never seen before is put in, everything that can fail is made to, and all that was written is searched.

Processes, their output, command lines, environments, files, sockets' answers and core dumps; the key in each form in
which it might slip out.
"""

import base64
import contextlib
import json
import os
import resource
import secrets
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from bot.signer import signing, wallet
from bot.signer.client import Holding, Order, SignerClient, SignerError
from tests.signer.program import HEDGEROW, PASSWORD, Running, pipe_of
from tests.signer.support import AGENT, POLICY


def forms(secret: bytes) -> dict[str, bytes]:
    """A secret as it might be written. Searched without regard to case."""
    digits = secret.hex()
    standard, url = base64.b64encode(secret), base64.urlsafe_b64encode(secret)
    return {
        "raw": secret,
        "raw, reversed": secret[::-1],
        "hex": digits.encode(),
        "hex, reversed": digits[::-1].encode(),
        "bytes reversed, hex": secret[::-1].hex().encode(),
        "first 8 digits": digits[:8].encode(),
        "last 8 digits": digits[-8:].encode(),
        "base64": standard.rstrip(b"="),
        "base64 for URLs": url.rstrip(b"="),
        "base64, one byte further": base64.b64encode(b"x" + secret)[4:40],
        "base64, two bytes further": base64.b64encode(b"xx" + secret)[4:40],
        "decimal": str(int.from_bytes(secret, "big")).encode(),
        "Python's bytes": repr(secret)[2:-1].encode(),
        "a list of numbers": ", ".join(map(str, secret)).encode(),
    }


def leaks(text: bytes, secret: bytes) -> list[str]:
    """The forms of a secret that stand in a text."""
    lower = text.lower()
    return [name for name, form in forms(secret).items() if form in text or form.lower() in lower]


class Collected:
    """Everything that was written by anybody."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pieces: list[bytes] = []

    def process(self, pid: int) -> None:
        """What others may see of a running program."""
        for what in ("cmdline", "environ", "status", "maps"):
            with contextlib.suppress(PermissionError):
                self.pieces.append((Path("/proc") / str(pid) / what).read_bytes())

    def whole(self) -> bytes:
        """All of it, and every file below the folder."""
        files = [path.read_bytes() for path in self.folder.rglob("*") if path.is_file()]
        return b"\n".join([*self.pieces, *files])


@pytest.fixture
def canary() -> bytes:
    return secrets.token_bytes(32)


@pytest.fixture
def collected(tmp_path: Path) -> Collected:
    return Collected(tmp_path)


def setup(folder: Path, secret: bytes, **changed: str) -> str:
    """A keystore and a policy; the agent's address."""
    made = wallet.create(folder / "keys", "desk", "testnet", secret, PASSWORD, n=1 << 10)
    text = POLICY.replace(AGENT, made.address)
    for old, new in changed.items():
        text = text.replace(old, new)
    (folder / "policy.toml").write_text(text)
    (folder / "policy.toml").chmod(0o600)
    return made.address


@pytest.mark.parametrize("form", forms(bytes(range(32))))
def test_the_search_finds_the_key_in_every_form(form: str) -> None:
    secret = bytes(range(32))
    assert form in leaks(b"log line " + forms(secret)[form] + b" and more", secret)


def rude(path: Path) -> list[bytes]:
    """Packets that no client sends, and what is answered."""
    packets = [
        b"",
        b"\x00" * 100,
        b"{" * 5_000,
        b"x" * 20_000,
        b'{"id":1,"do":"status","key":1}',
        b'{"id":1,"do":"order","orders":[],"grouping":"na","expires_in_ms":1}',
        b'{"id":1e999,"do":"status"}',
        b'{"id":1,"do":"export_key"}',
        b'{"id":2,"do":"sign_hash","hash":"0x00"}',
    ]
    replies = []
    for packet in packets:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(10)
            connection.connect(str(path))
            connection.send(packet)
            if packet:
                replies.append(connection.recv(1 << 17))
    return replies


def trade(client: SignerClient) -> list[bytes]:
    """A signature, and every kind of refusal a client meets, as it shows it."""
    now_ms = time.time_ns() // 1_000_000
    told: list[bytes] = []

    def one(number: int, **keys: str) -> Order:
        asked = {"coin": "BTC", "size": "0.01", "price": "50000"} | keys
        return Order(asked["coin"], "buy", asked["size"], asked["price"], f"0x{number:032x}", tif="Gtc")

    client.prices({"BTC": "50000"}, now_ms)
    client.positions({"BTC": Holding("0")}, open_orders=0, through_nonce=0, at_ms=now_ms)
    told.append(client.order([one(1)], 10_000).body)
    told.append(json.dumps(client.status()).encode())
    for order in (one(1), one(2, size="9"), one(3, price="90000"), one(4, coin="DOGE"), one(5, size="1e5")):
        with pytest.raises(SignerError) as error:
            client.order([order], 10_000)
        told.append(repr(error.value).encode())
    with pytest.raises(SignerError) as error:
        client.leverage("BTC", 50, is_cross=True)
    return [*told, str(error.value).encode()]


def test_a_running_signers_key_and_password_are_nowhere(collected: Collected, canary: bytes) -> None:
    setup(collected.folder, canary)
    signer = Running(collected.folder)
    signer.until("ready:")
    collected.process(signer.process.pid)
    with SignerClient(signer.socket) as client:
        collected.pieces += trade(client)
        collected.process(signer.process.pid)
    collected.pieces += rude(signer.socket)
    signer.end()
    collected.pieces.append(signer.output.encode())

    everything = collected.whole()
    assert b"forbidden" in everything
    assert leaks(everything, canary) == []
    assert PASSWORD.encode() not in everything


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV, signal.SIGQUIT, signal.SIGKILL])
def test_a_signer_that_crashes_leaves_no_core_and_no_key(
    collected: Collected, canary: bytes, number: signal.Signals
) -> None:
    """Core dumps are wanted by this process, and so by its children: the signer itself gives them up."""
    setup(collected.folder, canary)
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    before = Path.cwd()
    resource.setrlimit(resource.RLIMIT_CORE, (limits[1], limits[1]))
    # A shell's background jobs ignore SIGQUIT, and so would the signer.
    quits = signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    try:
        os.chdir(collected.folder)
        signer = Running(collected.folder, environment={"PYTHONFAULTHANDLER": "1", "PYTHONPATH": str(before)})
        signer.until("ready:")
        with SignerClient(signer.socket) as client:
            trade(client)
        assert signer.end(number) == -number
    finally:
        os.chdir(before)
        signal.signal(signal.SIGQUIT, quits)
        resource.setrlimit(resource.RLIMIT_CORE, limits)
    collected.pieces.append(signer.output.encode())

    assert [path for path in collected.folder.rglob("*") if "core" in path.name] == []
    assert leaks(collected.whole(), canary) == []


def test_a_signer_whose_disk_is_full_says_so_and_nothing_of_the_key(
    collected: Collected, canary: bytes
) -> None:
    setup(collected.folder, canary)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500, limits[1]))
    try:
        signer = Running(collected.folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signer.until("ready:")
    refusals = []
    with SignerClient(signer.socket) as client:
        for number in range(40):
            try:
                client.cancel([("BTC", number)])
            except SignerError as error:
                refusals.append(repr(error).encode())
    signer.end(signal.SIGTERM)
    collected.pieces += [signer.output.encode(), *refusals]

    assert refusals
    assert leaks(collected.whole(), canary) == []


@pytest.mark.parametrize(
    "fault",
    ["wrong password", "no password", "another agent", "torn keystore", "bad policy", "log tampered with", "socket taken"],
)  # fmt: skip
def test_a_start_that_fails_says_nothing_of_the_key(collected: Collected, canary: bytes, fault: str) -> None:
    folder = collected.folder
    address = setup(folder, canary)
    password = {"wrong password": PASSWORD + "!", "no password": "\n"}.get(fault, PASSWORD)
    if fault == "another agent":
        text = (folder / "policy.toml").read_text()
        (folder / "policy.toml").write_text(text.replace(address, "0x" + "12" * 20))
    elif fault == "torn keystore":
        stored = next((folder / "keys").glob("*.json"))
        stored.write_text(stored.read_text()[:-40])
    elif fault == "bad policy":
        (folder / "policy.toml").write_text("network = \n")
    elif fault == "log tampered with":
        (folder / "state").mkdir(mode=0o700)
        (folder / "state" / "audit.jsonl").write_text('{"sequence":1}\n')
    elif fault == "socket taken":
        (folder / "run").mkdir(mode=0o700)
        (folder / "run" / "sign.sock").write_text("no socket")
    signer = Running(folder, "--debug", password=password)
    output, _ = signer.process.communicate(timeout=60)
    collected.pieces.append(output.encode())

    assert signer.process.returncode == 2, output
    assert "Traceback" in output  # --debug was heard
    everything = collected.whole()
    assert leaks(everything, canary) == []
    assert PASSWORD.encode() not in everything.replace(b"wrong password", b"")


def test_a_masters_key_that_is_typed_is_nowhere_whatever_becomes_of_it(
    collected: Collected, canary: bytes
) -> None:
    folder = collected.folder
    setup(folder, secrets.token_bytes(32))
    stored = str(next((folder / "keys").glob("*.json")))
    owner = signing.SigningKey(canary, "testnet").address
    digits = canary.hex()
    approve = ("wallet", "approve-agent", stored, "--debug")
    nobody = "http://127.0.0.1:9"  # the port of discard, where nobody answers
    runs: list[tuple[tuple[str, ...], str]] = [
        (approve, digits),  # prints the signed body
        ((*approve, "--url", nobody), f"0x{digits}"),
        ((*approve, "--url", "http://example.invalid"), digits),
        ((*approve, "--account", "0x" + "12" * 20), digits),
        (approve, digits + "00"),
        (approve, digits[:-1] + "g"),
        ((*approve, "--external", "--account", owner), f"0x{digits}"),  # in the signature's place
        (("wallet", "import", "--name", "x" * 40, "--network", "testnet", "--folder", str(folder / "keys"), "--debug"), digits),
        (("wallet", "revoke", stored, "--debug", "--url", nobody), digits),
    ]  # fmt: skip
    codes = []
    for arguments, typed in runs:
        done = subprocess.run(
            [*HEDGEROW, *arguments],
            input=f"{typed}\n{PASSWORD}\n{PASSWORD}\n".encode(),
            capture_output=True,
            timeout=60,
            check=False,
        )
        codes.append(done.returncode)
        collected.pieces += [done.stdout, done.stderr]
    init = [
        "init",
        "--network",
        "devnet",
        "--url",
        nobody,
        "--account",
        owner,
        "--non-interactive",
        "--debug",
    ]
    read = pipe_of(digits)
    done = subprocess.run(
        [*HEDGEROW, *init, "--key-fd", str(read)], capture_output=True, timeout=60, check=False, pass_fds=(read,)
    )  # fmt: skip
    os.close(read)
    collected.pieces += [done.stdout, done.stderr]

    assert codes[0] == 0
    assert 0 not in [*codes[1:], done.returncode]
    assert leaks(collected.whole(), canary) == []
