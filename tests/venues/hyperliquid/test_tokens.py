"""Tokens in the books, by hand: fees in the token, dust, and what the venue does without a trade."""

from dataclasses import replace
from decimal import Decimal

import pytest

from bot.errors import DataError
from bot.journal.ledger import Books as Ledger
from bot.journal.ledger import Holding, Stated
from bot.model.instrument import spot_instrument
from bot.model.money import usd
from bot.model.order import (
    Fill,
    Order,
    OrderReport,
    OrderStatus,
    Purpose,
    Side,
    TimeInForce,
    Transfer,
    Trigger,
    TriggerKind,
)
from bot.venues.attempts import Attempts
from bot.venues.hyperliquid.books import Books
from bot.venues.hyperliquid.held import within
from bot.venues.hyperliquid.orders import Register, to_sign
from bot.venues.hyperliquid.parse_account import LedgerRow, VenueFill, ledger
from bot.venues.hyperliquid.wire import Node
from bot.venues.outbox import MemoryOutbox
from tests.venues.hyperliquid.shapes import ME, OTHER

T = 1_780_000_000_000
HYPE = spot_instrument("HYPE/USDC", 2, "HYPE")
D = Decimal


def wire(name: str) -> str:
    return {"HYPE/USDC": "@107"}.get(name, name)


def books(usdc: str = "1000", owned: str = "0", mark: str = "40") -> Books:
    made = Books(ME, Register([HYPE], Attempts("devnet", ME, MemoryOutbox()), wire), trades_spot=True)
    assert made.tokens is not None
    made.begin(T, made.tokens.begin({HYPE: D(owned)}, {"HYPE/USDC": D(mark)}, D(usdc)), [])
    return made


def told(number: int, side: Side, size: str, price: str, fee: str, token: str) -> VenueFill:
    return VenueFill(
        number, T + number, "@107", side, D(price), D(size), D(0), D(0), D(fee), token, 7, False, "Buy", None, None, None
    )  # fmt: skip


def test_a_fee_in_the_token_is_booked_in_dollars_and_the_lots_it_breaks_are_given_up() -> None:
    # 2.5 HYPE at 40 are 100 dollars; a fee of 0.00175 leaves 2.49825: 249 lots and 0.00825 of dust.
    made = books()
    bought, broken = (each for each in made.take_fills([told(1, Side.BUY, "2.5", "40", "0.00175", "HYPE")]))
    assert isinstance(bought, Fill)
    assert isinstance(broken, Fill)
    assert (bought.instrument, bought.signed_lots, bought.notional_usd, bought.fee_usd) == (
        "HYPE/USDC",
        250,
        D(100),
        D("0.07"),
    )
    assert (broken.signed_lots, broken.notional_usd, broken.fee_usd) == (-1, D("0.4"), D(0))
    assert broken.trade_id == -bought.trade_id
    assert made.filled(7) == (250, D(40))
    assert made.tokens is not None
    # Cash by the books is 1000 - 100 - 0.07 + 0.4 = 900.33; the wallet has 900, and 0.00825 HYPE at 40 are the 0.33.
    assert made.tokens.carried_usd == D("0.33")
    assert made.tokens.owned == {"HYPE/USDC": D("2.49825")}
    assert made.fees_usd == D("0.07")


def test_dust_that_makes_a_lot_again_is_a_position_again() -> None:
    # 0.00825 of dust bears a fee of 0.0007 without another lot being broken; a rebate may make a lot of it.
    made = books()
    made.take_fills([told(1, Side.BUY, "2.5", "40", "0.00175", "HYPE")])
    (one,) = made.take_fills([told(2, Side.BUY, "1", "50", "0.0007", "HYPE")])
    assert isinstance(one, Fill)
    assert (one.signed_lots, one.fee_usd) == (100, D("0.035"))
    assert made.tokens is not None
    # 0.33 less the 0.0007 that were taken out at 50
    assert made.tokens.carried_usd == D("0.295")
    two = made.take_fills([told(3, Side.BUY, "1", "50", "-0.005", "HYPE")])
    assert [each.signed_lots for each in two if isinstance(each, Fill)] == [100, 1]
    assert made.tokens.owned == {"HYPE/USDC": D("4.50255")}
    # 0.295 and 0.005 got at 50, less the lot at 50
    assert made.tokens.carried_usd == D("0.045")


