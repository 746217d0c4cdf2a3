"""The backtest's benchmark runs and says what it promises; how fast is nobody's test."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "backtest.py"
PROMISED = {
    "wall_s",
    "bar_coins",
    "bar_coins_per_s",
    "peak_mib",
    "final_equity",
    "fills",
    "liquidations",
    "scaling",
    "versions",
    "cores",
}


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_it_measures_a_small_market_at_five_sizes_beside_the_plain_loop() -> None:
    done = bench("--coins", "4", "--hours", "800", "--repeat", "1")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) >= PROMISED
    assert (found["coins"], found["hours"], found["bar_coins"]) == (4, 800, 3_200)
    assert found["fills"] == found["plain_loop"]["fills"] > 0
    assert found["equity_difference"] < 1e-6
    assert 0 < found["peak_mib"] < 500
    sizes = [(row["coins"], row["hours"]) for row in found["scaling"]]
    assert sizes == [(4, 800), (2, 800), (8, 800), (4, 400), (4, 1600)]


def test_a_folder_without_the_tables_is_refused_in_one_sentence(tmp_path: Path) -> None:
    done = bench(str(tmp_path))
    assert done.returncode == 2
    assert "has no hl_candles_1h.parquet" in done.stderr
    assert "Traceback" not in done.stderr
