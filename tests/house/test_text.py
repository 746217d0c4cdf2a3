import pytest

from bot.text import cell, is_coin, printable


@pytest.mark.parametrize("name", ["BTC", "kPEPE", "PURR/USDC", "@107", "xyz:GOLD", "A-B_c", "x" * 40])
def test_coins_of_the_venue_are_coins(name: str) -> None:
    assert is_coin(name)
    assert (printable(name), cell(name)) == (name, name)


@pytest.mark.parametrize(
    "name", ["", "x" * 41, "BTC\n", "B TC", "=cmd|' /C calc'!A0", "\x1b[31mBTC", "BTC,ETH", "ВТС"]
)
def test_other_names_are_not(name: str) -> None:
    assert not is_coin(name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("paid +23.4% — “so”, 中文", "paid +23.4% — “so”, 中文"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("two\nlines\r", r"two\nlines\r"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202eright to left", r"\u202eright to left"),
    ],
)
def test_no_terminal_acts_on_what_is_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+23.4% a year", "'+23.4% a year"),
        ("-2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", r"\t=1"),
        ("plain", "plain"),
        (-3.5, -3.5),
        (None, None),
    ],
)
def test_a_spreadsheet_runs_no_cell(value: object, written: object) -> None:
    assert cell(value) == written
