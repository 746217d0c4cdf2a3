"""A slice of the fuzz, and whether it bites. All of it: `python -m tests.signer.fuzz`, `python -m tests.signer.mutants`."""

import ast
import sys
from pathlib import Path

import pytest

from tests.signer.fuzz import run
from tests.signer.mutants import found

QUICKLY_FOUND = (
    "a sell's collar has the wrong sign",
    "an order is valued at the better price",
    "rates allow one more",
    "orders of a batch do not add up",
    "a nonce comes twice",
)


def test_nothing_outside_the_policy_is_signed_and_nothing_inside_it_refused() -> None:
    result = run(requests=60_000, seed=20_261)

    assert (result["escapes"], result["false_denials"], result["faults"]) == (0, 0, 0)
    assert result["signed"] > 5_000
    assert result["denied"] > 30_000


@pytest.mark.parametrize("bug", QUICKLY_FOUND)
def test_a_bug_in_a_rule_is_found(bug: str) -> None:
    result = found(bug, requests=10_000)
    assert result["escapes"] + result["false_denials"] == 1


def test_the_oracle_shares_no_code_with_the_signer() -> None:
    tree = ast.parse((Path(__file__).parent / "oracle.py").read_text())
    imported = {item.name for node in ast.walk(tree) if isinstance(node, ast.Import) for item in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names
