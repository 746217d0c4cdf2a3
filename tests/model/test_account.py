from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.model.account import Account, MarginMode, Position
from bot.model.instrument import simple_instrument
from bot.model.money import ZERO, usd
from bot.model.order import Fill, FundingPayment, Purpose, Side

ETH = simple_instrument("ETH", 4, 25)
SOL = simple_instrument("SOL", 2, 20)

trades = st.lists(
    st.tuples(
        st.integers(-50_000, 50_000).filter(bool),
        st.decimals("0.0001", "5000", places=4),
    ),
    min_size=1,
    max_size=25,
)


def fill(instrument: str, lots: int, price: str, profit: Decimal = ZERO, fee: str = "0") -> Fill:
    notional = usd(abs(lots) * Decimal("0.0001") * Decimal(price))
    return Fill(
        1,
        1,
        instrument,
        Side.of(lots),
        abs(lots),
        Decimal(price),
        notional,
        Decimal(fee),
        False,
        "c",
        1,
        Purpose.ENTRY,
        profit,
    )


def test_a_position_pays_the_average_of_what_it_bought() -> None:
    position = Position(ETH)
    assert position.trade(10_000, Decimal(2000)) == 0
    assert position.trade(30_000, Decimal(6600)) == 0
    assert position.lots == 40_000
    assert position.cost_usd == 8600
    assert position.entry_price == 2150
    assert position.unrealised_usd(Decimal(2200)) == 200
    assert position.notional_usd(Decimal(2200)) == 8800


def test_a_partial_close_realises_its_share_and_keeps_the_entry_price() -> None:
    position = Position(ETH, 40_000, Decimal(8600))
    assert position.trade(-10_000, Decimal(-2300)) == 150
    assert position.lots == 30_000
    assert position.entry_price == 2150


def test_a_short_gains_when_bought_back_lower() -> None:
    position = Position(ETH)
    position.trade(-20_000, Decimal(-4000))
    assert position.entry_price == 2000
    assert position.trade(20_000, Decimal(3000)) == 1000
    assert position.lots == 0
    assert position.cost_usd == 0
    assert position.entry_price == 0


def test_a_flip_closes_the_whole_and_opens_the_rest_at_the_trade_price() -> None:
    position = Position(ETH, 10_000, Decimal(2000))
    assert position.trade(-30_000, Decimal(-6300)) == 100
    assert position.lots == -20_000
    assert position.cost_usd == -4200
    assert position.entry_price == 2100


@given(trades)
def test_cost_and_realised_profit_always_add_up_to_what_was_paid(steps: list[tuple[int, Decimal]]) -> None:
    position, paid, realised = Position(ETH), ZERO, ZERO
    for lots, price in steps:
        notional = usd(ETH.notional(lots, price))
        before, cost_before = position.lots, position.cost_usd
        profit = position.trade(lots, notional)
        paid += notional
        realised += profit
        assert position.lots == before + lots
        assert position.cost_usd - realised == paid
        assert position.cost_usd * position.lots > 0 or position.lots * position.cost_usd == 0
        assert position.lots or position.cost_usd == 0
        if before * lots >= 0:
            assert profit == 0
        elif abs(lots) < abs(
            before
        ):  # the entry price stays, but for the rounding of the cost to a millionth
            assert abs(position.cost_usd * before - cost_before * position.lots) <= abs(before) * Decimal(
                "0.0000005"
            )


@given(trades, st.decimals("0.01", "5000", places=2))
def test_equity_from_cash_alone_is_deposits_plus_all_profit(
    steps: list[tuple[int, Decimal]], mark: Decimal
) -> None:
    account = Account()
    account.deposit(Decimal(1000))
    for lots, price in steps:
        position = account.positions.get("ETH") or Position(ETH)
        notional = usd(ETH.notional(lots, price))
        profit = position.trade(lots, notional)
        account.apply_fill(fill("ETH", lots, str(price), profit, "0.25"), position)
    unrealised = sum((p.unrealised_usd(mark) for p in account.positions.values()), ZERO)
    assert account.fees_usd == Decimal("0.25") * len(steps)
    assert account.equity_usd({"ETH": mark}) == 1000 + account.realised_usd + unrealised - account.fees_usd


def test_a_closed_position_leaves_the_account() -> None:
    account = Account()
    position = Position(ETH)
    position.trade(10_000, Decimal(2000))
    account.apply_fill(fill("ETH", 10_000, "2000"), position)
    assert account.lots("ETH") == 10_000
    profit = position.trade(-10_000, Decimal(-2100))
    account.apply_fill(fill("ETH", -10_000, "2100", profit, "1"), position)
    assert account.positions == {}
    assert account.lots("ETH") == 0
    assert account.cash_usd == 99
    assert account.realised_usd == 100
    assert account.fees_usd == 1
    assert account.volume_usd == 4100


def payment(lots: int, amount: str) -> FundingPayment:
    return FundingPayment(1, "ETH", lots, Decimal(2000), Decimal("0.0001"), Decimal(amount))


@pytest.mark.parametrize("mode", list(MarginMode))
def test_funding_reaches_the_cash_that_backs_the_position(mode: MarginMode) -> None:
    position = Position(
        ETH, 10_000, Decimal(2000), 0, mode, Decimal(-1900) if mode is MarginMode.ISOLATED else ZERO
    )
    account = Account(Decimal(500), {"ETH": position})
    marks = {"ETH": Decimal(2000)}
    before = account.equity_usd(marks)
    account.apply_funding(payment(10_000, "-0.2"))
    assert account.funding_usd == Decimal("-0.2")
    assert account.equity_usd(marks) == before - Decimal("0.2")
    isolated = mode is MarginMode.ISOLATED
    assert account.cash_usd == (Decimal(500) if isolated else Decimal("499.8"))
    assert position.cash_usd == (Decimal("-1900.2") if isolated else 0)


def test_isolated_positions_back_nothing_but_themselves() -> None:
    account = Account(
        Decimal(-1500),
        {
            "ETH": Position(ETH, 10_000, Decimal(2000)),
            "SOL": Position(SOL, -1000, Decimal(-1500), 0, MarginMode.ISOLATED, Decimal(1800)),
        },
    )
    marks = {"ETH": Decimal(2100), "SOL": Decimal(160)}
    assert account.cross_value_usd(marks) == 600
    assert account.equity_usd(marks) == 600 + 200
    assert account.maintenance_usd(marks) == 42  # 2 % of 2100, the isolated position's own not included
