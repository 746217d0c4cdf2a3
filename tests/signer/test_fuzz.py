from tests.signer.fuzz import run


def test_nothing_outside_the_policy_is_signed_and_nothing_inside_it_refused() -> None:
    result = run(requests=10**9, seed=20_261, seconds=12)

    assert (result["escapes"], result["false_denials"], result["faults"]) == (0, 0, 0)
    assert result["signed"] > 200
    assert result["denied"] > 1_000
