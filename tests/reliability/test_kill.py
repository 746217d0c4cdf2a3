"""A few rounds of kill -9 among real processes, and whether the comparison bites. All: `python -m tests.reliability.kill`."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.reliability import kill
from tests.reliability.books import Gathered, Verdict, compare

ROUNDS = 3


@pytest.mark.slow
def test_killed_daemons_and_signers_lose_and_double_nothing_and_what_is_lost_would_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[tuple[Path, Path, str, Gathered]] = []

    def compared(*given: Any) -> Verdict:
        kept.append(given)
        return compare(*given)

    monkeypatch.setattr(kill, "compare", compared)
    shown = kill.run(ROUNDS, 7, 200, tmp_path / "world")
    assert (shown["lost"], shown["doubled"], shown["wrong"]) == (0, 0, 0), shown["examples"]
    assert shown["killed"] == {"daemon": 1, "signer": 1, "both": 1}
    assert shown["fills"] > 10
    assert shown["fills_before"] == 200

    ((journal, state, account, gathered),) = kept
    damages = {
        "DELETE FROM fill WHERE trade_id = (SELECT min(trade_id) FROM fill)": "lost",
        "DELETE FROM funding WHERE time_ms = (SELECT min(time_ms) FROM funding)": "lost",
        "UPDATE fill SET trade_id = trade_id + 1 WHERE trade_id = (SELECT min(trade_id) FROM fill)": "doubled",
        "UPDATE orders SET lots = lots - 1 WHERE status = 'filled' AND decision_id IS NOT NULL": "doubled",
        "UPDATE balance SET usd = usd + '0.000001' WHERE account = 'CASH'": "wrong",
        "UPDATE position SET lots = lots + 1": "wrong",
        "UPDATE attempt SET state = 'unknown' WHERE rowid = (SELECT max(rowid) FROM attempt)": "wrong",
    }
    for number, (damage, kind) in enumerate(damages.items()):
        copy = Path(shutil.copy(journal, tmp_path / f"{number}.sqlite"))
        with closing(sqlite3.connect(copy)) as connection, connection:
            assert connection.execute(damage).rowcount > 0, damage
        assert getattr(compare(Path(copy), state, account, gathered), kind) > 0, damage
