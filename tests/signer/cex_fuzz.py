"""Honest and hostile requests to a central exchange's signer; what it signs is judged again in fractions by other code.

python -m tests.signer.cex_fuzz --requests 1000000 --seed 1
"""

import argparse
import json
import random
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from tests.signer.cex_support import SYMBOLS, CexDesk, order, rule

ODD = [
    "1e9",
    "-1",
    "0",
    "NaN",
    "",
    " 0.01",
    "0.010000001",
    "٣",
    "0x1",
    "9" * 12,
    "true",
    "a&b=c",
    '"',
    "50000,1",
]
PATHS = [
    "/fapi/v1/order",
    "/fapi/v1/batchOrders",
    "/fapi/v1/leverage",
    "/fapi/v1/positionSide/dual",
    "/v5/order/create",
    "/v5/order/create-batch",
    "/v5/order/amend",
    "/v5/position/set-leverage",
    "/api/v5/trade/order",
    "/api/v5/trade/batch-orders",
    "/api/v5/trade/close-position",
    "/api/v5/account/set-leverage",
]


@dataclass
class Judge:
    """The policy of `cex_support`, said again. `signed` is (at, is_buy, coins, dollars, nonce) of what may increase."""

    price: Fraction | None = None
    price_ms: int = 0
    size: Fraction | None = None
    pending: list[tuple[int, bool, Fraction, Fraction, int]] = field(default_factory=list)
    opened: list[tuple[int, Fraction]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def escape(self, venue: str, path: str, sent: dict[str, Any], now_ms: int, nonce: int) -> str | None:
        """Why what was signed should not have been; None where it is in order. Remembers it."""
        if path.endswith("everage"):
            levels = {str(sent[k]) for k in ("leverage", "lever", "buyLeverage", "sellLeverage") if k in sent}
            return None if len(levels) == 1 and 1 <= Fraction(levels.pop()) <= 5 else "leverage"
        if path.endswith("dual"):
            return None if sent["dualSidePosition"] == "false" else "hedge mode"
        if path not in {"/fapi/v1/order", "/v5/order/create", "/api/v5/trade/order"}:
            return "endpoint"
        if sent.get("symbol", sent.get("instId")) != SYMBOLS[venue]:
            return "symbol"
        name = sent.get("newClientOrderId") or sent.get("orderLinkId") or sent.get("clOrdId")
        if not name or name in self.names:
            return "name"
        self.names.add(name)
        coins = Fraction(sent.get("quantity") or sent.get("qty") or sent["sz"])
        coins *= Fraction(1, 100) if venue == "okx" else 1
        if coins <= 0 or (coins * 10_000).denominator != 1:
            return "size"
        is_buy, reduces = sent["side"].lower() == "buy", str(sent.get("reduceOnly")).lower() == "true"
        limit = sent.get("price") or sent.get("px")
        if limit is None and reduces:
            return None
        if self.price is None or now_ms - self.price_ms > 3_000:
            return "stale price"
        at = Fraction(limit) if limit else self.price
        past = (at - self.price) * (1 if is_buy else -1) / self.price
        if past > Fraction(200 if reduces else 50, 10_000) or not 40_000 <= at <= 250_000:
            return "price"
        return None if reduces else self._opening(is_buy, coins, max(at, self.price), now_ms, nonce)

    def _opening(self, is_buy: bool, coins: Fraction, at: Fraction, now_ms: int, nonce: int) -> str | None:
        if self.size is None:
            return "no position was told"
        self.pending.append((now_ms, is_buy, coins, coins * at, nonce))
        self.opened.append((now_ms, coins * at))
        mine = sum((each[2] for each in self.pending if each[1] == is_buy), Fraction(0))
        held = max(self.size if is_buy else -self.size, Fraction(0)) + mine
        if coins * at > 2_500:
            return "order's dollars"
        if held * at > 10_000:
            return "position's dollars"
        if sum(1 for when, _ in self.opened if when > now_ms - 60_000) > 60:
            return "orders a minute"
        if sum(usd for when, usd in self.opened if when > now_ms - 86_400_000) > 50_000:
            return "dollars a day"
        return None

    def report(self, size: str, through_nonce: int) -> None:
        """A position was told and taken."""
        self.size = Fraction(size)
        self.pending = [each for each in self.pending if each[4] > through_nonce]


def _ask(desk: CexDesk, dice: random.Random) -> tuple[str, str, dict[str, Any]]:
    price = dice.choice(
        [None, "50000", f"{dice.uniform(49_000, 51_000):.1f}", f"{dice.uniform(1, 300_000):.2f}"]
    )
    size = dice.choice(
        ["0.01", "0.0100", "0.05", f"{dice.uniform(0, 0.08):.4f}", f"{dice.uniform(0, 3):.4f}"]
    )
    method, path, params = order(
        desk.venue, dice.choice(["buy", "sell"]), size, price, reduce=dice.random() < 0.2
    )
    sent: dict[str, Any] = dict(params)
    if dice.random() < 0.35:
        key = dice.choice(
            [*sent, "closePosition", "tgtCcy", "triggerPrice", "stopPrice", "leverage", "lever"]
        )
        sent[key] = dice.choice([*ODD, "ETHUSDT", "LIMIT", "true", 1, 0.5, None, ["x"], {"a": 1}])
    if dice.random() < 0.1:
        del sent[dice.choice([*sent])]
    if dice.random() < 0.1:
        path = dice.choice(PATHS)
        level = dice.choice(["1", "5", "6", "125", "0", "5.0", "5.5"])
        sent = dice.choice(
            [
                sent,
                {"symbol": SYMBOLS["binance"], "leverage": level},
                {
                    "category": "linear",
                    "symbol": SYMBOLS["bybit"],
                    "buyLeverage": level,
                    "sellLeverage": dice.choice([level, "2"]),
                },
                {"instId": SYMBOLS["okx"], "lever": level, "mgnMode": "isolated"},
                {"dualSidePosition": dice.choice(["true", "false"])},
            ]
        )
    return method, path, sent


def run(requests: int, seed: int, **weaker: Any) -> dict[str, int]:
    """How many requests were signed, denied, and escaped; `weaker` changes the signer's policy and not the judge's. Raises AssertionError where an answer is neither."""
    dice, found = random.Random(seed), Counter[str](requests=0, signed=0, denied=0, restarts=0, escapes=0)
    venues = sorted(SYMBOLS)
    while found["requests"] < requests:
        with tempfile.TemporaryDirectory() as folder:
            wide = {"denials_per_min": 10_000_000} | weaker  # else it would soon do nothing but reduce
            desk, judge = CexDesk(Path(folder), venues[found["requests"] // 2_000 % 3], **wide), Judge()
            for _ in range(2_000):
                found["requests"] += 1
                found.update(_step(desk, judge, dice))
            desk.nonces.close()
            desk.audit.close()
    return dict(found)


def _step(desk: CexDesk, judge: Judge, dice: random.Random) -> Counter[str]:
    """One request, and perhaps something told or a restart before it."""
    found: Counter[str] = Counter()
    desk.wait(dice.choice([1, 20, 300, 1_500, 4_000 if dice.random() < 0.1 else 1]))
    if dice.random() < 0.5:
        price = f"{dice.uniform(49_950, 50_050):.1f}"
        if "ok" in desk.ask("prices", prices={desk.symbol: price}, at_ms=desk.wall_ms):
            judge.price, judge.price_ms = Fraction(price), desk.wall_ms
    if dice.random() < 0.05:
        size, through = f"{dice.uniform(0, 0.2):.4f}", desk.nonces.last - dice.choice([0, 0, 1, 5_000])
        held = {desk.symbol: {"size": dice.choice(["", "-"]) + size, "buys": "0", "sells": "0"}}
        told = {"open_orders": 0, "through_nonce": max(through, 0), "at_ms": desk.wall_ms}
        if "ok" in desk.ask("positions", positions=held, **told):
            judge.report(held[desk.symbol]["size"], max(through, 0))
            # Of a time ten seconds past its expiry a report tells what came of an order whatever its nonce.
            dead_ms = desk.rules.receive_window_ms + 10_000
            judge.pending = [each for each in judge.pending if each[0] + dead_ms >= desk.wall_ms]
    if dice.random() < 0.002:
        desk.again()
        judge.price = judge.size = None
        found["restarts"] += 1
    method, path, sent = _ask(desk, dice)
    answer = desk.ask("cex", method=method, path=path, params=sent)
    if "ok" not in answer:
        assert rule(answer) != "locked", answer
        found["denied"] += 1
        return found
    found["signed"] += 1
    ok = answer["ok"]
    body = dict(parse_qsl(ok["body"])) if desk.venue == "binance" else json.loads(ok["body"])
    said = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in body.items()}
    for extra in ("timestamp", "recvWindow", "signature") if desk.venue == "binance" else ():
        said.pop(extra)
    why = judge.escape(desk.venue, path, body, desk.wall_ms, ok["nonce"])
    if said != sent or why is not None:
        found["escapes"] += 1
        print(f"escape: {why or 'not what was asked for'}: {path} {sent}")  # noqa: T201
    return found


def main() -> None:
    """Print what was found as one JSON object; status 1 after an escape."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    found = run(options.requests, options.seed)
    print(json.dumps(found))  # noqa: T201
    raise SystemExit(bool(found["escapes"]))


if __name__ == "__main__":
    main()
