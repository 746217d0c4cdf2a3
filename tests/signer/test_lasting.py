"""What lasts over a restart beside nonces and budgets, and what passes with the disk's being full."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bot.signer import audit, kept
from bot.signer.kept import Kept
from bot.signer.limits import Limits
from bot.signer.policy import SignerConfigError
from bot.signer.server import Server, listen
from tests.signer.support import START_MS, Desk, changed, order

CANCEL = {"cancels": [{"coin": "BTC", "oid": 1}], "fast": False}


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


# The lock


def test_a_lock_outlives_a_restart_with_its_reason(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.ready()
    assert desk.rule("withdraw3") == "forbidden"
    for _ in range(2):
        desk.again()
        assert desk.rule("cancel", **CANCEL) == "locked"
        status = desk.ask("status")["ok"]
        assert (status["state"], status["reason"]) == ("locked", "it was asked for withdraw3")
        assert "hedgerow signer unlock" in status["remedy"]


def test_a_lock_that_was_asked_for_outlives_a_restart(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert desk.rule("lock") == "ok"
    desk.again()
    assert desk.ask("cancel", **CANCEL)["locked"]["reason"] == "it was asked to lock"


def test_a_policy_that_does_not_lock_has_nothing_to_keep(tmp_path: Path) -> None:
    desk = Desk(tmp_path, changed(lock_on_forbidden=False))
    assert desk.rule("withdraw3") == "forbidden"
    desk.again()
    assert desk.rule("cancel", **CANCEL) == "ok"


def test_a_fault_locks_until_a_restart_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path)
    monkeypatch.setattr(Limits, "check_cancels", None)
    assert desk.ask("cancel", **CANCEL)["locked"]["remedy"] == "stop it and start it again"
    monkeypatch.undo()
    desk.again()
    assert desk.rule("cancel", **CANCEL) == "ok"


def test_a_lock_on_a_full_disk_holds_and_is_written_down_when_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path)
    desk.ready()
    monkeypatch.setattr(desk.audit, "append", full)
    assert desk.rule("withdraw3") == "forbidden"
    assert desk.rule("cancel", **CANCEL) == "locked"
    desk.engine.tick()
    monkeypatch.undo()
    desk.engine.tick()
    desk.engine.tick()
    desk.again()

    assert desk.rule("cancel", **CANCEL) == "locked"
    kinds = [record["kind"] for record in audit.read(tmp_path / "audit.jsonl")]
    assert kinds == ["start", "lock", "start"]


def test_a_line_of_an_older_version_that_kept_no_lock_locks_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.audit.append({"kind": "lock", "pid": 7})
    desk.again()
    assert desk.rule("cancel", **CANCEL) == "ok"


# Reference prices


def test_a_restart_lets_prices_step_no_further_than_the_time_that_passed(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.ready(btc="50000")
    desk.again()
    desk.wait(10)
    told = {"at_ms": desk.wall_ms}
    # 50 bps a second over 10 ms: 0.5 bps of 50,000 = 2.5
    assert desk.rule("prices", prices={"BTC": "240000"}, **told) == "reference_step"
    assert desk.rule("prices", prices={"BTC": "50002.6"}, **told) == "reference_step"
    assert desk.order(order()) == "reference"  # of before the restart; no order may rest on it
    assert desk.rule("prices", prices={"BTC": "50002.5"}, **told) == "ok"
    assert desk.rule("prices", prices={"BTC": "49999"}, at_ms=START_MS - 1) == "reference_order"


def test_a_long_time_away_makes_the_step_as_wide_as_it_would_be_without_a_restart(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.ready(btc="50000")
    desk.wait(3_600_000)
    desk.again()
    assert desk.rule("prices", prices={"BTC": "100000"}, at_ms=desk.wall_ms) == "ok"


def test_the_latest_price_is_what_is_kept_once_there_was_a_moment_to_write_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.ready(btc="50000")
    desk.wait(1_000)
    desk.ready(btc="50200")
    desk.engine.tick()
    desk.engine.kept.write()
    desk.again()
    assert desk.rule("prices", prices={"BTC": "50200.1"}, at_ms=desk.wall_ms) == "reference_step"
    assert desk.rule("prices", prices={"BTC": "50200"}, at_ms=desk.wall_ms) == "ok"


def test_a_price_of_a_clock_that_was_ahead_does_not_shut_out_the_right_ones(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.wall_ms += 86_400_000
    desk.again()
    desk.ready()
    desk.wall_ms -= 86_400_000
    desk.again()
    desk.wait(10)
    assert desk.rule("prices", prices={"BTC": "240000"}, at_ms=desk.wall_ms) == "reference_step"
    assert desk.rule("prices", prices={"BTC": "50001"}, at_ms=desk.wall_ms) == "ok"


def test_what_is_kept_of_a_coin_that_the_policy_no_longer_has_is_let_go(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.ready()
    desk.text = desk.text[: desk.text.index("[coins.ETH]")]
    desk.again()
    desk.wait(1)
    assert desk.rule("prices", prices={"BTC": "50000"}, at_ms=desk.wall_ms) == "ok"
    assert desk.engine.limits.memory(desk.wall_ms).references.keys() == {"BTC"}


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"references": 3}', '{"references": {"BTC": [1]}}'])
def test_a_damaged_file_ends_a_start_and_says_what_removing_it_means(tmp_path: Path, text: str) -> None:
    (tmp_path / "kept").write_text(text)
    with pytest.raises(SignerConfigError, match="first prices are taken without a step's limit"):
        Desk(tmp_path)


def test_what_cannot_be_kept_is_kept_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path)
    monkeypatch.setattr(kept, "replace_durably", full)
    desk.ready()
    assert desk.order(order()) == "ok"
    with pytest.raises(OSError, match="No space"):
        desk.engine.kept.write()
    monkeypatch.undo()
    desk.engine.kept.write()
    assert Kept(tmp_path / "kept").memory.references["BTC"] == (5_000_000_000_000, START_MS)


# Denials


def test_reducing_lasts_as_long_with_a_restart_as_without(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.ready()
    assert [desk.order(order(coin="DOGE")) for _ in range(20)] == ["coin"] * 20
    desk.again()
    desk.ready()
    assert desk.order(order()) == "reducing"
    assert desk.order(order("sell", reduce_only=True)) == "ok"
    desk.wait(600_000)
    desk.ready()
    assert desk.order(order()) == "ok"


def test_a_restart_does_not_begin_a_new_count_of_denials(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.ready()
    assert [desk.order(order(coin="DOGE")) for _ in range(15)] == ["coin"] * 15
    desk.engine.tick()
    desk.engine.kept.write()
    desk.again()
    desk.ready()
    assert [desk.order(order(coin="DOGE")) for _ in range(5)] == ["coin"] * 5
    assert desk.order(order()) == "reducing"


def test_denials_of_a_clock_that_was_ahead_leave_only_reducing_no_longer_than_others(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.wall_ms += 30_000
    assert [desk.rule("nonsense") for _ in range(20)] == ["unknown_request"] * 20
    desk.wall_ms -= 30_000
    desk.again()
    desk.ready()
    assert desk.order(order()) == "reducing"
    desk.wait(600_000)
    desk.ready()
    assert desk.order(order()) == "ok"


# A full disk


@contextmanager
def serving(desk: Desk, said: list[str]) -> Iterator[Server]:
    """A server of the desk's engine that nobody runs: its syncs are the test's."""
    listening = listen(desk.folder / "run" / "s")
    server = Server(listening, desk.engine, desk.audit, frozenset({os.geteuid()}), said.append)
    try:
        yield server
    finally:
        server._selector.close()
        os.close(server._wake_read)
        os.close(server._wake_write)
        listening.close()


@pytest.mark.parametrize("what", ["the log", "its head"])
def test_while_a_disk_is_full_nothing_is_signed_and_afterwards_all_is_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    desk, said = Desk(tmp_path), list[str]()
    desk.ready()
    with serving(desk, said) as server:
        assert desk.rule("cancel", **CANCEL) == "ok"
        monkeypatch.setattr(*((os, "fdatasync") if what == "the log" else (audit, "replace_durably")), full)
        for _ in range(3):
            server._sync()
            assert [desk.rule("cancel", **CANCEL) for _ in range(10)] == ["storage"] * 10
            assert desk.order(order("sell", reduce_only=True)) == "storage"
        assert desk.ask("status")["ok"]["state"] == "storage"
        assert desk.ask("status")["ok"]["reason"] == "No space left on device"
        monkeypatch.undo()
        server._sync()
        # No denial of those counts: the disk was to blame, and nothing is left to reduce only for.
        assert desk.rule("cancel", **CANCEL) == "ok"
        assert desk.order(order()) == "ok"
        server._sync()
    assert said == [
        "nothing is signed: the audit log cannot be written (No space left on device)",
        "the audit log can be written again",
    ]
    records = list(audit.read(tmp_path / "audit.jsonl", audit.read_head(tmp_path / "head")))
    assert [record["kind"] for record in records] == ["start", "sign", "sign", "sign"]
    assert json.loads((tmp_path / "head").read_text())["sequence"] == 4


def test_lines_that_a_failed_sync_has_lost_are_written_again_before_anything_is_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path)
    desk.ready()
    desk.audit.sync()
    durable = (tmp_path / "audit.jsonl").stat().st_size
    assert [desk.rule("cancel", **CANCEL) for _ in range(3)] == ["ok"] * 3
    whole = (tmp_path / "audit.jsonl").read_bytes()
    monkeypatch.setattr(os, "fdatasync", full)
    with pytest.raises(OSError, match="No space"):
        desk.audit.sync()
    with (tmp_path / "audit.jsonl").open(
        "r+b"
    ) as file:  # as a kernel that has dropped what it could not write
        file.seek(durable)
        file.write(b"\0" * (len(whole) - durable))
    monkeypatch.undo()
    desk.audit.sync()

    assert (tmp_path / "audit.jsonl").read_bytes() == whole
    assert desk.rule("cancel", **CANCEL) == "ok"
    desk.audit.sync()
    assert audit.verify(tmp_path / "audit.jsonl", audit.read_head(tmp_path / "head")).sequence == 5


def test_a_full_disk_does_not_end_the_idle_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path)
    assert desk.rule("cancel", **CANCEL) == "ok"
    desk.wait(5_000)
    monkeypatch.setattr(os, "fdatasync", full)
    desk.engine.tick()
    assert desk.rule("cancel", **CANCEL) == "storage"
    monkeypatch.undo()
    assert desk.rule("cancel", **CANCEL) == "ok"


def test_closing_on_a_full_disk_closes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = audit.AuditLog(tmp_path / "audit.jsonl")
    log.append({"kind": "start"})
    monkeypatch.setattr(os, "fdatasync", full)
    log.close()
    assert audit.verify(tmp_path / "audit.jsonl").sequence == 1
