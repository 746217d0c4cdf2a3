"""The desktop's keyring as a way to unlock: the library is the real one, its backend keeps a file of the test's."""

import subprocess
import sys
from pathlib import Path

import pytest

from bot.signer import remembered, wallet
from bot.signer.policy import SignerConfigError
from tests.signer.program import HEDGEROW, PASSWORD, Running
from tests.signer.support import AGENT, POLICY, SECRET

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    (tmp_path / "policy.toml").write_text(POLICY)
    (tmp_path / "policy.toml").chmod(0o600)
    return wallet.create(tmp_path / "keys", "desk", "testnet", SECRET, PASSWORD, n=1 << 10).path


@pytest.fixture
def desktop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("keyring")
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "tests.signer.memory_keyring.Keyring")
    monkeypatch.setenv("HEDGEROW_TEST_KEYRING", str(tmp_path / "ring.json"))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    return tmp_path / "ring.json"


def hedgerow(*arguments: object, typed: str = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*HEDGEROW, *map(str, arguments)],
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert PASSWORD not in done.stdout + done.stderr
    return done


def test_a_remembered_password_unlocks_until_it_is_forgotten(stored: Path, desktop: Path) -> None:
    remember = hedgerow("wallet", "remember", stored, typed=f"{PASSWORD}\n")
    assert remember.returncode == 0, remember.stderr
    started = Running(stored.parent.parent, "--keyring")
    started.until("ready:")
    assert started.end() == 0

    assert hedgerow("wallet", "forget", stored).returncode == 0
    again = Running(stored.parent.parent, "--keyring")
    assert again.process.wait(timeout=30) == 2
    assert "the keyring holds no password" in again.process.communicate()[0]
    assert "holds no password" in hedgerow("wallet", "forget", stored).stderr


def test_a_wrong_password_is_not_remembered(stored: Path, desktop: Path) -> None:
    done = hedgerow("wallet", "remember", stored, typed="something else\n")
    assert (done.returncode, desktop.exists()) == (2, False)
    assert "does not open this keystore" in done.stderr


def test_the_signers_own_process_loads_no_keyring() -> None:
    code = "import bot.cli.signer, bot.signer.program, bot.signer.remembered, sys; print(sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "'bot.signer.remembered'" in modules
    assert "keyring'" not in modules.replace("'bot.signer.remembered'", "")


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        ("keyring.backends.fail.Keyring", "has no desktop keyring that is running; type the password"),
        ("keyring.backends.null.Keyring", "has no desktop keyring that is running; type the password"),
        ("tests.signer.memory_keyring.PlaintextKeyring", "would write the password down as it is"),
    ],
)
def test_without_a_keyring_to_trust_it_says_what_to_do_instead(
    stored: Path, desktop: Path, monkeypatch: pytest.MonkeyPatch, backend: str, words: str
) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", backend)
    done = hedgerow("wallet", "remember", stored, typed=f"{PASSWORD}\n")
    assert done.returncode == 2
    assert words in done.stderr
    assert not desktop.exists()


def test_a_backend_that_fails_is_told_without_what_it_held(
    stored: Path, desktop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEDGEROW_TEST_KEYRING", "/nowhere/ring.json")
    done = hedgerow("wallet", "remember", stored, typed=f"{PASSWORD}\n")
    assert "the keyring refused (FileNotFoundError); unlock it, or type the password" in done.stderr


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(SignerConfigError, match=r"install hedgerow\[keyring\], or type the password"):
        remembered.recall(AGENT)


def test_only_one_way_to_unlock_may_be_named(stored: Path) -> None:
    done = hedgerow("signer", "run", "p", "--keystore", stored, "--keyring", "--password-env", "X")
    assert done.returncode == 2
    assert "give one of --password-fd, --keyring and --password-env" in done.stderr