def test_a_sale_pays_its_fee_in_dollars_and_leaves_the_dust() -> None:
    made = books()
    made.take_fills([told(1, Side.BUY, "2.5", "40", "0.00175", "HYPE")])
    (sold,) = made.take_fills([told(2, Side.SELL, "2.49", "44", "0.076692", "USDC")])
    assert isinstance(sold, Fill)
    assert (sold.signed_lots, sold.notional_usd, sold.fee_usd) == (-249, D("109.56"), D("0.076692"))
    assert made.tokens is not None
    assert (made.tokens.owned["HYPE/USDC"], made.tokens.carried_usd) == (D("0.00825"), D("0.33"))
    assert made.opened_ms == {}


def test_what_the_venue_sells_of_dust_by_itself_is_no_trade_of_lots() -> None:
    made = books()
    made.take_fills([told(1, Side.BUY, "2.5", "40", "0.00175", "HYPE")])
    assert made.take_fills([told(2, Side.SELL, "0.00825", "40", "0", "USDC")]) == []
    assert made.tokens is not None
    assert (made.tokens.owned["HYPE/USDC"], made.tokens.carried_usd) == (D("2.49"), D(0))


def test_the_ledger_finds_nothing_unexplained_whatever_is_traded() -> None:
    # An independent reckoning of the wallet: dollars and tokens as the venue moves them.
    made, found = books(usdc="5000", owned="1.23456", mark="41.37"), Ledger()
    usdc, owned = D(5000), D("1.23456")
    lots, mark = 123, D("41.37")
    found.open(T, made.deposits_usd, made.deposits_usd, {"HYPE/USDC": Holding.at(lots, mark, 2)})
    seed = 7
    for number in range(1, 400):
        seed = seed * 48_271 % (2**31 - 1)
        mark = D(3000 + seed % 2000) / 100
        size, price = D(1 + seed % 97) / 100, mark + D(seed % 7) / 100
        buys = seed % 3 > 0 or size > owned
        fee = (size * D("0.0007")).quantize(D("1e-8")) if buys else usd(size * price * D("0.0007"))
        usdc += -size * price if buys else size * price - fee
        owned += size - fee if buys else -size
        side, token = (Side.BUY, "HYPE") if buys else (Side.SELL, "USDC")
        for each in made.take_fills([told(number, side, str(size), str(price), str(fee), token)]):
            assert isinstance(each, Fill)
            found.fill(each)
        assert made.tokens is not None
        lots = int(owned * 100)
        held = {"HYPE/USDC": Holding.at(lots, mark, 2)} if lots else {}
        equity = usd(usdc + made.tokens.carried_usd + lots * mark / 100)
        price_usd = equity - made.deposits_usd + made.fees_usd
        assert made.tokens.owned["HYPE/USDC"] == owned
        assert found.compare(Stated(T + number, equity, price_usd, D(0), made.fees_usd, held)) == ([], [])
        # Dust is what it cost, which is within a lot's worth of what it is worth.
        assert abs(made.tokens.carried_usd - (owned - lots * HYPE.lot) * mark) < D("0.5")


def test_tokens_that_come_without_a_trade_are_found_and_the_wallet_is_believed() -> None:
    made = books(owned="1.005")
    assert made.tokens is not None
    assert made.tokens.differs({HYPE: D("1.005")}) == ""
    assert made.tokens.differs({HYPE: D("3.007")}) == "HYPE/USDC"
    made.tokens.believe({HYPE: D("3.007")}, {"HYPE/USDC": D(50)})
    # 0.005 at 40, and 0.002 more at 50
    assert (made.tokens.owned["HYPE/USDC"], made.tokens.carried_usd) == (D("3.007"), D("0.3"))


def test_books_with_tokens_go_on_after_a_restart_and_not_without_them() -> None:
    made, again, without = books(), books(), books()
    made.take_fills([told(1, Side.BUY, "2.5", "40", "0.00175", "HYPE")])
    again.restore(made.state())
    assert again.state() == made.state()
    assert again.take_fills([told(1, Side.BUY, "2.5", "40", "0.00175", "HYPE")]) == []
    state = {key: value for key, value in made.state().items() if key != "tokens"}
    with pytest.raises(DataError, match="books can't be read"):
        without.restore(state)


