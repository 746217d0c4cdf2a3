import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot.cli.wallet import wallet
from bot.signer import keystore, signing
from bot.signer import wallet as wallets
from bot.signer.expiry import expiry_warning
from tests.signer.support import AGENT, SECRET

MASTER = bytes(range(1, 33))
OWNER = signing.SigningKey(MASTER, "testnet").address
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    encrypt = keystore.encrypt
    monkeypatch.setattr(keystore, "encrypt", lambda secret, password, _: encrypt(secret, password, 1 << 10))


def run(*arguments: object, typed: str) -> Result:
    result = CliRunner().invoke(wallet, [str(each) for each in arguments], input=typed)
    assert MASTER.hex() not in result.output
    assert SECRET.hex() not in result.output
    return result


def made(folder: Path, network: str = "testnet") -> keystore.Keystore:
    return wallets.create(folder / "keys", "desk", network, SECRET, PASSWORD)


def test_a_new_key_is_encrypted_and_listed(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    result = run("new", "--name", "desk", "--network", "testnet", "--folder", keys, typed=f"{PASSWORD}\n" * 2)
    assert result.exit_code == 0, result.output
    (stored,) = keystore.listed(keys)

    assert (stored.path.stat().st_mode & 0o777, keys.stat().st_mode & 0o777) == (0o600, 0o700)
    secret = keystore.decrypt(stored.crypto, PASSWORD)
    assert signing.SigningKey(secret, "testnet").address == stored.address
    rows = json.loads(run("list", "--folder", keys, "--json", typed="").output)
    assert [(row["address"], row["state"]) for row in rows] == [(stored.address, "not approved")]


def test_an_address_is_never_used_twice(tmp_path: Path) -> None:
    wallets.mark_revoked(made(tmp_path))
    typed = f"0x{SECRET.hex()}\n{PASSWORD}\n{PASSWORD}\n"
    result = run(
        "import", "--name", "again", "--network", "testnet", "--folder", tmp_path / "keys", typed=typed
    )

    assert result.exit_code != 0
    assert "used once" in str(result.exception)


def test_the_master_key_signs_once_and_is_kept_nowhere(tmp_path: Path) -> None:
    stored = made(tmp_path)
    result = run("approve-agent", stored.path, "--days", 30, typed=f"{MASTER.hex()}\n")
    assert result.exit_code == 0, result.output
    body = json.loads(next(line for line in result.output.splitlines() if line.startswith("{")))

    action = body["action"]
    assert action["agentAddress"] == AGENT
    assert action["agentName"] == f"desk valid_until {body['nonce'] + 30 * 86_400_000}"
    digest = signing.user_signed_digest(action)
    assert signing.recover(digest, signing.Signature(**body["signature"])) == OWNER
    assert MASTER.hex() not in stored.path.read_text()


def test_a_wallet_elsewhere_signs_the_printed_payload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eth_account import Account
    from eth_account.messages import encode_typed_data

    stored = made(tmp_path)
    monkeypatch.setattr(wallets, "now_ms", lambda: 1_790_000_000_000)
    payload = wallets.approval(AGENT, "desk", "testnet", 90).typed_data
    signed = Account.from_key(MASTER).sign_message(encode_typed_data(full_message=payload)).signature.hex()
    arguments = ("approve-agent", stored.path, "--external", "--account", OWNER)

    result = run(*arguments, typed=f"{signed}\n")
    assert result.exit_code == 0, result.output
    printed = [json.loads(line) for line in result.output.splitlines() if line.startswith("{")]
    assert printed[0] == payload
    assert printed[1]["signature"]["v"] in {27, 28}
    other = run("approve-agent", stored.path, "--external", "--account", AGENT, typed=f"{signed}\n")
    assert "sign with the account's key" in str(other.exception)


def test_a_revoked_key_is_not_approved_again(tmp_path: Path) -> None:
    stored = made(tmp_path)
    assert run("revoke", stored.path, typed=f"{MASTER.hex()}\n").exit_code == 0
    assert keystore.read(stored.path).revoked

    result = run("approve-agent", stored.path, typed=f"{MASTER.hex()}\n")
    assert "was revoked" in str(result.exception)


def test_a_mistyped_key_is_not_repeated_in_the_complaint(tmp_path: Path) -> None:
    stored = made(tmp_path)
    result = run("approve-agent", stored.path, typed=f"{MASTER.hex()}zz\n")

    assert "64 hex digits" in str(result.exception)
    assert MASTER.hex()[:16] not in str(result.exception)


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (14.1, None),
        (14.0, "14.0 days; rotate it soon"),
        (7.0, "7.0 days; rotate it this week"),
        (1.0, "within a day, in 24.0 hours"),
        (0.5, "in 12.0 hours"),
        (-1.0, "has expired"),
    ],
)
def test_an_approval_that_ends_soon_is_warned_of(days: float, words: str | None) -> None:
    warning = expiry_warning(int(days * 86_400_000) + 10**12, 10**12)

    assert warning is None if words is None else words in (warning or "")
