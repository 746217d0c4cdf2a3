"""What `doctor` makes of versions, clocks and the accounts of a config."""

from importlib.metadata import version
from pathlib import Path

import pytest

from bot import settings
from bot.clock import parse_utc
from bot.doctor import here
from bot.doctor.accounts import accounts_of
from bot.doctor.finding import Outcome, failed, has_failed, ok, warning
from bot.doctor.times import offset

REPOSITORY = Path(__file__).resolve().parents[2]


def config(name: str, *overrides: str) -> settings.Settings:
    return settings.load(REPOSITORY / "config" / f"{name}.toml", overrides, {})


@pytest.mark.parametrize(
    ("bounds", "is_met"),
    [
        ("", True),
        (">=0.0.1", True),
        (">=9999", False),
        ("<9999,>=1", True),
        (">=0.1,<0.2", False),
        (f">={version('click')}", True),
        (f"<{version('click')}", False),
    ],
)
def test_a_version_is_held_against_every_bound(bounds: str, is_met: bool) -> None:
    assert (not list(here.unmet([f"click{bounds}"], ()))) is is_met


def test_numbers_of_versions_are_compared_as_numbers_and_zeros_at_the_end_are_none() -> None:
    assert here.release("4.5.90") > here.release("4.5.9") > here.release("4.5") == here.release("4.5.0")
    assert here.release("2.0rc1") == here.release("2")


def test_only_the_packages_that_the_config_needs_are_missed() -> None:
    lines = [
        'absent-one>=1; extra == "cex"',
        'absent-two; extra == "dev"',
        "click>=8",
        'hedgerow[cex]; extra == "dev"',
    ]
    assert list(here.unmet(lines, ("cex",))) == ["absent-one is not installed (>=1 is needed)"]
    assert list(here.unmet(lines, ())) == []
    assert here.extras_of(config("backtest-carry")) == ()
    assert here.extras_of(config("paper")) == ("hyperliquid",)
    assert here.extras_of(config("okx-demo")) == ("hyperliquid", "cex")


@pytest.mark.parametrize(
    ("offset_ms", "outcome", "said"),
    [
        (0, Outcome.OK, "0.000 s ahead of"),
        (1_999, Outcome.OK, "1.999 s behind"),
        (-1_999, Outcome.OK, "1.999 s ahead of"),
        (2_000, Outcome.FAILED, "2.000 s behind"),
        (-90_000, Outcome.FAILED, "90.000 s ahead of"),
    ],
)
def test_a_clock_that_is_off_by_the_watchdogs_bound_fails(
    offset_ms: int, outcome: Outcome, said: str
) -> None:
    found = offset("okx", config("okx-demo"), offset_ms, is_simulated=False)
    assert found.outcome is outcome
    assert said in found.said
    assert offset("okx", config("okx-demo"), offset_ms, is_simulated=True).outcome is Outcome.OK


@pytest.mark.parametrize("moment", ["2025-12-31T23:59:59Z", "2100-01-01"])
def test_a_time_that_cannot_be_fails(moment: str, tmp_path: Path) -> None:
    loaded = config("okx-demo", f"journal.path={tmp_path}/x.sqlite")
    found = {each.check: each.outcome for each in here.disk_and_journal(loaded, parse_utc(moment))}
    assert found["clock"] is Outcome.FAILED
    assert found["journal"] is Outcome.OK


def test_a_folder_that_cannot_be_made_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    loaded = config("okx-demo", f"journal.path={tmp_path}/file/x.sqlite", f"logs.file={tmp_path}/logs/x.log")
    found = {each.check: each for each in here.disk_and_journal(loaded, parse_utc("2026-11-25"))}
    assert found["journal folder"].outcome is Outcome.FAILED
    assert "is not a folder" in found["journal folder"].said
    assert found["log folder"].outcome is Outcome.OK
    assert not (tmp_path / "logs").exists()


def test_each_account_has_the_socket_that_its_signer_has_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    (one,) = accounts_of(config("bybit-testnet"))
    assert (one.name, one.is_cex, one.instruments) == ("bybit", True, ("bybit:BTC", "bybit:ETH"))
    assert one.signer == Path("/run/user/7/hedgerow/bybit-testnet/sign.sock")
    both = accounts_of(config("hyperliquid-testnet", 'cex.okx={ coins = ["BTC"], signer = "/x/okx.sock" }'))
    assert [(each.name, str(each.signer)) for each in both] == [
        ("hyperliquid", "/run/user/7/hedgerow/testnet/sign.sock"), ("okx", "/x/okx.sock"),
    ]  # fmt: skip
    assert accounts_of(config("paper")) == ()


def test_only_what_failed_fails() -> None:
    assert not has_failed([ok("a", ""), warning("b", "")])
    assert has_failed([ok("a", ""), failed("b", "")])
