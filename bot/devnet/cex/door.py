"""The door of the devnet's Binance: which request is whose, what it weighs, and how the world's time gets in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from bot.devnet.cex import account, conditional, happenings, orders, public, schedule, settings
from bot.devnet.cex.authentication import Rejected
from bot.devnet.cex.face import CexFace
from bot.devnet.cex.parameters import Parameters
from bot.model.money import usd

Answer = Callable[[CexFace, str, Parameters], Any]
FAUCET: Final = "/devnet/faucet"
DELEVERAGE: Final = "/devnet/adl"
INTERVAL: Final = "/devnet/funding"

PUBLIC: Final[Mapping[str, tuple[Callable[[CexFace, Parameters], Any], int]]] = {
    "/fapi/v1/ping": (public.ping, 1),
    "/fapi/v1/time": (public.time, 1),
    "/fapi/v1/exchangeInfo": (public.info, 1),
    "/fapi/v1/depth": (public.depth, 10),
    "/fapi/v1/trades": (public.trades, 5),
    "/fapi/v1/historicalTrades": (public.trades, 20),
    "/fapi/v1/aggTrades": (public.aggregate_trades, 20),
    "/fapi/v1/klines": (public.klines, 5),
    "/fapi/v1/markPriceKlines": (public.mark_klines, 5),
    "/fapi/v1/indexPriceKlines": (public.index_klines, 5),
    "/fapi/v1/premiumIndex": (public.premium_index, 10),
    "/fapi/v1/fundingRate": (public.funding_history, 1),
    "/fapi/v1/fundingInfo": (public.funding_info, 1),
    "/fapi/v1/openInterest": (public.open_interest, 1),
    "/futures/data/openInterestHist": (public.interest_history, 0),
    "/fapi/v1/ticker/24hr": (public.day_ticker, 40),
    "/fapi/v1/ticker/price": (public.price_ticker, 2),
    "/fapi/v2/ticker/price": (public.price_ticker, 2),
    "/fapi/v1/ticker/bookTicker": (public.book_ticker, 5),
}
"""GET requests that need no key, and the weight of each."""

SIGNED: Final[Mapping[tuple[str, str], tuple[Answer, int]]] = {
    ("POST", "/fapi/v1/order"): (orders.place, 0),
    ("POST", "/fapi/v1/order/test"): (orders.test, 0),
    ("GET", "/fapi/v1/order"): (orders.order, 1),
    ("DELETE", "/fapi/v1/order"): (orders.cancel, 1),
    ("DELETE", "/fapi/v1/allOpenOrders"): (orders.cancel_all, 1),
    ("POST", "/fapi/v1/countdownCancelAll"): (orders.count_down, 10),
    ("GET", "/fapi/v1/openOrder"): (orders.open_order, 1),
    ("GET", "/fapi/v1/openOrders"): (orders.open_orders, 1),
    ("GET", "/fapi/v1/allOrders"): (orders.all_orders, 5),
    ("GET", "/fapi/v1/userTrades"): (orders.trades, 5),
    ("GET", "/fapi/v1/income"): (orders.income, 30),
    ("GET", "/fapi/v1/forceOrders"): (account.forced, 20),
    ("POST", "/fapi/v1/algoOrder"): (conditional.place, 0),
    ("GET", "/fapi/v1/algoOrder"): (conditional.order, 1),
    ("DELETE", "/fapi/v1/algoOrder"): (conditional.cancel, 1),
    ("DELETE", "/fapi/v1/algoOpenOrders"): (conditional.cancel_all, 1),
    ("GET", "/fapi/v1/openAlgoOrders"): (conditional.open_orders, 1),
    ("GET", "/fapi/v1/allAlgoOrders"): (conditional.all_orders, 5),
    ("GET", "/fapi/v2/account"): (account.account_v2, 5),
    ("GET", "/fapi/v3/account"): (account.account_v3, 5),
    ("GET", "/fapi/v2/balance"): (account.balance, 5),
    ("GET", "/fapi/v3/balance"): (account.balance, 5),
    ("GET", "/fapi/v2/positionRisk"): (account.risk_v2, 5),
    ("GET", "/fapi/v3/positionRisk"): (account.risk_v3, 5),
    ("GET", "/fapi/v1/adlQuantile"): (account.adl_quantile, 5),
    ("GET", "/fapi/v1/leverageBracket"): (settings.brackets, 1),
    ("POST", "/fapi/v1/leverage"): (settings.set_leverage, 1),
    ("POST", "/fapi/v1/marginType"): (settings.set_margin_type, 1),
    ("POST", "/fapi/v1/positionMargin"): (settings.add_margin, 1),
    ("GET", "/fapi/v1/positionSide/dual"): (settings.position_mode, 30),
    ("POST", "/fapi/v1/positionSide/dual"): (settings.set_position_mode, 1),
    ("GET", "/fapi/v1/multiAssetsMargin"): (settings.assets_mode, 30),
    ("GET", "/fapi/v1/symbolConfig"): (settings.symbol_config, 5),
    ("GET", "/fapi/v1/accountConfig"): (settings.config, 5),
    ("GET", "/fapi/v1/commissionRate"): (settings.commission, 20),
}
"""Signed requests, and the weight of each."""


class Door:
    """Everything that changes the face comes in here, so that it can be written down and carried out again."""

    def __init__(self, face: CexFace) -> None:
        self.face = face

    # --- the world's time

    def step(self) -> None:
        """Prices have moved."""
        self.face.step()
        happenings.tell(self.face)
        conditional.look(self.face)

    def settle(self, time_ms: int) -> None:
        """An hour has ended."""
        self.face.settle(time_ms)
        happenings.tell(self.face)

    def others_trade(self) -> None:
        """Another moment of other traders has come."""
        self.face.others_trade()
        happenings.tell(self.face)

    # --- requests

    def carry_out(self, method: str, path: str, key: str, parameters: Mapping[str, str]) -> Any:
        """What an account asks for; `key` is its API key. Raises Rejected."""
        if path == FAUCET:
            return self._fund(key, Decimal(parameters["usdt"]))
        if path == DELEVERAGE:
            return self._deleverage(key, parameters["symbol"])
        if path == INTERVAL:
            return self._change_interval(parameters["symbol"], int(parameters["interval_h"]))
        handler, _ = SIGNED[method, path]
        return handler(self.face, key, Parameters(parameters))

    def open_account(self, amount_usd: Decimal) -> dict[str, str]:
        """A new account with so much money, as a ready line names it."""
        return self._fund("", amount_usd)

    def _fund(self, key: str, amount_usd: Decimal) -> dict[str, str]:
        """Money from nowhere, as a transfer from another wallet; without a key to a new account."""
        face, amount, reply = self.face, usd(amount_usd), {}
        if not key:
            key = face.open_account()
            reply = {"api_secret": face.secrets[key]}
        if amount:
            face.exchange.deposit(key, amount, face.now_ms)
            face.records[key].earn("", "TRANSFER", amount, face.now_ms, face.next_income(), "")
            happenings.tell_account(face, key, "DEPOSIT", [], face.now_ms, amount)
        return {"api_key": key, **reply, "usdt": f"{amount:f}", "balance": f"{face.wallet_usd(key):f}"}

    def _deleverage(self, key: str, symbol: str) -> dict[str, str]:
        """Close a position at the mark, as if who held its other side had gone under. Raises Refused if there is none."""
        face, listing = self.face, self.face.listing(symbol)
        lots = face.exchange.accounts[key].lots(symbol)
        price = listing.instrument.round_price(face.exchange.marks[symbol])
        face.exchange.deleverage(key, symbol, price, face.now_ms)
        happenings.tell(face)
        return {"symbol": symbol, "closed": listing.quantity(lots), "price": listing.price(price)}

    def _change_interval(self, symbol: str, hours: int) -> dict[str, Any]:
        """From now on a symbol settles every so many hours."""
        face, listing = self.face, self.face.listing(symbol)
        face.intervals.setdefault(symbol, []).append((face.now_ms, hours))
        next_ms = schedule.following(face.intervals, listing, face.now_ms)
        return {"symbol": symbol, "interval_h": hours, "settles": next_ms}

    # --- restarts

    def saved(self) -> Any:
        """What has to be known again after a restart."""
        return self.face.saved()

    def restore(self, kept: Any) -> None:
        """Become what `saved` was taken of."""
        self.face.restore(kept)

    def repeat(self, asked: list[Any]) -> Any:
        """Carry out again what was written down: method, path, key, parameters."""
        try:
            return self.carry_out(*asked)
        except Rejected as refusal:
            return refusal.body()
