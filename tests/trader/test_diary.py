"""The story of each position: since when, what funding it has brought, and why it was opened."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np

from bot.model.account import MarginMode
from bot.model.decision import AccountView, Decision, Opinion, OrderPlan, Targets
from bot.model.instrument import simple_instrument
from bot.model.order import FundingPayment
from bot.trader.attribution import Attribution
from bot.trader.diary import NO_OPINION, Story, by_strategy, equity_point
from bot.venues.venue import AccountState, HeldPosition

D = Decimal
AAA, BBB = simple_instrument("AAA", 2, 10), simple_instrument("BBB", 0, 10)
COLUMNS = {"AAA": 0, "BBB": 1}


def position(lots: int, opened_ms: int, instrument: str = "AAA") -> HeldPosition:
    of = AAA if instrument == "AAA" else BBB
    notional = of.notional(lots, D(110))
    return HeldPosition(of, lots, D(100), D(110), notional, D(10), None, MarginMode.CROSS, opened_ms)


def account(*positions: HeldPosition) -> AccountState:
    view = AccountView(1000.0, np.zeros(2, np.int64), np.zeros(2), np.ones(2))
    mark = np.array([110.0, 50.0])
    return AccountState(view, mark, D(1000), D(900), D(1000), D("3.5"), D(2), positions)


def decision(because: str, *by: Sequence[int]) -> Decision:
    """Two strategies that answer for these lots of AAA and BBB, `because` said by both."""
    parts = np.array(by or ((100, 0), (0, 0)), dtype=np.int64)
    targets = Targets(parts.sum(axis=0), parts)
    opinions = tuple(
        Opinion(np.ones(2), f"{because} of {name}", {}, np.ones(2, dtype=np.bool_)) for name in "ab"
    )
    return Decision("x", 0, opinions, targets, targets, (), OrderPlan())


def paid(usd: str, instrument: str = "AAA", at_ms: int = 0) -> FundingPayment:
    return FundingPayment(at_ms, instrument, 100, D(110), D("0.0001"), D(usd))


def told(story: Story, now: AccountState, said: Decision) -> list[tuple[str, int, int, Decimal, str]]:
    facts = story.tell(now, said, ("carry", "fade"), COLUMNS)
    return [(each.instrument, each.lots, each.opened_ms, each.funding_usd, each.because) for each in facts]


def test_a_position_keeps_the_reason_it_was_opened_for_and_gathers_its_funding() -> None:
    story = Story()
    assert told(story, account(position(100, 5)), decision("first")) == [
        ("AAA", 100, 5, D(0), "carry: first of a")
    ]
    story.hear([paid("1.25"), paid("-0.5"), paid("9", "BBB")])  # BBB is not held
    assert told(story, account(position(150, 5)), decision("second")) == [
        ("AAA", 150, 5, D("0.75"), "carry: first of a")
    ]


def test_what_is_paid_while_a_position_is_being_opened_is_its_own() -> None:
    story = Story()
    story.hear([paid("1", at_ms=5), paid("0.25", at_ms=6), paid("0.5", at_ms=9), paid("7", "BBB", 6)])
    assert told(story, account(position(100, 5)), decision("first"))[0][3] == D("0.75")
    story.hear([paid("1", at_ms=12)])
    assert told(story, account(position(100, 5)), decision("first"))[0][3] == D("1.75")
    story.hear([paid("3", at_ms=15), paid("4", at_ms=21)])
    assert told(story, account(position(-100, 20)), decision("short"))[0][3] == D(4)


def test_a_position_that_turned_begins_a_story_of_its_own() -> None:
    story = Story()
    told(story, account(position(100, 5)), decision("long"))
    story.hear([paid("1.25")])
    assert told(story, account(position(-100, 9)), decision("short", (0, 0), (-100, 0))) == [
        ("AAA", -100, 9, D(0), "fade: short of b")
    ]
    story.hear([paid("0.25")])
    assert told(story, account(position(-100, 9)), decision("later")) == [
        ("AAA", -100, 9, D("0.25"), "fade: short of b")
    ]


def test_a_position_that_is_gone_is_forgotten_and_the_others_are_not() -> None:
    story = Story()
    both = account(position(100, 5), position(7, 6, "BBB"))
    told(story, both, decision("open", (100, 0), (0, 7)))
    story.hear([paid("1"), paid("2", "BBB")])
    assert told(story, account(position(7, 6, "BBB")), decision("later")) == [
        ("BBB", 7, 6, D(2), "fade: open of b")
    ]
    assert list(story.state()) == ["BBB"]
    # Opened again, even at the same moment: nothing is left of the former one.
    assert told(story, both, decision("again"))[0] == ("AAA", 100, 5, D(0), "carry: again of a")


def test_all_who_answer_for_a_position_are_named_and_nobody_where_nobody_does() -> None:
    both = decision("so", (150, 0), (-50, 0))
    assert told(Story(), account(position(100, 5)), both)[0][4] == "carry: so of a; fade: so of b"
    nobody = decision("so", (0, 0), (0, 0))
    assert told(Story(), account(position(100, 5)), nobody)[0][4] == NO_OPINION


def test_a_story_goes_on_after_it_was_written_down() -> None:
    story = Story()
    told(story, account(position(100, 5)), decision("first"))
    story.hear([paid("1.25")])
    again = Story(story.state())
    again.hear([paid("0.000001")])
    assert told(again, account(position(100, 5)), decision("second")) == [
        ("AAA", 100, 5, D("1.250001"), "carry: first of a")
    ]


def test_the_books_of_a_moment_have_gross_and_net_of_what_is_held() -> None:
    point = equity_point(account(position(100, 5), replace(position(-2, 6, "BBB"), notional_usd=D(-50))))
    assert (point.gross_usd, point.net_usd) == (D(160), D(60))
    assert (point.equity_usd, point.cash_usd, point.funding_pnl_usd, point.fees_usd) == (
        D(1000),
        D(900),
        D("3.5"),
        D(2),
    )
    assert point.price_pnl_usd == D("-1.5")  # 1000 − 1000 − 3.5 + 2


def test_each_strategy_has_what_it_came_to() -> None:
    books = Attribution(np.array([[100, 0], [0, -2]]), (AAA, BBB))
    books.cash_usd, books.funding_usd, books.fees_usd = [D(-90), D(95)], [D(1), D(2)], [D("0.1"), D(0)]
    rows = by_strategy(books, np.array([110.0, 50.0]), ("carry", "fade"))
    assert [(row.strategy, row.price_pnl_usd, row.funding_pnl_usd, row.fees_usd) for row in rows] == [
        ("carry", D(20), D(1), D("0.1")),  # a coin at 110
        ("fade", D(-5), D(2), D(0)),  # two coins short at 50
    ]
