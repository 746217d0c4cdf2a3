"""An account's settings: leverage, margin and position mode, and what the venue says of them."""

from __future__ import annotations

from typing import Any, Final

from bot.devnet.cex import happenings
from bot.devnet.cex.authentication import Rejected
from bot.devnet.cex.face import CexFace
from bot.devnet.cex.listing import MAKER, TAKER, Listing
from bot.devnet.cex.parameters import Parameters
from bot.devnet.cex.records import Json
from bot.errors import Refused
from bot.model.account import MarginMode

SUCCESS: Final[Json] = {"code": 200, "msg": "success"}


def _word(mode: MarginMode) -> str:
    return "ISOLATED" if mode is MarginMode.ISOLATED else "CROSSED"


def brackets(face: CexFace, key: str, parameters: Parameters) -> Any:  # noqa: ARG001
    """GET leverageBracket, of one symbol or of all."""
    symbol = parameters.optional_symbol()
    chosen = list(face.listed.values()) if symbol is None else [face.listing(symbol)]
    return [{"symbol": each.symbol, "brackets": _brackets(each)} for each in chosen]


def _brackets(listing: Listing) -> list[Json]:
    caps = [bound for bound, _, _ in listing.brackets[1:]] + [listing.last_cap]
    rows = zip(listing.brackets, caps, listing.instrument.maintenance, strict=True)
    return [
        {
            "bracket": number,
            "initialLeverage": most,
            "notionalCap": cap,
            "notionalFloor": floor,
            "maintMarginRatio": float(rate),
            "cum": float(deduction),
        }
        for number, ((floor, most, rate), cap, (_, _, deduction)) in enumerate(rows, 1)
    ]


def set_leverage(face: CexFace, key: str, parameters: Parameters) -> Any:
    """POST leverage."""
    listing, leverage = face.listing(parameters.text("symbol")), parameters.integer("leverage")
    _, mode = face.exchange.leverage(key, listing.symbol)
    if not 1 <= leverage <= listing.instrument.max_leverage:
        raise Rejected(-4028, f"Leverage {leverage} is not valid")
    try:
        face.exchange.set_leverage(key, listing.symbol, leverage, mode, face.now_ms)
    except Refused as refusal:
        if "exceed margin tier" in str(refusal):
            raise Rejected(-2027, "Exceeded the maximum allowable position at current leverage.") from None
        raise Rejected(-2028, "Leverage is smaller than permitted: insufficient margin balance.") from None
    face.said(
        key,
        {
            "e": "ACCOUNT_CONFIG_UPDATE",
            "E": face.now_ms,
            "T": face.now_ms,
            "ac": {"s": listing.symbol, "l": leverage},
        },
    )
    return {
        "leverage": leverage,
        "maxNotionalValue": str(listing.most_notional_at(leverage)),
        "symbol": listing.symbol,
    }


def set_margin_type(face: CexFace, key: str, parameters: Parameters) -> Any:
    """POST marginType."""
    listing = face.listing(parameters.text("symbol"))
    word = parameters.one_of(
        "marginType", {"ISOLATED", "CROSSED"}, -1130, "Data sent for parameter 'marginType' is not valid."
    )
    leverage, mode = face.exchange.leverage(key, listing.symbol)
    if word == _word(mode):
        raise Rejected(-4046, "No need to change margin type.")
    if face.records[key].open_orders(listing.symbol):
        raise Rejected(-4047, "Margin type cannot be changed if there exists open orders.")
    if face.exchange.accounts[key].lots(listing.symbol):
        raise Rejected(-4048, "Margin type cannot be changed if there exists position.")
    new = MarginMode.ISOLATED if word == "ISOLATED" else MarginMode.CROSS
    face.exchange.set_leverage(key, listing.symbol, leverage, new, face.now_ms)
    return SUCCESS


def add_margin(face: CexFace, key: str, parameters: Parameters) -> Any:
    """POST positionMargin: to an isolated position (type 1), or from it (2)."""
    listing, amount = face.listing(parameters.text("symbol")), parameters.decimal("amount")
    kind = parameters.one_of("type", {"1", "2"}, -1130, "Data sent for parameter 'type' is not valid.")
    signed = amount if kind == "1" else -amount
    try:
        face.exchange.add_margin(key, listing.symbol, signed, face.now_ms)
    except Refused as refusal:
        if "margin available" in str(refusal):
            raise Rejected(-2019, "Margin is insufficient.") from None
        raise Rejected(-4051, "Isolated balance insufficient.") from None
    happenings.tell_account(face, key, "MARGIN_TRANSFER", [listing.symbol], face.now_ms)
    return {
        "code": 200,
        "msg": "Successfully modify position margin.",
        "amount": float(amount),
        "type": int(kind),
    }


def position_mode(face: CexFace, key: str, parameters: Parameters) -> Any:  # noqa: ARG001
    """GET positionSide/dual."""
    return {"dualSidePosition": face.records[key].is_hedged}


def set_position_mode(face: CexFace, key: str, parameters: Parameters) -> Any:
    """POST positionSide/dual. An account in hedge mode can't order anything here."""
    parameters.text("dualSidePosition")
    wanted, records = parameters.flag("dualSidePosition"), face.records[key]
    if wanted == records.is_hedged:
        raise Rejected(-4059, "No need to change position side.")
    if records.open_orders() or records.waiting():
        raise Rejected(-4067, "Position side cannot be changed if there exists open orders.")
    if face.exchange.accounts[key].positions:
        raise Rejected(-4068, "Position side cannot be changed if there exists position.")
    records.is_hedged = wanted
    return SUCCESS


def assets_mode(face: CexFace, key: str, parameters: Parameters) -> Any:  # noqa: ARG001
    """GET multiAssetsMargin."""
    return {"multiAssetsMargin": False}


def symbol_config(face: CexFace, key: str, parameters: Parameters) -> Any:
    """GET symbolConfig."""
    symbol = parameters.optional_symbol()
    chosen = list(face.listed.values()) if symbol is None else [face.listing(symbol)]
    rows = [(each, *face.exchange.leverage(key, each.symbol)) for each in chosen]
    return [
        {
            "symbol": each.symbol,
            "marginType": _word(mode),
            "isAutoAddMargin": False,
            "leverage": leverage,
            "maxNotionalValue": str(each.most_notional_at(leverage)),
        }
        for each, leverage, mode in rows
    ]


def config(face: CexFace, key: str, parameters: Parameters) -> Any:  # noqa: ARG001
    """GET accountConfig."""
    return config_of(face, key)


def config_of(face: CexFace, key: str) -> Json:
    """What the account may do. What its key may is another matter, of which the venue's futures hosts say nothing."""
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": face.records[key].is_hedged,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
    }


def commission(face: CexFace, key: str, parameters: Parameters) -> Any:  # noqa: ARG001
    """GET commissionRate."""
    listing = face.listing(parameters.text("symbol"))
    return {
        "symbol": listing.symbol,
        "makerCommissionRate": f"{MAKER:.6f}",
        "takerCommissionRate": f"{TAKER:.6f}",
        "rpiCommissionRate": "0.000000",
    }
