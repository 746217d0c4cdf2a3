"""The devnet's benchmark runs and says what it promises; how fast is nobody's test."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "devnet.py"


@pytest.mark.slow
def test_it_measures_orders_time_and_memory() -> None:
    arguments = ["--orders", "80", "--hours", "2", "--rounds", "1", "--seconds", "0.5"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["orders"] == {"resting": 40, "filled": 40, "error": 0}
    assert found["cex_orders"] == {"resting": 0, "filled": 80, "error": 0}
    assert found["cores"] > 0
    assert set(found["cpu_us"]) == {
        f"{kept}{way}" for kept in ("", "kept_") for way in ("http", "ws", "ws_one_by_one", "cex")
    }
    assert all(found[f"{name}_orders_per_s"] > 0 for name in found["cpu_us"])
    assert found["time"]["hours"] == 2
    assert found["time"]["resident_mib"] > 0
    assert "python" in found["versions"]
