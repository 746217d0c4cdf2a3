"""The same adapter at Bybit and OKX, offline: their replies by hand, the library's parsers, and the signer's own rules.

Every request that the adapter makes has to pass the signer's table of that exchange. What the exchanges do in truth can
only be seen there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.model.attempt import AttemptState
from bot.model.decision import OrderPlan
from bot.model.order import Fill, FundingPayment, Liquidation, Order, OrderStatus, Purpose, Side
from bot.model.panel import HOUR_MS
from bot.venues.cex import exchange as exchanges
from bot.venues.cex.adapter import CexVenue
from bot.venues.cex.terms import CexTerms
from bot.venues.outbox import MemoryOutbox
from tests.venues.cex.scripted import SERVICES, Answer, Wire
from tests.venues.cex.test_orders_signed import MARKETS, SignerDesk

EIGHT_H = 8 * HOUR_MS


def bars(low: int, high: int) -> list[list[str]]:
    """Bars that open from `low` to `high`, newest first."""
    opened = range(-(-low // HOUR_MS) * HOUR_MS, high + 1, HOUR_MS)
    return [[str(at), "50000", "50100", "49900", "50050", "2", "2", "100000", "1"] for at in reversed(opened)]


class Account:
    """What the account holds in the replies: one trade and one payment, once it has traded, until the venue takes it."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms, self.name, self.has_paid = now_ms, "", False
        self.taken_by = ""  # the venue's word for how

    @property
    def is_held(self) -> bool:
        return bool(self.name) and not self.taken_by

    @property
    def money(self) -> str:
        if self.taken_by:
            return (
                "979.425"  # a hundredth of a coin sold at 50,000 and bought at 52,000, fees of 0.275 and 0.3
            )
        return "1000" if not self.name else "1000.125" if self.has_paid else "999.725"

    @property
    def last_ms(self) -> int:
        """The newest settlement."""
        return self.now_ms // EIGHT_H * EIGHT_H

    def settlements(self, low: int, high: int) -> list[int]:
        last = min(high, self.now_ms) // EIGHT_H * EIGHT_H
        return list(range(last, max(low, self.now_ms - 40 * EIGHT_H), -EIGHT_H))


