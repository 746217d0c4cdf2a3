"""Tokens change hands at the right price and fee, nothing is made or lost, and nobody owes any."""

import pickle
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import Refused
from bot.model.order import Order, OrderReport, OrderStatus, Side, TimeInForce
from bot.sim.spot import Pair, SpotExchange, SpotFill, Token

USDC, USOL, PURR = Token("USDC", 8, 8), Token("USOL", 3, 8), Token("PURR", 0, 5)
SOL_PAIR, PURR_PAIR = Pair("@156", USOL, USDC), Pair("PURR/USDC", PURR, USDC)
D = Decimal


def exchange(**balances: dict[str, str]) -> SpotExchange:
    made = SpotExchange([SOL_PAIR, PURR_PAIR])
    made.set_marks({"@156": D("160.32"), "PURR/USDC": D("0.2")})
    for account, tokens in balances.items():
        for token, amount in tokens.items():
            made.deposit(account, token, D(amount))
    return made


def order(
    side: Side,
    lots: int,
    price: str,
    tif: TimeInForce = TimeInForce.GTC,
    pair: str = "@156",
    *,
    reduce_only: bool = False,
) -> Order:
    return Order("x", pair, side, lots, D(price), tif, reduce_only=reduce_only)


def fills(made: SpotExchange, account: str) -> list[SpotFill]:
    return [event for name, event in made.drain() if name == account and isinstance(event, SpotFill)]


def test_the_buyers_fee_is_the_one_that_the_venue_took_on_a_recorded_trade() -> None:
    # A fill of the real venue: 1.267 USOL bought at 160.32 as taker cost a fee of 0.00088689 USOL. By hand:
    # 203.12544 × 0.0007 = 0.142187808, cut to 0.142187, over 160.32 = 0.000886894…, cut to eight decimals.
    made = exchange(buyer={"USDC": "1000"})
    made.quote_depth("@156", [], [(D("160.32"), 10_000)], 1)
    made.submit("buyer", order(Side.BUY, 1267, "161", TimeInForce.IOC), 1)
    (fill,) = fills(made, "buyer")
    assert (fill.fee, fill.fee_token) == (D("0.00088689"), "USOL")
    assert made.wallets["buyer"].total == {"USDC": D("796.87456"), "USOL": D("1.26611311")}
    assert made.collected == {"USOL": D("0.00088689")}
    assert made.outside == {"USOL": D("-1.267"), "USDC": D("203.12544")}


def test_the_seller_pays_in_the_quote_token_and_a_maker_less() -> None:
    made = exchange(maker={"USDC": "1000"}, taker={"USOL": "2"})
    made.submit("maker", order(Side.BUY, 1000, "160"), 1)
    made.submit("taker", order(Side.SELL, 1000, "160", TimeInForce.IOC), 2)
    events = made.drain()
    sold = next(event for name, event in events if name == "taker" and isinstance(event, SpotFill))
    bought = next(event for name, event in events if name == "maker" and isinstance(event, SpotFill))
    assert (sold.fee, sold.fee_token, sold.is_maker) == (D("0.112"), "USDC", False)  # 160 × 0.0007
    assert (bought.fee, bought.fee_token, bought.is_maker) == (D("0.0004"), "USOL", True)  # 0.064 / 160
    assert sold.trade_id == bought.trade_id
    assert made.wallets["taker"].total == {"USOL": D("1"), "USDC": D("159.888")}


def test_a_sale_reports_the_profit_over_what_the_tokens_cost() -> None:
    made = exchange(trader={"USDC": "1000"})
    made.quote_depth("@156", [], [(D("100"), 10_000)], 1)
    made.submit("trader", order(Side.BUY, 2000, "101", TimeInForce.IOC), 1)
    made.quote_depth("@156", [(D("120"), 10_000)], [], 2)
    made.submit("trader", order(Side.SELL, 1000, "119", TimeInForce.IOC), 2)
    bought, sold = fills(made, "trader")
    # 1.9986 USOL cost 200; the 1 sold cost 200 / 1.9986 = 100.07004903.
    assert bought.closed_pnl == 0
    assert sold.closed_pnl == D("19.92995097")


