"""What docs/devnet.md shows runs, and what it lists is there."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from bot.cli.devnet import devnet
from bot.devnet.account_actions import ACTIONS
from bot.devnet.faults import Chaos
from bot.devnet.start import Options, build, ready_line

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "devnet.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(
    ("number", "printed"), [(0, "'filled'"), (1, "('long', 0.01)"), (2, "('long', 0.01)")]
)
def test_the_examples_run_as_they_stand(number: int, printed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EXAMPLES[number]], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert printed in done.stdout
    assert len(EXAMPLES) == 3


def test_every_option_fault_and_ready_field_is_explained() -> None:
    for option in devnet.params:
        assert f"`{option.opts[0]}" in PAGE or f"{option.opts[0]} " in PAGE, option.opts[0]
    for fault in fields(Chaos):
        assert f"`{fault.name}`" in PAGE, fault.name
    for field in ready_line(build(Options(coins=("BTC",), history_h=4, cex_port=0))):
        assert f"`{field}`" in PAGE, field


def test_every_action_of_accounts_that_does_something_is_listed() -> None:
    silent = {"twapOrder", "twapCancel", "agentSetAbstraction"}
    for name in set(ACTIONS) - silent:
        assert f"`{name}`" in PAGE, name