def bybit(account: Account) -> dict[str, Answer]:  # noqa: C901 - one exchange's replies, side by side
    now = account.now_ms

    def ok(**result: Any) -> dict[str, Any]:
        return {"retCode": 0, "retMsg": "OK", "time": now, "result": {"category": "linear"} | result}

    def listed(*rows: Any) -> dict[str, Any]:
        return ok(list=list(rows), nextPageCursor="")

    def klines(params: Mapping[str, str]) -> Any:
        return ok(symbol="BTCUSDT", list=[bar[:7] for bar in bars(int(params["start"]), int(params["end"]))])

    def rates(params: Mapping[str, str]) -> Any:
        told = account.settlements(int(params.get("startTime", 0)), int(params.get("endTime", now)))
        return listed(
            *({"symbol": "BTCUSDT", "fundingRate": "0.0008", "fundingRateTimestamp": str(at)} for at in told)
        )

    def create(params: Mapping[str, str]) -> Any:
        account.name = params["orderLinkId"]
        return ok(orderId="u-1", orderLinkId=account.name)

    def order(_: Mapping[str, str]) -> Any:
        if not account.name:
            return listed()
        return listed({
            "orderId": "u-1", "orderLinkId": account.name, "symbol": "BTCUSDT", "price": "50000", "qty": "0.010",
            "side": "Sell", "positionIdx": 0, "orderStatus": "Filled", "avgPrice": "50000", "leavesQty": "0",
            "cumExecQty": "0.010", "cumExecValue": "500", "cumExecFee": "0.275", "timeInForce": "IOC",
            "orderType": "Limit", "reduceOnly": False, "triggerPrice": "0", "createdTime": str(now),
            "updatedTime": str(now),
        })  # fmt: skip

    def trades(params: Mapping[str, str]) -> Any:
        kind = params["execType"]  # the venue tells trades of one kind at a time
        if not account.name or kind not in {"Trade", account.taken_by}:
            return listed()
        if kind != "Trade":
            return listed({
                "symbol": "BTCUSDT", "orderId": "u-9", "orderLinkId": "", "side": "Buy", "execId": "e-9",
                "execPrice": "52000", "execQty": "0.010", "execValue": "520", "execFee": "0.3", "feeCurrency": "USDT",
                "execType": kind, "execTime": str(now + 9), "isMaker": False,
            })  # fmt: skip
        return listed({
            "symbol": "BTCUSDT", "orderId": "u-1", "orderLinkId": account.name, "side": "Sell", "execId": "e-1",
            "execPrice": "50000", "execQty": "0.010", "execValue": "500", "execFee": "0.275", "feeCurrency": "USDT",
            "execType": "Trade", "execTime": str(now), "isMaker": False,
        })  # fmt: skip

    def ledger(_: Mapping[str, str]) -> Any:
        if not account.has_paid:
            return listed()
        return listed({
            "id": "l-1", "symbol": "BTCUSDT", "category": "linear", "side": "Sell", "type": "SETTLEMENT",
            "transactionTime": str(now + 5), "qty": "0.010", "currency": "USDT", "funding": "0.4", "fee": "0",
            "cashFlow": "0", "change": "0.4", "cashBalance": "1000.125",
        })  # fmt: skip

    def wallet(_: Mapping[str, str]) -> Any:
        money = account.money
        coin = {"coin": "USDT", "equity": money, "walletBalance": money, "unrealisedPnl": "0", "locked": "0"}
        return ok(list=[{"accountType": "UNIFIED", "totalEquity": money, "coin": [coin]}])

    def positions(_: Mapping[str, str]) -> Any:
        size = "0.010" if account.is_held else "0"
        return listed({
            "positionIdx": 0, "symbol": "BTCUSDT", "side": "Sell" if account.is_held else "", "size": size,
            "avgPrice": "50000" if account.is_held else "0", "positionValue": "500", "markPrice": "50000",
            "liqPrice": "90000", "leverage": "3", "unrealisedPnl": "0", "tradeMode": 0, "positionIM": "100",
            "positionMM": "5", "updatedTime": str(now), "createdTime": str(now),
        })  # fmt: skip

    def interest(params: Mapping[str, str]) -> Any:
        times = range(int(params["startTime"]), int(params["endTime"]) + 1, HOUR_MS)
        rows = [{"openInterest": "64757.62", "timestamp": str(at)} for at in reversed(times)]
        return ok(symbol="BTCUSDT", category="linear", list=rows, nextPageCursor="")

    tier = {"symbol": "BTCUSDT", "maintenanceMargin": "0.005", "initialMargin": "0.01", "isLowestRisk": 1}
    return {
        "/v5/market/time": {"retCode": 0, "time": now, "result": {}},
        "/v5/market/risk-limit": listed({**tier, "id": 1, "riskLimitValue": "2000000", "maxLeverage": "100.00"}),
        "/v5/user/query-api": ok(userID=77, permissions={"Wallet": []}),
        "/v5/position/switch-mode": ok(),
        "/v5/account/set-margin-mode": ok(reasons=[]),
        "/v5/position/set-leverage": {"retCode": 110043, "retMsg": "Set leverage not modified", "result": {}},
        "/v5/market/tickers": listed({
            "symbol": "BTCUSDT", "lastPrice": "50000", "indexPrice": "50000", "markPrice": "50000",
            "bid1Price": "49999", "ask1Price": "50001", "openInterest": "100", "fundingRate": "0.0001",
            "nextFundingTime": str(account.last_ms + EIGHT_H), "fundingIntervalHour": "8",
        }),
        "/v5/market/kline": klines, "/v5/market/mark-price-kline": klines, "/v5/market/index-price-kline": klines,
        "/v5/market/open-interest": interest,
        "/v5/market/funding/history": rates, "/v5/order/create": create, "/v5/order/realtime": order,
        "/v5/execution/list": trades, "/v5/account/transaction-log": ledger,
        "/v5/account/wallet-balance": wallet, "/v5/position/list": positions,
    }  # fmt: skip


