"""A few seconds of `tests.signer.cex_fuzz`, and that its judge does find a signer that is too kind."""

from typing import Any

import pytest

from tests.signer.cex_fuzz import run


def test_nothing_escapes_the_policy() -> None:
    found = run(24_000, seed=7)
    assert found["escapes"] == 0
    assert found["signed"] > 1_000
    assert found["restarts"] > 10


@pytest.mark.parametrize(
    "weaker",
    [
        {"max_order_usd": 3_000},
        {"collar_bps": 100},
        {"orders_per_min": 1_000, "max_open_orders": 5_000, "turnover_usd_per_day": 10**9},
        {"reference_max_age_ms": 8_000},
    ],
    ids=str,
)
def test_the_judge_finds_a_signer_with_a_weaker_policy(weaker: dict[str, Any]) -> None:
    assert run(6_000, seed=7, **weaker)["escapes"] > 0
