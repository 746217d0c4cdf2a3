"""What is told several times is counted once, and what a payment was made at is worked out of it."""

from decimal import Decimal

from bot.model.instrument import simple_instrument
from bot.model.order import FundingPayment
from bot.venues.attempts import Attempts
from bot.venues.hyperliquid.books import OVERLAP_MS, Books
from bot.venues.hyperliquid.orders import Register
from bot.venues.hyperliquid.parse_account import VenueFunding
from bot.venues.outbox import MemoryOutbox

START_MS = 1_780_000_000_000


def books() -> Books:
    made = Books(
        "0x" + "a" * 40,
        Register([simple_instrument("BTC", 5, 40)], Attempts("devnet", "0x" + "a" * 40, MemoryOutbox())),
    )
    made.begin(START_MS, Decimal(1_000), [])
    return made


def paid(usd: str, after_ms: int = 1_000) -> VenueFunding:
    return VenueFunding(START_MS + after_ms, "BTC", Decimal(usd), Decimal(2), Decimal("0.00001"), 1)


def test_the_oracle_of_a_payment_is_that_of_now_only_where_the_payment_does_not_contradict_it() -> None:
    # A long of 2 at 0.001 % pays $1 at an oracle of 50,000 and four cents at 2,000. Five millionths on 0.00001 coins at
    # 0.001 % may be anything from 45,000 to 55,000.
    now = {"BTC": Decimal(49_000)}
    crumb = VenueFunding(
        START_MS + 1_002, "BTC", Decimal("-0.000005"), Decimal("0.00001"), Decimal("0.00001"), 1
    )
    told = books().take_fundings([paid("-1.0"), paid("-0.04", 1_001), crumb], now)
    oracles = [each.oracle for each in told if isinstance(each, FundingPayment)]
    assert oracles == [Decimal(50_000), Decimal(2_000), Decimal(49_000)]


def test_a_payment_is_counted_once_even_after_it_was_forgotten_and_after_a_restart() -> None:
    first = books()
    assert len(first.take_fundings([paid("-1.0"), paid("-1.0")], {})) == 1
    first.completed(START_MS + 10 * OVERLAP_MS)
    first.overlap_ms = 100 * OVERLAP_MS  # the venue's clock runs faster now
    first.completed(START_MS + 10 * OVERLAP_MS)
    second = books()
    second.restore(first.state())
    for each in (first, second):
        assert each.from_ms() == START_MS + 9 * OVERLAP_MS
        assert each.take_fundings([paid("-1.0")], {}) == []
        assert each.funding_usd == Decimal(-1)
