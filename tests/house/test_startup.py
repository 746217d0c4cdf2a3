"""The start-up benchmark runs and says what it promises; how fast is nobody's test."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "startup.py"


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_it_measures_help_status_a_daemons_first_cycle_and_its_memory() -> None:
    done = bench("--repeat", "1", "--speed", "7200")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {"help_ms", "status_ms", "ready_ms", "rss_mib", "versions", "cores"} <= set(found)
    assert 0 < found["help_ms"] < found["ready_ms"]
    assert 20 < found["rss_mib"] < 500


def test_a_senseless_wish_is_refused_in_one_line() -> None:
    done = bench("--repeat", "0")
    assert done.returncode == 2
    assert "--repeat must be at least 1" in done.stderr
    assert "Traceback" not in done.stderr