def okx(account: Account) -> dict[str, Answer]:  # noqa: C901 - one exchange's replies, side by side
    now, swap = account.now_ms, {"instType": "SWAP", "instId": "BTC-USDT-SWAP"}

    def ok(*rows: Any) -> dict[str, Any]:
        return {"code": "0", "msg": "", "data": list(rows)}

    def candles(params: Mapping[str, str]) -> Any:
        return ok(*bars(int(params["before"]) + 1, int(params["after"]) - 1))

    def rates(params: Mapping[str, str]) -> Any:
        told = account.settlements(int(params.get("before", 0)), now)
        return ok(
            *(
                {**swap, "fundingRate": "0.00079", "realizedRate": "0.0008", "fundingTime": str(at)}
                for at in told
            )
        )

    def create(params: Mapping[str, str]) -> Any:
        account.name = params["clOrdId"]
        return ok({"ordId": "7", "clOrdId": account.name, "sCode": "0", "sMsg": "", "tag": ""})

    def order(_: Mapping[str, str]) -> Any:
        return ok({
            **swap, "ordId": "7", "clOrdId": account.name, "px": "50000", "sz": "1", "side": "sell", "ordType": "ioc",
            "state": "filled", "accFillSz": "1", "avgPx": "50000", "fee": "-0.275", "feeCcy": "USDT", "tdMode": "cross",
            "posSide": "net", "reduceOnly": "false", "cTime": str(now), "uTime": str(now), "fillSz": "1",
            "fillPx": "50000", "fillTime": str(now), "tradeId": "3", "lever": "3",
        })  # fmt: skip

    def trades(_: Mapping[str, str]) -> Any:
        if not account.name:
            return ok()
        taken = {
            **swap, "tradeId": "9", "ordId": "8", "clOrdId": "", "billId": "b-9", "fillPx": "52000", "fillSz": "1",
            "side": "buy", "posSide": "net", "execType": "T", "feeCcy": "USDT", "fee": "-0.3", "ts": str(now + 9),
            "subType": account.taken_by,
        }  # fmt: skip
        return ok(*([taken] if account.taken_by else []), {
            **swap, "tradeId": "3", "ordId": "7", "clOrdId": account.name, "billId": "b", "fillPx": "50000",
            "fillSz": "1", "side": "sell", "posSide": "net", "execType": "T", "feeCcy": "USDT", "fee": "-0.275",
            "ts": str(now), "subType": "2",
        })  # fmt: skip

    def ledger(_: Mapping[str, str]) -> Any:
        if not account.has_paid:
            return ok()
        return ok({
            **swap, "billId": "b-2", "type": "8", "subType": "174", "balChg": "0.4", "bal": "1000.125", "ccy": "USDT",
            "pnl": "0.4", "fee": "0", "sz": "1", "ts": str(now + 5), "ordId": "", "mgnMode": "cross",
        })  # fmt: skip

    def balance(_: Mapping[str, str]) -> Any:
        money = account.money
        detail = {
            "ccy": "USDT",
            "eq": money,
            "cashBal": money,
            "availBal": money,
            "availEq": money,
            "frozenBal": "0",
        }
        return ok({"adjEq": "", "totalEq": money, "uTime": str(now), "details": [detail]})

    def positions(_: Mapping[str, str]) -> Any:
        if not account.is_held:
            return ok()
        return ok({
            **swap, "posSide": "net", "pos": "-1", "avgPx": "50000", "markPx": "50000", "upl": "0", "liqPx": "90000",
            "lever": "3", "mgnMode": "cross", "margin": "", "imr": "100", "mmr": "5", "notionalUsd": "500", "ccy": "USDT",
            "cTime": str(now), "uTime": str(now), "uplRatio": "0", "mgnRatio": "9", "posId": "1",
        })  # fmt: skip

    tier = {"instId": "", "instFamily": "BTC-USDT", "uly": "BTC-USDT", "imr": "0.01", "mmr": "0.004"}
    ticker = {**swap, "last": "50000", "askPx": "50001", "bidPx": "49999", "ts": str(now)}
    following = {
        "fundingTime": str(account.last_ms + EIGHT_H),
        "nextFundingTime": str(account.last_ms + 2 * EIGHT_H),
    }
    told: dict[str, Answer] = {
        "public/time": ok({"ts": str(now)}),
        "public/position-tiers": ok({**tier, "tier": "1", "minSz": "0", "maxSz": "5000", "maxLever": "100"}),
        "market/ticker": ok(ticker), "market/tickers": ok(ticker),
        "account/config": ok({"uid": "99", "perm": "read_only,trade", "posMode": "net_mode", "acctLv": "2"}),
        "account/set-leverage": ok({"lever": "3", "mgnMode": "cross", "instId": "BTC-USDT-SWAP", "posSide": ""}),
        "public/funding-rate": ok({**swap, **following, "fundingRate": "0.0001", "ts": str(now)}),
        "public/mark-price": ok({**swap, "markPx": "50000", "ts": str(now)}),
        "trade/orders-pending": ok(), "trade/order": lambda p: create(p) if "sz" in p else order(p),
        "trade/fills-history": trades, "account/bills": ledger, "account/balance": balance,
        "account/positions": positions, "market/candles": candles, "market/mark-price-candles": candles,
        "market/index-candles": candles, "public/funding-rate-history": rates,
    }  # fmt: skip
    return {f"/api/v5/{path}": answer for path, answer in told.items()}


REPLIES: Mapping[str, Callable[[Account], dict[str, Answer]]] = {"bybit": bybit, "okx": okx}