def test_only_what_comes_from_outside_both_wallets_is_a_transfer() -> None:
    rows = [
        {"type": "accountClassTransfer", "usdc": "50.0", "toPerp": True},
        {"type": "spotTransfer", "token": "USDC", "amount": "9.0", "usdcValue": "9.0", "user": OTHER, "destination": ME, "fee": "0.0"},
        {"type": "spotTransfer", "token": "USDC", "amount": "3.0", "usdcValue": "3.0", "user": ME, "destination": OTHER, "fee": "1.0"},
        {"type": "spotTransfer", "token": "HYPE", "amount": "3.0", "usdcValue": "120.0", "user": ME, "destination": OTHER, "fee": "1.0"},
        {"type": "send", "user": ME, "destination": ME, "sourceDex": "", "destinationDex": "spot", "token": "USDC", "amount": "7.0"},
        {"type": "send", "user": ME, "destination": OTHER, "sourceDex": "spot", "destinationDex": "spot", "token": "USDC", "amount": "2.0"},
    ]  # fmt: skip
    listed = [{"time": T + 1 + k, "hash": f"0x{k}", "delta": row} for k, row in enumerate(rows)]
    told_rows = ledger(Node(listed, "reply"), ME)
    assert [(float(row.perp_usd or 0), float(row.spot_usd)) for row in told_rows] == [
        (50, -50), (0, 9), (0, -4), (0, 0), (-7, 7), (0, -2),
    ]  # fmt: skip
    moved = [each.usd for each in books().take_ledger(told_rows) if isinstance(each, Transfer)]
    assert moved == [9, -4, -2]
    perps_alone = Books(ME, Register([], Attempts("devnet", ME, MemoryOutbox())))
    perps_alone.begin(T, D(0), [])
    assert [each.usd for each in perps_alone.take_ledger(told_rows) if isinstance(each, Transfer)] == [50, -7]
    assert LedgerRow(T, "0x", "deposit", D(1)).spot_usd == 0


def order(side: Side, lots: int, **keys: object) -> Order:
    return replace(Order("d1-HYPE-entry", "HYPE/USDC", side, lots), **keys)  # type: ignore[arg-type]


def test_of_spot_no_more_is_sold_than_is_owned_and_no_order_binds() -> None:
    resting = [OrderReport(T, 1, order(Side.SELL, 40), OrderStatus.RESTING, 10)]
    assert within(order(Side.SELL, 500), HYPE, 100, resting) == (order(Side.SELL, 70, reduce_only=True), "")
    assert within(order(Side.SELL, 50), HYPE, 100, ()) == (order(Side.SELL, 50, reduce_only=True), "")
    assert within(order(Side.SELL, 50), HYPE, 30, resting)[1] == "there is nothing left to sell"
    assert within(order(Side.BUY, 50), HYPE, 30, resting) == (order(Side.BUY, 50), "")
    assert within(order(Side.BUY, 50, reduce_only=True), HYPE, 30, ())[1] == "there is nothing left to reduce"
    stop = order(Side.SELL, 5, reduce_only=True, trigger=Trigger(TriggerKind.STOP, D(30)))
    assert within(stop, HYPE, 30, ())[1] == "the venue takes no triggers on spot"


def test_an_order_on_spot_goes_to_the_signer_by_its_title_on_its_own_grid_and_without_reduce_only() -> None:
    sale = order(Side.SELL, 250, reduce_only=True, purpose=Purpose.EXIT)
    wire_order = to_sign(sale, HYPE, D("41.123"), "0x" + "0" * 32)
    # 5 % below 41.123 is 39.06685; on spot five figures and 8 - 2 decimals are left: 39.067, up so that it sells dearer
    assert (wire_order.coin, wire_order.side, wire_order.size, wire_order.price) == (
        "HYPE/USDC",
        "sell",
        "2.5",
        "39.067",
    )
    assert (wire_order.reduce_only, wire_order.tif) == (False, "Ioc")
    fine = spot_instrument("PURR/USDC", 0, "PURR")
    bought = to_sign(replace(order(Side.BUY, 9), instrument="PURR/USDC", limit_price=D("0.0612349"),
                             time_in_force=TimeInForce.ALO), fine, D("0.06"), "0x" + "0" * 32)  # fmt: skip
    assert (bought.size, bought.price, bought.tif) == ("9", "0.061234", "Alo")
