"""A sealed policy can be changed by whoever may write the file, and used only by whoever knows the password."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot.cli.signer import signer
from bot.signer import keystore, policy, seal, wallet
from bot.signer.policy import SignerConfigError
from tests.signer.program import PASSWORD, Running, pipe_of
from tests.signer.support import AGENT, POLICY, SECRET


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    wallet.create(tmp_path / "keys", "desk", "testnet", SECRET, PASSWORD, n=1 << 10)
    write(tmp_path, POLICY)
    return tmp_path


def write(folder: Path, text: str) -> None:
    (folder / "policy.toml").write_text(text)
    (folder / "policy.toml").chmod(0o600)


def sealed(folder: Path, password: str = PASSWORD) -> Result:
    (stored,) = keystore.listed(folder / "keys")
    arguments = ["policy", "seal", str(folder / "policy.toml"), "--keystore", str(stored.path)]
    return CliRunner().invoke(signer, [*arguments, "--password-fd", str(pipe_of(password))])


def start(folder: Path) -> str:
    """The line that says it is ready, or why it is not."""
    started = Running(folder)
    lines: list[str] = []
    assert started.process.stdout is not None
    for line in started.process.stdout:
        if line.startswith(("ready:", "error:")):
            lines.append(line)
            break
    started.end()
    return "".join(lines)


def test_a_policy_that_was_never_sealed_is_used_and_said_to_be_so(folder: Path) -> None:
    assert "NOT SEALED" in start(folder)


def test_a_sealed_policy_that_was_changed_is_refused_until_it_is_sealed_again(folder: Path) -> None:
    assert sealed(folder).exit_code == 0
    assert " sealed," in start(folder)

    write(folder, POLICY.replace("max_order_usd = 2500", "max_order_usd = 250000"))
    assert "is not the one that was sealed; look at what changed" in start(folder)
    assert "does not open" in str(sealed(folder, "not the password").exception)
    assert sealed(folder).exit_code == 0
    assert " sealed," in start(folder)


def test_a_seal_that_was_taken_away_is_missed(folder: Path) -> None:
    assert sealed(folder).exit_code == 0
    seal.path_of(folder / "policy.toml").unlink()
    assert "its seal is gone" in start(folder)


def test_every_changed_byte_of_policy_or_seal_and_every_other_key_break_it(folder: Path) -> None:
    path, other = folder / "policy.toml", bytes(range(1, 33))
    (stored,) = keystore.listed(folder / "keys")
    rules = policy.read(path)
    seal.make(path, rules, stored, SECRET)
    assert seal.check(path, rules, stored, SECRET)
    with pytest.raises(SignerConfigError, match="is not the one"):
        seal.check(path, rules, stored, other)
    changed = policy.parse(POLICY.replace("max_gross_usd = 15000", "max_gross_usd = 15001").encode())
    with pytest.raises(SignerConfigError, match="is not the one"):
        seal.check(path, changed, stored, SECRET)
    whole = seal.path_of(path).read_bytes()
    for place in range(len(whole) - 1):
        bent = bytearray(whole)
        bent[place] ^= 1
        seal.path_of(path).write_bytes(bytes(bent))
        with pytest.raises(SignerConfigError, match="is not the one"):
            seal.check(path, rules, stored, SECRET)


def test_a_policy_of_another_agent_is_not_sealed(folder: Path) -> None:
    write(folder, POLICY.replace(AGENT, "0x" + "12" * 20))
    assert "but the policy is for agent" in str(sealed(folder).exception)
    assert not seal.path_of(folder / "policy.toml").exists()
