"""From what the exchange says to what an account sees of it: its orders, trades, income and user stream."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from bot.devnet.cex.face import STREET, CexFace
from bot.devnet.cex.listing import USDT, Listing
from bot.devnet.cex.records import CexOrder, Conditional, Json, money
from bot.model.account import MarginMode
from bot.model.money import ZERO
from bot.model.order import Fill, FundingPayment, Liquidation, OrderReport, OrderStatus, Purpose, Side

_EXPIRED: Final = {
    "selfTradeCanceled": "EXPIRED_IN_MATCH",
    "iocCancelRejected": "EXPIRED",
    "reduceOnlyCanceled": "EXPIRED",
    "marginCanceled": "EXPIRED",
}


def tell(face: CexFace) -> None:
    """Write down what the exchange did since the last call, and say it on the user streams."""
    printed: set[int] = set()
    changed: dict[tuple[str, int], set[str]] = {}
    while events := face.exchange.drain():
        for key, event in events:
            if isinstance(event, Fill) and event.trade_id not in printed:
                printed.add(event.trade_id)
                is_buyer_maker = event.is_maker == (event.side is Side.BUY)
                face.print_trade(
                    face.listed[event.instrument],
                    event.price,
                    event.lots,
                    event.time_ms,
                    is_buyer_maker=is_buyer_maker,
                )
            if key == STREET:
                continue
            if isinstance(event, Fill):
                _fill(face, key, event)
                changed.setdefault((key, event.time_ms), set()).add(event.instrument)
            elif isinstance(event, OrderReport):
                _report(face, key, event)
            elif isinstance(event, FundingPayment):
                _funding(face, key, event)
            else:
                _liquidation(face, key, event)
    for (key, time_ms), symbols in changed.items():
        tell_account(face, key, "ORDER", sorted(symbols), time_ms)


def _fill(face: CexFace, key: str, fill: Fill) -> None:
    records, listing = face.records[key], face.listed[fill.instrument]
    order = records.orders.get(fill.order_id) or _of_the_venue(face, key, fill)
    order.filled_lots += fill.lots
    order.quote_usd += fill.notional_usd
    order.status = "FILLED" if order.filled_lots == order.lots else "PARTIALLY_FILLED"
    order.updated_ms = records.updated_ms[fill.instrument] = fill.time_ms
    row: Json = {
        "symbol": listing.symbol,
        "id": fill.trade_id,
        "orderId": fill.order_id,
        "side": order.side,
        "price": listing.price(fill.price),
        "qty": listing.quantity(fill.lots),
        "realizedPnl": money(fill.closed_pnl_usd),
        "quoteQty": money(fill.notional_usd),
        "commission": money(fill.fee_usd),
        "commissionAsset": USDT,
        "time": fill.time_ms,
        "positionSide": "BOTH",
        "buyer": fill.side is Side.BUY,
        "maker": fill.is_maker,
    }
    records.trades.append(row)
    name, number = listing.symbol, str(fill.trade_id)
    if fill.closed_pnl_usd:
        records.earn(name, "REALIZED_PNL", fill.closed_pnl_usd, fill.time_ms, face.next_income(), number)
    if fill.fee_usd:
        records.earn(name, "COMMISSION", -fill.fee_usd, fill.time_ms, face.next_income(), number)
    tell_order(face, key, order, "TRADE", fill)


def _of_the_venue(face: CexFace, key: str, fill: Fill) -> CexOrder:
    """The record of an order that the venue placed itself, made as its first fill comes."""
    is_liquidation = fill.purpose is Purpose.LIQUIDATION
    order = CexOrder(
        fill.order_id,
        face.listed[fill.instrument],
        fill.side.name,
        "LIMIT" if is_liquidation else "MARKET",
        fill.lots,
        fill.price,
        "IOC" if is_liquidation else "GTC",
        f"autoclose-{fill.time_ms}{fill.order_id}" if is_liquidation else "adl_autoclose",
        fill.time_ms,
        updated_ms=fill.time_ms,
    )
    records = face.records[key]
    records.add(order)
    records.forced[fill.order_id] = "LIQUIDATION" if is_liquidation else "ADL"
    tell_order(face, key, order, "CALCULATED")
    return order


def _report(face: CexFace, key: str, report: OrderReport) -> None:
    order = face.records[key].orders.get(report.order_id)
    if order is None or not order.is_open or report.status.is_open or report.status is OrderStatus.FILLED:
        return
    is_canceled = report.status is OrderStatus.CANCELED
    order.status = _EXPIRED.get(report.reason, "CANCELED") if is_canceled else "EXPIRED"
    order.updated_ms = report.time_ms
    tell_order(face, key, order, "CANCELED" if order.status == "CANCELED" else "EXPIRED")


def _funding(face: CexFace, key: str, payment: FundingPayment) -> None:
    face.records[key].earn(
        payment.instrument, "FUNDING_FEE", payment.usd, payment.time_ms, face.next_income(), ""
    )
    tell_balance(face, key, "FUNDING_FEE", payment.time_ms)


def _liquidation(face: CexFace, key: str, event: Liquidation) -> None:
    """Margin that went with a position to the insurance fund; what was closed is told by its fills."""
    if event.forfeited_usd:
        face.records[key].earn(
            event.instrument, "INSURANCE_CLEAR", -event.forfeited_usd, event.time_ms, face.next_income(), ""
        )


# --- the user stream


def tell_order(face: CexFace, key: str, order: CexOrder, what: str, fill: Fill | None = None) -> None:
    """Say on the user stream what became of an order."""
    listing = order.listing
    row: Json = {
        "s": listing.symbol,
        "c": order.client_id,
        "S": order.side,
        "o": "LIQUIDATION" if face.records[key].forced.get(order.order_id) == "LIQUIDATION" else order.kind,
        "f": order.time_in_force,
        "q": listing.quantity(order.lots),
        "p": listing.price(order.price),
        "ap": f"{order.average_price:.{listing.price_decimals + 3}f}",
        "sp": listing.price(order.stop_price),
        "x": what,
        "X": order.status,
        "i": order.order_id,
        "l": listing.quantity(0 if fill is None else fill.lots),
        "z": listing.quantity(order.filled_lots),
        "L": listing.price(ZERO if fill is None else fill.price),
        "n": "0" if fill is None else money(fill.fee_usd),
        "N": USDT,
        "T": order.updated_ms,
        "t": 0 if fill is None else fill.trade_id,
        "b": "0",
        "a": "0",
        "m": fill is not None and fill.is_maker,
        "R": order.reduce_only,
        "wt": order.working_type,
        "ot": order.original_kind or order.kind,
        "ps": "BOTH",
        "cp": order.close_position,
        "rp": "0" if fill is None else money(fill.closed_pnl_usd),
        "pP": False,
        "si": 0,
        "ss": 0,
        "V": "EXPIRE_MAKER",
        "pm": "NONE",
        "gtd": 0,
        "er": "0",
    }
    face.said(key, {"e": "ORDER_TRADE_UPDATE", "E": face.now_ms, "T": order.updated_ms, "o": row})


def tell_conditional(face: CexFace, key: str, order: Conditional) -> None:
    """Say on the user stream what became of a conditional order."""
    actual = None if order.order_id is None else face.records[key].orders.get(order.order_id)
    listing = order.listing
    row: Json = {
        "caid": order.client_id,
        "aid": order.algo_id,
        "at": "CONDITIONAL",
        "o": order.kind,
        "s": listing.symbol,
        "S": order.side,
        "ps": "BOTH",
        "f": order.time_in_force,
        "q": listing.quantity(order.lots),
        "X": order.status,
        "ai": "" if actual is None else str(actual.order_id),
        "ap": "0" if actual is None else f"{actual.average_price:.{listing.price_decimals + 3}f}",
        "aq": "0" if actual is None else listing.quantity(actual.filled_lots),
        "act": "" if actual is None else actual.kind,
        "tp": listing.price(order.trigger_price),
        "p": listing.price(order.price),
        "V": "EXPIRE_MAKER",
        "wt": order.working_type,
        "pm": "NONE",
        "cp": order.close_position,
        "pP": False,
        "R": order.reduce_only,
        "tt": order.triggered_ms,
        "gtd": 0,
        "rm": "",
    }
    face.said(key, {"e": "ALGO_UPDATE", "E": face.now_ms, "T": order.updated_ms, "o": row})


def tell_account(face: CexFace, key: str, reason: str, symbols: Iterable[str], time_ms: int) -> None:
    """Say on the user stream what an account has, and the positions of these symbols."""
    positions = [_position(face, key, face.listed[symbol]) for symbol in symbols]
    face.said(key, _account_event(face, key, reason, positions, ZERO, time_ms))


def tell_balance(face: CexFace, key: str, reason: str, time_ms: int) -> None:
    """The same, without positions."""
    face.said(key, _account_event(face, key, reason, [], ZERO, time_ms))


def _account_event(
    face: CexFace, key: str, reason: str, positions: list[Json], change: Decimal, time_ms: int
) -> Json:
    wallet = face.wallet_usd(key)
    books = face.exchange.accounts[key]
    isolated = sum(
        (p.cash_usd + p.cost_usd for p in books.positions.values() if p.margin_mode is MarginMode.ISOLATED),
        ZERO,
    )
    balance = {"a": USDT, "wb": money(wallet), "cw": money(wallet - isolated), "bc": money(change)}
    return {
        "e": "ACCOUNT_UPDATE",
        "E": face.now_ms,
        "T": time_ms,
        "a": {"m": reason, "B": [balance], "P": positions},
    }


def _position(face: CexFace, key: str, listing: Listing) -> Json:
    books, name = face.exchange.accounts[key], listing.symbol
    position = books.positions.get(name)
    mode = face.exchange.leverage(key, name)[1]
    lots = 0 if position is None else position.lots
    is_isolated = mode is MarginMode.ISOLATED and position is not None
    return {
        "s": name,
        "pa": listing.quantity(lots),
        "ep": "0" if position is None else f"{position.entry_price:.{listing.price_decimals + 3}f}",
        "bep": "0" if position is None else f"{position.entry_price:.{listing.price_decimals + 3}f}",
        "cr": "0",
        "up": "0" if position is None else money(position.unrealised_usd(face.exchange.marks[name])),
        "mt": "isolated" if mode is MarginMode.ISOLATED else "cross",
        "iw": money(position.cash_usd + position.cost_usd) if is_isolated and position is not None else "0",
        "ps": "BOTH",
        "ma": USDT,
    }