def test_what_rests_is_held_and_given_back() -> None:
    made = exchange(a={"USDC": "100", "USOL": "1"})
    buying = made.submit("a", order(Side.BUY, 500, "150"), 1)
    made.submit("a", order(Side.SELL, 400, "170"), 1)
    wallet = made.wallets["a"]
    assert (wallet.held["USDC"], wallet.held["USOL"]) == (D("75"), D("0.4"))
    refused = made.submit("a", order(Side.BUY, 500, "150"), 2)
    assert (refused.status, refused.reason) == (OrderStatus.REJECTED, "Insufficient spot balance")
    with pytest.raises(Refused):
        made.withdraw("a", "USDC", D("25.01"))
    made.cancel("a", buying.order_id, 3)
    assert wallet.held["USDC"] == 0
    made.withdraw("a", "USDC", D("100"))


def test_every_refusal_has_the_venues_words() -> None:
    made = exchange(a={"USDC": "1000"})
    made.quote_depth("@156", [(D("160"), 10)], [(D("161"), 10)], 1)

    def reason(asked: Order) -> str:
        return made.submit("a", asked, 1).reason

    assert reason(order(Side.BUY, 100, "150.123")) == "Price must be divisible by tick size."  # six figures
    assert reason(order(Side.BUY, 60, "160")) == "Order must have minimum value of 10 USDC."
    assert reason(order(Side.SELL, 100, "170")) == "Insufficient spot balance"
    assert reason(order(Side.BUY, 100, "150", reduce_only=True)) == "Reduce-only is invalid for spot trading."
    assert reason(order(Side.BUY, 1000, "30")).startswith("Order price cannot be more than 80% away")
    assert reason(order(Side.BUY, 100, "161", TimeInForce.ALO)).startswith("Post only order would have")
    assert reason(order(Side.BUY, 100, "155", TimeInForce.IOC)).startswith(
        "Order could not immediately match"
    )
    with pytest.raises(Refused, match="no pair"):
        made.submit("a", order(Side.BUY, 1, "1", pair="@1"), 1)


def test_the_grid_has_five_figures_and_eight_decimals_less_the_lots() -> None:
    assert PURR_PAIR.round_price(D("0.123456789")) == D("0.12346")
    assert PURR_PAIR.round_price(D("0.000012345678")) == D("0.00001235")
    assert SOL_PAIR.is_on_grid(D("160.32"))
    assert not SOL_PAIR.is_on_grid(D("0.000123"))  # five decimals at most
    assert SOL_PAIR.is_on_grid(D("123456"))


def test_meeting_ones_own_order_cancels_it_and_the_taker_goes_on() -> None:
    made = exchange(a={"USDC": "1000", "USOL": "1"})
    mine = made.submit("a", order(Side.SELL, 100, "160"), 1)
    made.quote_depth("@156", [], [(D("161"), 1000)], 1)
    made.drain()
    taken = made.submit("a", order(Side.BUY, 100, "161", TimeInForce.IOC), 2)
    assert taken.status is OrderStatus.FILLED
    reports = [event for _, event in made.drain() if isinstance(event, OrderReport)]
    assert (reports[0].order_id, reports[0].reason) == (mine.order_id, "selfTradeCanceled")


def test_the_outside_market_fills_what_it_reaches_at_the_orders_own_limit() -> None:
    made = exchange(a={"USDC": "1000"})
    made.submit("a", order(Side.BUY, 1000, "150"), 1)
    made.quote_depth("@156", [(D("148"), 10)], [(D("149"), 10)], 2)
    (fill,) = fills(made, "a")
    assert (fill.price, fill.is_maker, made.books["@156"].best(1)) == (D("150"), True, None)


