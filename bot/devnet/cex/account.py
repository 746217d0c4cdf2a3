"""What an account has: balances, margin, positions."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from bot.devnet.cex import settings
from bot.devnet.cex.face import CexFace
from bot.devnet.cex.listing import TAKER, USDT, Listing
from bot.devnet.cex.parameters import Parameters
from bot.devnet.cex.records import Json, money
from bot.model.account import MarginMode, Position
from bot.model.margin import maintenance_margin
from bot.model.money import ZERO


@dataclass(frozen=True, slots=True)
class _Held:
    """One position as the venue works it out."""

    listing: Listing
    position: Position | None
    leverage: int
    mode: MarginMode
    mark: Decimal
    liquidation_price: Decimal | None
    adl: int
    ordered: tuple[int, int, int]  # lots that rest to buy, to sell, and what they would add

    @property
    def lots(self) -> int:
        return 0 if self.position is None else self.position.lots

    @property
    def notional(self) -> Decimal:
        return self.listing.instrument.notional(self.lots, self.mark)

    @property
    def unrealised(self) -> Decimal:
        return ZERO if self.position is None else self.position.unrealised_usd(self.mark)

    @property
    def initial(self) -> Decimal:
        return abs(self.notional) / self.leverage

    @property
    def of_orders(self) -> Decimal:
        """Initial margin of what rests, as if all of the worse side were filled."""
        return self.listing.instrument.notional(self.ordered[2], self.mark) / self.leverage

    @property
    def ordered_notionals(self) -> Json:
        """What rests on either side, at the mark."""
        bid, ask = (money(self.listing.instrument.notional(lots, self.mark)) for lots in self.ordered[:2])
        return {"bidNotional": bid, "askNotional": ask}

    @property
    def maintenance(self) -> Decimal:
        return maintenance_margin(self.listing.instrument, self.notional)

    @property
    def isolated_wallet(self) -> Decimal:
        if self.position is None or self.mode is MarginMode.CROSS:
            return ZERO
        return self.position.cash_usd + self.position.cost_usd

    @property
    def isolated_margin(self) -> Decimal:
        return self.isolated_wallet + (self.unrealised if self.mode is MarginMode.ISOLATED else ZERO)

    @property
    def entry(self) -> str:
        price = ZERO if self.position is None else self.position.entry_price
        return f"{price:.{self.listing.price_decimals + 3}f}"

    @property
    def break_even(self) -> str:
        """Where closing it at the taker's fee would bring back what opening it at the taker's fee cost."""
        price = ZERO if self.position is None else self.position.entry_price
        sign = 1 if self.lots > 0 else -1
        even = price * (1 + sign * TAKER) / (1 - sign * TAKER)
        return f"{even:.{self.listing.price_decimals + 3}f}"


def _held(face: CexFace, key: str, listing: Listing) -> _Held:
    exchange, name = face.exchange, listing.symbol
    books = exchange.accounts[key]
    position = books.positions.get(name)
    leverage, mode = exchange.leverage(key, name)
    liquidation = None if position is None else books.liquidation_price(name, exchange.marks)
    adl = 0 if position is None else _adl(position, exchange.marks[name], leverage)
    ordered = exchange.ordered_lots(key, name)
    return _Held(listing, position, leverage, mode, exchange.marks[name], liquidation, adl, ordered)


def _adl(position: Position, mark: Decimal, leverage: int) -> int:
    """How near the front of the queue to be deleveraged, 0 to 4: by the return on margin, as the venue's lights."""
    gained = position.unrealised_usd(mark) / abs(position.cost_usd) * leverage if position.cost_usd else ZERO
    return sum(gained > bound for bound in (Decimal(0), Decimal("0.1"), Decimal("0.5"), Decimal(1)))


def _updated(face: CexFace, key: str, symbol: str) -> int:
    return face.records[key].updated_ms.get(symbol, 0)


# --- balances


@dataclass(frozen=True, slots=True)
class _Totals:
    wallet: Decimal
    cross_wallet: Decimal
    unrealised: Decimal
    cross_unrealised: Decimal
    initial: Decimal
    of_orders: Decimal
    maintenance: Decimal
    available: Decimal
    withdrawable: Decimal


