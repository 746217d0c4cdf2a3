from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.model.attempt import MOVES, PROOFS, Attempt, AttemptState, Evidence, IllegalMove, Proof
from bot.model.order import Purpose, Side

S = AttemptState
EXPIRES_MS = 1_700_000_015_000

# Written out by hand from the picture of an order's life; the module's own table is not read here.
LEGAL = {
    (S.INTENT, S.SENT),
    (S.SENT, S.ACKED),
    (S.SENT, S.PARTIAL),
    (S.SENT, S.FILLED),
    (S.SENT, S.CANCELED),
    (S.SENT, S.REJECTED),
    (S.SENT, S.UNKNOWN),
    (S.UNKNOWN, S.ACKED),
    (S.UNKNOWN, S.PARTIAL),
    (S.UNKNOWN, S.FILLED),
    (S.UNKNOWN, S.CANCELED),
    (S.UNKNOWN, S.REJECTED),
    (S.UNKNOWN, S.FENCED),
    (S.UNKNOWN, S.EXPIRED),
    (S.ACKED, S.PARTIAL),
    (S.ACKED, S.FILLED),
    (S.ACKED, S.CANCELED),
    (S.ACKED, S.REJECTED),
    (S.PARTIAL, S.PARTIAL),
    (S.PARTIAL, S.FILLED),
    (S.PARTIAL, S.CANCELED),
}
FINAL = {S.FILLED, S.CANCELED, S.REJECTED, S.FENCED, S.EXPIRED}
WORD = {Proof.REPLY, Proof.STATUS}
KNOWN_BY = {
    S.ACKED: WORD,
    S.PARTIAL: {*WORD, Proof.FILLS},
    S.FILLED: {*WORD, Proof.FILLS},
    S.CANCELED: WORD,
    S.REJECTED: {*WORD, Proof.NOT_SENT},
    S.UNKNOWN: {Proof.NO_ANSWER},
    S.FENCED: {Proof.FENCE},
    S.EXPIRED: {Proof.EXPIRY},
}


def attempt(state: AttemptState = S.INTENT, filled: int = 0) -> Attempt:
    evidence = Evidence(Proof.REPLY, 1, filled_lots=filled) if filled else None
    return Attempt(
        "0xb0",
        "d-BTC-entry",
        "d",
        "BTC",
        Side.BUY,
        10,
        "60000",
        False,
        Purpose.ENTRY,
        1_700_000_000_000,
        EXPIRES_MS,
        "ab" * 32,
        1_700_000_000_001,
        state=state,
        evidence=evidence,
    )


def evidence(proof: Proof, filled: int = 0, at_ms: int = EXPIRES_MS + 10_001) -> Evidence:
    return Evidence(proof, at_ms, filled_lots=filled)


def lots_for(state: AttemptState) -> int:
    return 4 if state is S.PARTIAL else 0


def test_the_table_of_moves_is_the_picture() -> None:
    assert {(before, after) for before, many in MOVES.items() for after in many} == LEGAL
    assert set(MOVES) == set(S)
    assert {state for state in S if state.is_final} == FINAL


def test_every_state_but_the_first_two_is_known_by_some_evidence_and_no_other() -> None:
    assert {state: set(proofs) for state, proofs in PROOFS.items()} == KNOWN_BY


@pytest.mark.parametrize(("before", "after"), list(product(S, S)), ids=lambda state: state.value)
def test_each_move_is_made_with_its_evidence_or_raises(before: AttemptState, after: AttemptState) -> None:
    it = attempt(before, filled=2 if before is S.PARTIAL else 0)
    for proof in Proof:
        told = evidence(proof, lots_for(after))
        if before is after and after is not S.PARTIAL:
            assert it.moved(after, told) is it
        elif (
            (before, after) in LEGAL
            and proof in KNOWN_BY.get(after, ())
            and (proof is not Proof.NOT_SENT or before is S.SENT)
        ):
            moved = it.moved(after, told)
            assert moved.state is after
            assert moved.evidence is not None
            assert (moved.evidence.proof, moved.evidence.at_ms) == (proof, told.at_ms)
        else:
            with pytest.raises(IllegalMove, match=r"attempt 0xb0 \(d-BTC-entry\)"):
                it.moved(after, told)


def test_an_attempt_is_sent_once_and_by_a_numbered_owner() -> None:
    sent = attempt().sent(7)
    assert (sent.state, sent.epoch, sent.evidence) == (S.SENT, 7, None)
    for state in set(S) - {S.INTENT}:
        with pytest.raises(IllegalMove, match="an attempt is made once"):
            attempt(state).sent(7)


@pytest.mark.parametrize(("late_ms", "is_over"), [(-1, False), (0, False), (1, True)])
def test_only_the_venues_clock_beyond_the_expiry_ends_it(late_ms: int, is_over: bool) -> None:
    told = evidence(Proof.EXPIRY, at_ms=EXPIRES_MS + late_ms)
    unknown = attempt(S.UNKNOWN)
    if is_over:
        assert unknown.moved(S.EXPIRED, told).state is S.EXPIRED
    else:
        with pytest.raises(IllegalMove, match="has not expired"):
            unknown.moved(S.EXPIRED, told)


def test_what_never_expires_can_not_have_expired() -> None:
    with pytest.raises(IllegalMove, match="has not expired"):
        replace(attempt(S.UNKNOWN), expires_ms=None).moved(S.EXPIRED, evidence(Proof.EXPIRY))


@pytest.mark.parametrize(
    ("before", "state", "told", "known"),
    [
        (0, S.PARTIAL, 4, 4),
        (4, S.PARTIAL, 6, 6),
        (6, S.PARTIAL, 4, 6),  # told with delay: nothing that was filled is unfilled
        (6, S.CANCELED, 0, 6),
        (6, S.CANCELED, 7, 7),
        (0, S.CANCELED, 0, 0),
        (6, S.FILLED, 0, 10),
        (0, S.FILLED, 10, 10),
    ],
)
def test_lots_filled_only_grow(before: int, state: AttemptState, told: int, known: int) -> None:
    it = attempt(S.PARTIAL if before else S.ACKED, before)
    assert it.moved(state, evidence(Proof.STATUS, told)).filled_lots == known


@pytest.mark.parametrize(
    ("state", "told"), [(S.PARTIAL, 0), (S.PARTIAL, 10), (S.PARTIAL, 11), (S.CANCELED, 11), (S.CANCELED, -1)]
)
def test_lots_that_can_not_be_are_refused(state: AttemptState, told: int) -> None:
    with pytest.raises(IllegalMove, match=f"with {told} of 10 lots"):
        attempt(S.ACKED).moved(state, evidence(Proof.STATUS, told))


@given(
    st.lists(
        st.tuples(st.sampled_from(list(S)), st.sampled_from(list(Proof)), st.integers(0, 10)), max_size=30
    )
)
def test_whatever_is_told_in_whatever_order_an_end_is_an_end_and_has_evidence(
    told: list[tuple[AttemptState, Proof, int]],
) -> None:
    it = attempt().sent(1)
    for state, proof, filled in told:
        before = it
        try:
            it = it.moved(state, evidence(proof, filled))
        except IllegalMove:
            continue
        assert it.filled_lots >= before.filled_lots
        if before.state.is_final:
            assert it is before
        if it is not before:
            assert (before.state, it.state) in LEGAL
    if it.state.is_final:
        assert it.evidence is not None
        assert it.evidence.proof in KNOWN_BY[it.state]
