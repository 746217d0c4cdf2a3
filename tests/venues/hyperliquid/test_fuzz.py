"""Spoilt replies are read or refused, never anything else; and contexts read quickly are those read exactly."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.errors import DataError
from bot.venues.hyperliquid import contexts
from bot.venues.hyperliquid.wire import decode
from tests.venues.hyperliquid.fuzz_frames import Spoiler, fuzz, resident_mib
from tests.venues.hyperliquid.shapes import (
    CONTEXT,
    CONTEXTS,
    META,
    SILENT,
    UNIVERSE,
    Shape,
    made,
    packed,
    recorded,
)

FRAMES = 120_000
REPLIES = 100_000


@pytest.fixture
def fixtures(real_data: Path) -> Path:
    folder = real_data.parent / "fixtures" / "hyperliquid"
    if not folder.is_dir():
        pytest.skip(f"no recorded replies in {folder}")
    return folder


def held_together(shapes: list[Shape], frames: int) -> tuple[int, int]:
    """How many were read quickly, and how many exactly and not quickly."""
    spoiler, quickly, exactly = Spoiler(7), 0, 0
    for number in range(frames):
        body = spoiler.spoil(shapes[number % len(shapes)].body)
        quick = contexts.read_quickly(body)
        try:
            known, exact = contexts.read_exactly(decode(body, contexts.REPLY))
        except DataError:
            assert quick is None, body
            continue
        if quick is None:
            exactly += 1
            continue
        quickly += 1
        assert quick[0] == known, body
        assert quick[1].unread == exact.unread, body
        for place in set(range(len(exact))) - exact.unread.keys():
            assert quick[1][place] == exact[place], body
        assert np.array_equal(quick[1].values, exact.values, equal_nan=True), body
        assert np.array_equal(np.signbit(quick[1].values), np.signbit(exact.values)), body
    return quickly, exactly


@pytest.mark.slow
def test_spoilt_frames_of_every_shape_are_read_or_refused_and_leave_nothing_behind() -> None:
    shapes = made()
    fuzz(shapes, FRAMES // 10, 3)
    before_mib = resident_mib()
    result = fuzz(shapes, FRAMES, 4)
    assert result.uncaught == []
    assert result.by_shape.keys() == {shape.name for shape in shapes}
    assert result.refused > FRAMES // 3
    assert resident_mib() - before_mib < 10


@pytest.mark.real_data
def test_spoilt_frames_of_recorded_shapes_are_read_or_refused(fixtures: Path) -> None:
    shapes = recorded(fixtures)
    assert len(shapes) >= 20
    assert fuzz(shapes, 20_000, 5).uncaught == []


@pytest.mark.slow
def test_contexts_read_quickly_are_those_read_exactly_and_what_one_way_refuses_the_other_does() -> None:
    meta = {"universe": UNIVERSE[1:], "marginTables": []}
    shapes = [
        Shape("all", packed(CONTEXTS), contexts.read),
        Shape("two", packed([meta, [CONTEXT, SILENT]]), contexts.read),
        Shape("no nulls", packed([meta, [CONTEXT, CONTEXT]]), contexts.read),
    ]
    quickly, exactly = held_together(shapes, REPLIES)
    assert quickly > REPLIES // 10
    assert exactly > REPLIES // 100


@pytest.mark.real_data
def test_recorded_contexts_are_read_quickly_and_the_same(fixtures: Path) -> None:
    body = packed(json.loads((fixtures / "meta" / "metaAndAssetCtxs.json").read_bytes()))
    assert contexts.read_quickly(body) is not None
    quickly, _ = held_together([Shape("recorded", body, contexts.read)], 200)
    assert quickly > 20


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("markPx", "NaN", r"\[1\]\[0\].markPx should be a decimal number"),
        ("markPx", "1e5", r"markPx should be a decimal number"),
        ("markPx", "１", "markPx should be a decimal number"),
        ("markPx", "1_0", "markPx should be a decimal number"),
        ("markPx", "01", "markPx should be a decimal number"),
        ("markPx", "1,2", "markPx should be a decimal number"),
        ("markPx", "", "markPx should be a decimal number"),
        ("markPx", 5, "markPx should be text"),
        ("markPx", None, "markPx should be text"),
        ("markPx", "0.0", "markPx should be a price above 0"),
        ("oraclePx", "-1.0", "oraclePx should be a price above 0"),
        ("oraclePx", "1000000000.00000000000000000001", "oraclePx is beyond what can be"),
        ("midPx", "-0.0", "midPx should be a price above 0"),
        ("openInterest", "-1.0", "openInterest can't be negative"),
        ("openInterest", "1000000000000000.1", "openInterest is beyond what can be"),
        ("funding", "0.50000000000000000001", "funding is beyond what can be"),
        ("premium", "null", "premium should be a decimal number"),
        ("premium", "-10.1", "premium is beyond what can be"),
    ],
)
def test_one_bad_value_is_refused_by_its_field(key: str, value: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        contexts.read(packed([META, [CONTEXT | {key: value}, CONTEXT, SILENT]]))[1][0]


@pytest.mark.parametrize(
    "odd", [{"oraclePx": "0.0"}, {"markPx": None}, {"midPx": "-1.0"}, {"premium": "11.0"}, {"funding": 7}]
)
def test_a_coin_that_can_not_be_read_is_unread_and_the_others_are_not(odd: dict[str, Any]) -> None:
    body = packed([META, [CONTEXT, CONTEXT | odd, SILENT]])
    known, exact = contexts.read_exactly(decode(body, contexts.REPLY))
    for found in (exact, contexts.read(body)[1]):
        assert list(found.unread) == [1]
        assert next(iter(odd)) in found.unread[1]
        assert np.isnan(found.values[:, 1]).all()
        assert list(found.text("mark")) == [CONTEXT["markPx"], None, CONTEXT["markPx"]]
        assert (found[0].mark, found[2].oracle) == (Decimal("66303.2"), Decimal("66330.3"))
        with pytest.raises(DataError, match=r"\[1\]\[1\]"):
            found[1]
    assert known.unread == {}


def test_prices_that_can_not_be_are_passed_over_quickly_too() -> None:
    gone = SILENT | {"oraclePx": "0.0", "markPx": "0.0"}
    quick = contexts.read_quickly(packed([META, [CONTEXT, CONTEXT, gone]]))
    assert quick is not None
    assert list(quick[1].unread) == [2]


def test_a_listing_of_a_new_kind_is_unread_in_both_ways() -> None:
    meta = META | {"universe": [*UNIVERSE[:2], {"name": "NEW", "szDecimals": {"base": 2}}]}
    body = packed([meta, [CONTEXT, CONTEXT, SILENT]])
    quick = contexts.read_quickly(body)
    assert quick is not None
    exact = contexts.read_exactly(decode(body, contexts.REPLY))
    assert quick[0] == exact[0]
    assert list(quick[0].unread) == ["NEW"]


def test_a_key_given_twice_is_refused_also_where_it_is_not_read_or_spelt_otherwise() -> None:
    for key in (b'"markPx":"1.0"', b'"dayNtlVlm":"1.0"', b'"mark\\u0050x":"1.0"', b'"new":1,"new":2'):
        body = packed(CONTEXTS).replace(b'{"funding"', b"{" + key + b',"funding"', 1)
        with pytest.raises(DataError, match="stands twice"):
            contexts.read(body)


def test_a_field_the_venue_adds_costs_speed_and_nothing_else() -> None:
    body = packed([META, [CONTEXT | {"new": {"a": 1}}, CONTEXT, SILENT]])
    assert contexts.read_quickly(body) is None
    assert contexts.read(body)[1][0].mark == contexts.read(packed(CONTEXTS))[1][0].mark


def test_a_universe_is_read_again_where_a_byte_of_it_changed() -> None:
    first, _ = contexts.read(packed(CONTEXTS))
    again, _ = contexts.read(packed(CONTEXTS))
    other, _ = contexts.read(packed(CONTEXTS).replace(b'"szDecimals":5', b'"szDecimals":4'))
    assert again is first
    assert (first.instruments[0].size_decimals, other.instruments[0].size_decimals) == (5, 4)