def _totals(face: CexFace, key: str) -> _Totals:
    held = [_held(face, key, face.listed[name]) for name in face.exchange.accounts[key].positions]
    wallet = face.wallet_usd(key)
    cross = [each for each in held if each.mode is MarginMode.CROSS]
    cross_wallet = wallet - sum((each.isolated_wallet for each in held), ZERO)
    cross_unrealised = sum((each.unrealised for each in cross), ZERO)
    available = face.exchange.available_usd(key)
    cross_initial = sum((each.initial for each in cross), ZERO)
    return _Totals(
        wallet,
        cross_wallet,
        sum((each.unrealised for each in held), ZERO),
        cross_unrealised,
        sum((each.initial for each in held), ZERO),
        max(ZERO, cross_wallet + cross_unrealised - available - cross_initial),
        sum((each.maintenance for each in held), ZERO),
        max(ZERO, available),
        max(ZERO, min(available, cross_wallet)),
    )


def account_v3(face: CexFace, key: str, parameters: Parameters) -> Any:  # noqa: ARG001
    """GET v3/account: positions and orders only where there are some."""
    held = [_held(face, key, listing) for listing in _with_something(face, key)]
    return _account(face, key) | {"positions": [_account_position(face, key, each) for each in held]}


def account_v2(face: CexFace, key: str, parameters: Parameters) -> Any:  # noqa: ARG001
    """GET v2/account: every symbol, and what the key may do."""
    held = [_held(face, key, listing) for listing in face.listed.values()]
    rows = [
        _account_position(face, key, each)
        | {
            "positionInitialMargin": money(each.initial),
            "openOrderInitialMargin": money(each.of_orders),
            "leverage": str(each.leverage),
            "isolated": each.mode is MarginMode.ISOLATED,
            "entryPrice": each.entry,
            "breakEvenPrice": each.break_even,
            "maxNotional": str(each.listing.most_notional_at(each.leverage)),
            **each.ordered_notionals,
        }
        for each in held
    ]
    return settings.config_of(face, key) | _account(face, key) | {"positions": rows, "updateTime": 0}


def _with_something(face: CexFace, key: str) -> list[Listing]:
    positions = face.exchange.accounts[key].positions
    ordered = {each.listing.symbol for each in face.records[key].open_orders()}
    return [each for name, each in face.listed.items() if name in positions or name in ordered]


def _account(face: CexFace, key: str) -> Json:
    totals = _totals(face, key)
    asset = {
        "asset": USDT,
        "walletBalance": money(totals.wallet),
        "unrealizedProfit": money(totals.unrealised),
        "marginBalance": money(totals.wallet + totals.unrealised),
        "maintMargin": money(totals.maintenance),
        "initialMargin": money(totals.initial + totals.of_orders),
        "positionInitialMargin": money(totals.initial),
        "openOrderInitialMargin": money(totals.of_orders),
        "crossWalletBalance": money(totals.cross_wallet),
        "crossUnPnl": money(totals.cross_unrealised),
        "availableBalance": money(totals.available),
        "maxWithdrawAmount": money(totals.withdrawable),
        "marginAvailable": True,
        "updateTime": face.now_ms,
    }
    return {
        "totalInitialMargin": asset["initialMargin"],
        "totalMaintMargin": asset["maintMargin"],
        "totalWalletBalance": asset["walletBalance"],
        "totalUnrealizedProfit": asset["unrealizedProfit"],
        "totalMarginBalance": asset["marginBalance"],
        "totalPositionInitialMargin": asset["positionInitialMargin"],
        "totalOpenOrderInitialMargin": asset["openOrderInitialMargin"],
        "totalCrossWalletBalance": asset["crossWalletBalance"],
        "totalCrossUnPnl": asset["crossUnPnl"],
        "availableBalance": asset["availableBalance"],
        "maxWithdrawAmount": asset["maxWithdrawAmount"],
        "assets": [asset],
    }


def _account_position(face: CexFace, key: str, held: _Held) -> Json:
    return {
        "symbol": held.listing.symbol,
        "positionSide": "BOTH",
        "positionAmt": held.listing.quantity(held.lots),
        "unrealizedProfit": money(held.unrealised),
        "isolatedMargin": money(held.isolated_margin) if held.isolated_margin else "0",
        "notional": money(held.notional),
        "isolatedWallet": money(held.isolated_wallet) if held.isolated_wallet else "0",
        "initialMargin": money(held.initial),
        "maintMargin": money(held.maintenance),
        "updateTime": _updated(face, key, held.listing.symbol),
    }