def test_spot_volume_counts_twice_toward_the_fee_tier() -> None:
    made = exchange(a={"USDC": "10000000"})
    made.quote_depth("@156", [], [(D("160"), 10**9)], 1)
    made.submit("a", order(Side.BUY, 20_000_000, "160", TimeInForce.IOC), 1)  # 3.2 million dollars
    day = 86_400_000
    made.quote_depth("@156", [], [(D("160"), 10**9)], day)
    made.submit("a", order(Side.BUY, 1000, "160", TimeInForce.IOC), day)
    assert fills(made, "a")[-1].fee == D("0.0006")  # above 5 million: 0.06 %


ACCOUNTS = ("a", "b", "c")
PRICES = [f"{price / 100:.2f}" for price in range(15_900, 16_200, 37)]
actions = st.one_of(
    st.tuples(
        st.just("order"),
        st.sampled_from(ACCOUNTS),
        st.sampled_from([Side.BUY, Side.SELL]),
        st.integers(1, 3000),
        st.sampled_from(PRICES),
        st.sampled_from(list(TimeInForce)),
    ),
    st.tuples(st.just("cancel"), st.sampled_from(ACCOUNTS), st.integers(0, 5)),
    st.tuples(st.just("quote"), st.sampled_from(PRICES), st.integers(1, 4000)),
    st.tuples(st.just("outside"), st.sampled_from([Side.BUY, Side.SELL]), st.integers(1, 2000)),
    st.tuples(
        st.just("withdraw"),
        st.sampled_from(ACCOUNTS),
        st.sampled_from(["USDC", "USOL"]),
        st.sampled_from(PRICES),
    ),
)


def apply(made: SpotExchange, action: tuple[object, ...], time_ms: int) -> dict[str, Decimal]:
    """Carry one out; what left the exchange by it."""
    match action:
        case ("order", str(account), Side() as side, int(lots), str(price), TimeInForce() as tif):
            made.submit(account, order(side, lots, price, tif), time_ms)
        case ("cancel", str(account), int(number)):
            ids = list(made.open_ids(account))
            if ids:
                made.cancel(account, ids[number % len(ids)], time_ms)
        case ("quote", str(price), int(lots)):
            made.quote_depth("@156", [(D(price), lots)], [(D(price) + D("0.5"), lots)], time_ms)
        case ("outside", Side() as side, int(lots)):
            made.outside_takes("@156", side, lots, time_ms)
        case ("withdraw", str(account), str(token), str(amount)):
            try:
                made.withdraw(account, token, D(amount) / 100)
            except Refused:
                return {}
            return {token: D(amount) / 100}
    return {}


@given(st.lists(actions, max_size=60))
@settings(max_examples=150, deadline=None)
def test_nothing_is_made_or_lost_nobody_owes_and_holds_are_what_rests(
    steps: list[tuple[object, ...]],
) -> None:
    given_ = {account: {"USDC": "900", "USOL": "5"} for account in ACCOUNTS}
    made = exchange(**given_)
    gone = {"USDC": D(0), "USOL": D(0)}
    for time_ms, action in enumerate(steps, 1):
        for token, amount in apply(made, action, time_ms).items():
            gone[token] += amount
        for token, start in (("USDC", D(2700)), ("USOL", D(15))):
            owned = sum((wallet.total.get(token, D(0)) for wallet in made.wallets.values()), D(0))
            rest = made.collected.get(token, D(0)) + made.outside.get(token, D(0)) + gone[token]
            assert owned + rest == start
        for account, wallet in made.wallets.items():
            held = {"USDC": D(0), "USOL": D(0)}
            book = made.books["@156"]
            for sign, token in ((1, "USDC"), (-1, "USOL")):
                for live in book.resting(sign):
                    if live.account == account:
                        assert live.price is not None
                        held[token] += live.remaining * D("0.001") * (live.price if sign > 0 else 1)
            for token, amount in held.items():
                assert wallet.held.get(token, D(0)) == amount
                assert 0 <= amount <= wallet.total.get(token, D(0))
            assert {
                live.order_id for side in (1, -1) for live in book.resting(side) if live.account == account
            } == (set(wallet.open))
    again = pickle.loads(pickle.dumps(made))
    assert {name: wallet.total for name, wallet in again.wallets.items()} == {
        name: wallet.total for name, wallet in made.wallets.items()
    }