@pytest.fixture(params=["bybit", "okx"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Scene:
    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.signer = name, SignerDesk(folder, name)
        self.account = Account(self.signer.desk.wall_ms)
        self.wire = Wire({**MARKETS[name], **REPLIES[name](self.account)})
        self.outbox = MemoryOutbox()
        self.venue: CexVenue

    def play(self, monkeypatch: pytest.MonkeyPatch, story: Callable[["Scene"], Awaitable[None]]) -> None:
        right = exchanges.made

        def scripted(*arguments: Any) -> Any:
            exchange = right(*arguments)
            self.wire.bind(exchange)
            exchange.throttle = self._at_once
            return exchange

        async def run() -> None:
            terms = CexTerms(self.name, "testnet", ("BTC",), service=SERVICES[self.name], history_h=24)
            self.venue = await CexVenue.connect(terms, self.signer, self.outbox)
            try:
                self.panel = await self.venue.open(None)
                await story(self)
            finally:
                await self.venue.close()

        monkeypatch.setattr(exchanges, "made", scripted)
        asyncio.run(run())

    @staticmethod
    async def _at_once(*_: Any) -> None: ...


@pytest.fixture
def scene(tmp_path: Path, name: str) -> Scene:
    return Scene(tmp_path, name)


def test_history_is_read_and_held_against_the_venues_record(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(scene: Scene) -> None:
        panel = scene.panel
        assert panel.rows == 24
        assert panel.fields["funding_rate"][:, 0].tolist() == pytest.approx([0.0001] * 24)
        assert (panel.fields["settled_funding"][:, 0] > 0).sum() == 3
        assert panel.fields["close"][:, 0].tolist() == [50_050.0] * 24
        # OKX tells none of one contract's past.
        interest = panel.fields["open_interest"][:, 0]
        assert interest.tolist() == [64_757.62] * 24 if scene.name == "bybit" else np.isnan(interest).all()
        (instrument,) = scene.venue.instruments
        assert instrument.name == f"{scene.name}:BTC"
        assert instrument.maintenance[0][1] == Decimal("0.005" if scene.name == "bybit" else "0.004")

    scene.play(monkeypatch, story)


def test_an_order_is_placed_found_and_counted_and_funding_is_received(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(scene: Scene) -> None:
        lots = scene.venue.instruments[0].lots(Decimal("0.010"))
        order = Order(f"d1-{scene.name}:BTC-entry", f"{scene.name}:BTC", Side.SELL, lots, Decimal(50_000))
        (report,) = await scene.venue.send(OrderPlan((), (order,)))
        assert (report.status, report.filled_lots, report.order) == (OrderStatus.FILLED, lots, order)
        (attempt,) = scene.outbox.since(0)
        assert (attempt.state, "0x" + scene.account.name) == (AttemptState.FILLED, attempt.cloid)
        scene.account.has_paid = True
        state = await scene.venue.account()
        assert (state.equity_usd, state.fees_usd) == (Decimal("1000.125"), Decimal("0.275"))
        assert (state.funding_usd, state.view.lots.tolist()) == (Decimal("0.4"), [-lots])
        events = scene.venue.take_events()
        (fill,) = [each for each in events if isinstance(each, Fill)]
        assert (fill.client_id, fill.lots, fill.fee_usd) == (order.client_id, lots, Decimal("0.275"))
        (paid,) = [each for each in events if isinstance(each, FundingPayment)]
        assert (paid.usd, paid.lots) == (Decimal("0.4"), -lots)

    scene.play(monkeypatch, story)


TAKEN = {
    "bybit": {
        "BustTrade": Purpose.LIQUIDATION,
        "AdlTrade": Purpose.LIQUIDATION,
        "Settle": Purpose.SETTLEMENT,
        "Delivery": Purpose.SETTLEMENT,
    },
    "okx": {
        "107": Purpose.LIQUIDATION,
        "128": Purpose.LIQUIDATION,
        "112": Purpose.SETTLEMENT,
        "113": Purpose.SETTLEMENT,
    },
}


@pytest.mark.parametrize("k", range(4))
def test_what_the_venue_takes_is_seen_at_the_next_look_and_is_no_order_of_ours(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, k: int
) -> None:
    word, purpose = list(TAKEN[scene.name].items())[k]

    async def story(scene: Scene) -> None:
        lots = scene.venue.instruments[0].lots(Decimal("0.010"))
        order = Order(f"d1-{scene.name}:BTC-entry", f"{scene.name}:BTC", Side.SELL, lots, Decimal(50_000))
        await scene.venue.send(OrderPlan((), (order,)))
        scene.venue.take_events()
        scene.account.taken_by = word
        state = await scene.venue.account()
        assert (state.view.lots.tolist(), state.equity_usd) == ([0], Decimal("979.425"))
        events = scene.venue.take_events()
        (fill,) = [each for each in events if isinstance(each, Fill)]
        assert (fill.purpose, fill.signed_lots, fill.fee_usd) == (purpose, lots, Decimal("0.3"))
        assert any(isinstance(each, Liquidation) for each in events) is (purpose is Purpose.LIQUIDATION)

    scene.play(monkeypatch, story)