def balance(face: CexFace, key: str, parameters: Parameters) -> Any:  # noqa: ARG001
    """GET v2/balance and v3/balance."""
    totals = _totals(face, key)
    return [
        {
            "accountAlias": key[:8],
            "asset": USDT,
            "balance": money(totals.wallet),
            "crossWalletBalance": money(totals.cross_wallet),
            "crossUnPnl": money(totals.cross_unrealised),
            "availableBalance": money(totals.available),
            "maxWithdrawAmount": money(totals.withdrawable),
            "marginAvailable": True,
            "updateTime": face.now_ms,
        }
    ]


# --- positions


def risk_v3(face: CexFace, key: str, parameters: Parameters) -> Any:
    """GET v3/positionRisk: symbols with a position or an order."""
    symbol = parameters.optional_symbol()
    if symbol is not None:
        face.listing(symbol)
    chosen = [each for each in _with_something(face, key) if symbol in {None, each.symbol}]
    held = [_held(face, key, listing) for listing in chosen]
    return [
        _risk(face, key, each)
        | {
            "initialMargin": money(each.initial),
            "maintMargin": money(each.maintenance),
            "positionInitialMargin": money(each.initial),
            "openOrderInitialMargin": money(each.of_orders),
            "adl": each.adl,
            **each.ordered_notionals,
            "marginAsset": USDT,
        }
        for each in held
    ]


def risk_v2(face: CexFace, key: str, parameters: Parameters) -> Any:
    """GET v2/positionRisk: every symbol, or the one."""
    symbol = parameters.optional_symbol()
    chosen = list(face.listed.values()) if symbol is None else [face.listing(symbol)]
    held = [_held(face, key, listing) for listing in chosen]
    return [
        _risk(face, key, each)
        | {
            "leverage": str(each.leverage),
            "marginType": each.mode.value,
            "isAutoAddMargin": "false",
            "maxNotionalValue": str(each.listing.most_notional_at(each.leverage)),
        }
        for each in held
    ]


def _risk(face: CexFace, key: str, held: _Held) -> Json:
    liquidation = ZERO if held.liquidation_price is None else held.liquidation_price
    return {
        "symbol": held.listing.symbol,
        "positionSide": "BOTH",
        "positionAmt": held.listing.quantity(held.lots),
        "entryPrice": held.entry,
        "breakEvenPrice": held.break_even,
        "markPrice": money(held.mark),
        "unRealizedProfit": money(held.unrealised),
        "liquidationPrice": money(liquidation) if liquidation > 0 else "0",
        "isolatedMargin": money(held.isolated_margin) if held.isolated_margin else "0",
        "notional": money(held.notional),
        "isolatedWallet": money(held.isolated_wallet) if held.isolated_wallet else "0",
        "updateTime": _updated(face, key, held.listing.symbol),
    }


def adl_quantile(face: CexFace, key: str, parameters: Parameters) -> Any:
    """GET adlQuantile: of the symbols with a position."""
    symbol = parameters.optional_symbol()
    held = [
        _held(face, key, face.listed[name])
        for name in face.exchange.accounts[key].positions
        if symbol in {None, name}
    ]
    return [
        {"symbol": each.listing.symbol, "adlQuantile": {"LONG": 0, "SHORT": 0, "BOTH": each.adl}}
        for each in held
    ]


def forced(face: CexFace, key: str, parameters: Parameters) -> Any:
    """GET forceOrders: orders that the venue placed, as it liquidated or deleveraged."""
    symbol, kind = parameters.optional_symbol(), parameters.of.get("autoCloseType")
    start, end = parameters.span()
    records = face.records[key]
    found = [
        records.orders[number].row()
        for number, why in records.forced.items()
        if number in records.orders and kind in {None, "", why}
    ]
    rows = [
        row
        for row in found
        if symbol in {None, row["symbol"]}
        and (start is None or start <= row["time"])
        and (end is None or row["time"] <= end)
    ]
    return rows[-parameters.limit(100 if symbol else 50, 100) :]
