"""What the signer's policy means, said a second time: fractions, plain lists and no code of the signer.

`judge` says whether a packet must be signed. It keeps its own memory of what was, told by `took`.
"""

import json
from fractions import Fraction
from typing import Any

DAY, MINUTE = 86_400_000, 60_000
DIGITS = frozenset("0123456789")
HEX = frozenset("0123456789abcdef")
TELLS = ("prices", "positions", "clock", "status", "lock")
NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:@/_-")


class No(Exception):
    """Not to be signed."""


def need(condition: object) -> None:
    if not condition:
        raise No


def number(value: Any) -> Fraction:
    need(isinstance(value, str) and value)
    whole, dot, fraction = value.partition(".")
    need(whole and len(whole) <= 9 and set(whole) <= DIGITS and (whole == "0" or whole[0] != "0"))
    need(not dot or (1 <= len(fraction) <= 8 and set(fraction) <= DIGITS))
    return Fraction(int(whole)) + (Fraction(int(fraction), 10 ** len(fraction)) if dot else 0)


def whole(value: Any, low: int, high: int = 2**53) -> int:
    need(isinstance(value, int) and not isinstance(value, bool) and low <= value <= high)
    return int(value)


def flag(value: Any) -> bool:
    need(value is True or value is False)
    return bool(value)


def exactly(value: Any, *keys: str) -> Any:
    need(isinstance(value, dict) and set(value) == set(keys))
    return value


def cloid(value: Any) -> str:
    need(isinstance(value, str) and len(value) == 34 and value[:2] == "0x" and set(value[2:]) <= HEX)
    return str(value)


def name(value: Any) -> str:
    need(isinstance(value, str) and 1 <= len(value) <= 32 and set(value) <= NAME)
    return str(value)


def one_of(value: Any, *choices: str) -> str:
    need(isinstance(value, str) and value in choices)
    return str(value)


def some(value: Any) -> list[Any]:
    need(isinstance(value, list) and 1 <= len(value) <= 32)
    return list(value)


def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
    need(len({key for key, _ in found}) == len(found))
    return dict(found)


class Oracle:
    """The policy's meaning, and what has happened so far."""

    def __init__(self, policy: dict[str, Any]) -> None:
        self.p = policy
        self.prices: dict[str, tuple[Fraction, int]] = {}
        self.kept: dict[str, tuple[Fraction, int]] = {}
        self.held: dict[str, tuple[Fraction, Fraction, Fraction]] | None = None
        self.resting = 0
        self.open: list[tuple[int, str, Fraction, Fraction, int]] = []
        self.signed: list[tuple[int, tuple[int, str, Fraction, Fraction, int]]] = []
        self.events: dict[str, list[tuple[int, Fraction]]] = {}
        self.given: dict[int, int] = {}
        self.highest = 0
        self.cloids: dict[str, int] = {}
        self.now = 0
        self.uses: list[tuple[str, Fraction]] = []

    def limit(self, coin: str, key: str) -> Fraction:
        """A coin's own limit, else the one for all."""
        found = self.p["coins"][coin].get(key, self.p.get(key))
        return Fraction(str(found))

    def used(self, what: str, span: int) -> Fraction:
        """What was used of a budget."""
        total = Fraction(0)
        for at, much in reversed(self.events.get(what, [])):
            if at <= self.now - span:  # they stand in the order of time
                break
            total += much
        return total

    def judge(self, packet: bytes, now: int) -> dict[str, Any] | None:
        """The request if it is to be answered with ok, else None."""
        self.now, self.uses = now, []
        try:
            need(len(packet) <= 16384)
            try:
                request = json.loads(packet.decode("ascii"), object_pairs_hook=pairs)
            except (ValueError, RecursionError):
                raise No from None
            need(isinstance(request, dict))
            whole(request.get("id"), 0)
            do = request.get("do")
            need(isinstance(do, str))
            check = getattr(self, f"do_{do}", None) if str(do).isidentifier() else None
            need(check is not None)
            assert check is not None
            need(do in TELLS or do in self.p["allow"])
            check(request)
            return dict(request)
        except No:
            return None

    def budget(self, what: str, span: int, amount: Fraction, key: str) -> None:
        """There is enough left."""
        need(amount == 0 or self.used(what, span) + amount <= Fraction(str(self.p[key])))
        self.uses.append((what, amount))

    def day(self) -> None:
        """One more action of the day."""
        need(self.used("action", DAY) + 1 <= self.p["actions_per_day"])

    def do_order(self, r: Any) -> None:
        exactly(r, "id", "do", "orders", "grouping", "expires_in_ms")
        grouping = one_of(r["grouping"], "na", "normalTpsl", "positionTpsl")
        self.batch(some(r["orders"]), grouping, r["expires_in_ms"], fresh=True)

    def do_modify(self, r: Any) -> None:
        exactly(r, "id", "do", "modifies", "always", "expires_in_ms")
        flag(r["always"])
        for each in some(r["modifies"]):
            exactly(each, "oid", "order")
            if isinstance(each["oid"], str):
                cloid(each["oid"])
            else:
                whole(each["oid"], 0)
        self.batch([each["order"] for each in r["modifies"]], "na", r["expires_in_ms"], fresh=False)

    def batch(self, orders: list[Any], grouping: str, expires: Any, fresh: bool) -> None:
        low, high = self.p["expires_ms"]
        need(low <= whole(expires, 1) <= high)
        for order in orders:
            self.form(order, grouping)
        opening = [order for order in orders if not order["reduce_only"]]
        if fresh:
            cloids = [order["cloid"] for order in orders]
            need(len(set(cloids)) == len(cloids))
            need(not any(self.cloids.get(each, -9 * DAY) > self.now - 3 * DAY for each in cloids))
        total = Fraction(0)
        span = self.span()
        for order in opening:
            need(self.held is not None)
            coin, size, price = order["coin"], number(order["size"]), number(order["price"])
            worst = max(price, self.prices[coin][0])
            # Money is counted in millionths, rounded up.
            notional = self.up(size * worst)
            need(notional <= self.limit(coin, "max_order_usd"))
            total += notional
            low_end, high_end = span.get(coin, (Fraction(0), Fraction(0)))
            if order["side"] == "buy":
                high_end += size
                need(self.up(max(high_end, Fraction(0)) * worst) <= self.limit(coin, "max_position_usd"))
            else:
                low_end -= size
                need(self.up(max(-low_end, Fraction(0)) * worst) <= self.limit(coin, "max_position_usd"))
            span[coin] = (low_end, high_end)
        reduces = Fraction(len(orders) - len(opening))
        if opening:
            self.budget("order", MINUTE, Fraction(len(opening)), "orders_per_min")
            need(self.resting + len(self.open) + len(orders) <= self.p["max_open_orders"])
            gross = Fraction(0)
            for coin, (low_end, high_end) in span.items():
                if low_end or high_end:
                    need(coin in self.prices)
                    gross += self.up(max(high_end, -low_end) * self.prices[coin][0])
            need(gross <= self.p["max_gross_usd"])
            self.budget("turnover", DAY, total, "turnover_usd_per_day")
            self.day()
        self.budget("reduce", MINUTE, reduces, "reduces_per_min")

    @staticmethod
    def up(value: Fraction) -> Fraction:
        return Fraction(-(-value * 10**6 // 1), 10**6)

    def span(self) -> dict[str, tuple[Fraction, Fraction]]:
        """Coin → lowest and highest position that may come of what is known."""
        none = Fraction(0)
        # A position may be closed, by orders that only reduce, before the others fill.
        span = {
            c: (min(size, none) - sells, max(size, none) + buys)
            for c, (size, buys, sells) in (self.held or {}).items()
        }
        for _, coin, buys, sells, _ in self.open:
            low, high = span.get(coin, (Fraction(0), Fraction(0)))
            span[coin] = (low - sells, high + buys)
        return span

    def form(self, order: Any, grouping: str) -> None:
        """An order's form and price."""
        exactly(order, "coin", "side", "size", "price", "reduce_only", "cloid", "tif", "trigger")
        coin, side = name(order["coin"]), one_of(order["side"], "buy", "sell")
        size, price, reduce = number(order["size"]), number(order["price"]), flag(order["reduce_only"])
        cloid(order["cloid"])
        need((order["tif"] is None) != (order["trigger"] is None))
        if order["tif"] is not None:
            one_of(order["tif"], "Alo", "Gtc", "Ioc")
            need(order["tif"] in self.p["tif"])
        need(coin in self.p["coins"] and price > 0)
        need(size > 0 or (grouping == "positionTpsl" and order["trigger"] is not None and reduce))
        need((size * 10 ** self.p["coins"][coin]["size_decimals"]).denominator == 1)
        low, high = (Fraction(str(each)) for each in self.p["coins"][coin]["band"])
        need(low <= price <= high)
        need(coin in self.prices)
        reference, at = self.prices[coin]
        need(self.now - at <= self.p["reference_max_age_ms"])
        sign = 1 if side == "buy" else -1
        past = self.limit(coin, "collar_reduce_bps" if reduce else "collar_bps") / 10_000
        if order["trigger"] is None:
            need((price - reference) * sign <= reference * past)
            return
        condition = exactly(order["trigger"], "kind", "price", "is_market")
        kind, fires = one_of(condition["kind"], "tp", "sl"), number(condition["price"])
        flag(condition["is_market"])
        need(reduce and low <= fires <= high)
        need((price - fires) * sign <= fires * self.limit(coin, "collar_trigger_bps") / 10_000)
        if kind == "tp":
            need((fires - reference) * sign <= reference * past)

    def do_cancel(self, r: Any) -> None:
        exactly(r, "id", "do", "cancels", "fast")
        for each in some(r["cancels"]):
            exactly(each, "coin", "oid")
            need(name(each["coin"]) in self.p["coins"])
            whole(each["oid"], 0)
        flag(r["fast"])
        self.budget("cancel", MINUTE, Fraction(len(r["cancels"])), "cancels_per_min")

    def do_cancel_by_cloid(self, r: Any) -> None:
        exactly(r, "id", "do", "cancels", "fast")
        for each in some(r["cancels"]):
            exactly(each, "coin", "cloid")
            need(name(each["coin"]) in self.p["coins"])
            cloid(each["cloid"])
        flag(r["fast"])
        self.budget("cancel", MINUTE, Fraction(len(r["cancels"])), "cancels_per_min")

    def do_leverage(self, r: Any) -> None:
        exactly(r, "id", "do", "coin", "leverage", "is_cross")
        need(name(r["coin"]) in self.p["coins"] and not flag(r["is_cross"]))
        need(whole(r["leverage"], 1) <= self.p["coins"][r["coin"]]["max_leverage"])
        self.day()

    def do_isolated_margin(self, r: Any) -> None:
        exactly(r, "id", "do", "coin", "usd_micro")
        need(name(r["coin"]) in self.p["coins"] and whole(r["usd_micro"], -(2**53)) != 0)
        self.budget("margin", DAY, Fraction(abs(r["usd_micro"]), 10**6), "isolated_margin_usd_per_day")
        self.day()

    def do_schedule_cancel(self, r: Any) -> None:
        exactly(r, "id", "do", "time_ms")
        if r["time_ms"] is not None:
            need(5_000 <= whole(r["time_ms"], 1) - self.now <= DAY)
        self.day()

    def do_fence(self, r: Any) -> None:
        exactly(r, "id", "do", "nonce")
        need(self.given.get(whole(r["nonce"], 1), -9 * DAY) > self.now - 3 * DAY)
        self.budget("fence", MINUTE, Fraction(1), "fences_per_min")

    def do_prices(self, r: Any) -> None:
        exactly(r, "id", "do", "prices", "at_ms")
        need(isinstance(r["prices"], dict) and r["prices"])
        need(-2_000 <= self.now - whole(r["at_ms"], 0) <= self.p["reference_max_age_ms"])
        for coin, text in r["prices"].items():
            need(name(coin) in self.p["coins"])
            low, high = (Fraction(str(each)) for each in self.p["coins"][coin]["band"])
            need(low <= number(text) <= high)
            known = self.kept | self.prices
            if coin in known:
                before, at = known[coin]
                need(r["at_ms"] >= at)
                seconds = Fraction(r["at_ms"] - at, 1000)
                step = self.p["reference_max_step_bps_per_s"] * seconds / 10_000
                need(abs(number(text) - before) <= before * step)

    def do_positions(self, r: Any) -> None:
        exactly(r, "id", "do", "positions", "open_orders", "through_nonce", "at_ms")
        need(isinstance(r["positions"], dict))
        for coin, held in r["positions"].items():
            name(coin)
            exactly(held, "size", "buys", "sells")
            self.plus_minus(held["size"])
            number(held["buys"])
            number(held["sells"])
        whole(r["open_orders"], 0)
        need(whole(r["through_nonce"], 0) <= self.highest)
        need(-2_000 <= self.now - whole(r["at_ms"], 0) <= MINUTE)

    @staticmethod
    def plus_minus(value: Any) -> Fraction:
        need(isinstance(value, str))
        return -number(value[1:]) if value[:1] == "-" else number(value)

    def wrote_down(self) -> None:
        """The signer has written down the prices that it knows."""
        self.kept |= self.prices

    def restarted(self, mark: int) -> None:
        """The signer was killed and started: prices and positions have to be told again, the rest is as it was.

        Whatever was signed within three days may have filled, since reports are not written down. Nonces up to the mark
        may have been given out, and prices step from those that were written down.
        """
        self.highest = max(self.highest, mark)
        latest = self.events["action"][-1][0] if self.events else 0
        self.signed = [(at, order) for at, order in self.signed if at > latest - 3 * DAY]
        self.prices, self.held, self.resting, self.open = {}, None, 0, [order for _, order in self.signed]

    def took(self, request: dict[str, Any], nonce: int | None) -> None:
        """Remember what was answered with ok."""
        do, now = request["do"], self.now
        if do == "prices":
            self.prices |= {
                coin: (number(text), request["at_ms"]) for coin, text in request["prices"].items()
            }
            if (
                not request["prices"].keys() <= self.kept.keys()
            ):  # a coin's first price is written down at once
                self.wrote_down()
        elif do == "positions":
            self.held = {
                coin: (self.plus_minus(each["size"]), number(each["buys"]), number(each["sells"]))
                for coin, each in request["positions"].items()
                if coin in self.p["coins"]
            }
            self.resting = request["open_orders"]
            # Ten seconds past its expiry an order is in the report, or nowhere.
            through, at = request["through_nonce"], request["at_ms"]
            self.open = [each for each in self.open if each[0] > through and at <= each[4] + 10_000]
        if nonce is None:
            return
        self.given[nonce], self.highest = now, max(self.highest, nonce)
        for what, much in (("action", Fraction(1)), *self.uses):
            if much:
                self.events.setdefault(what, []).append((now, much))
        orders = request.get("orders", [each["order"] for each in request.get("modifies", [])])
        for each in orders:
            self.cloids[each["cloid"]] = now
            size = Fraction(0) if each["reduce_only"] else number(each["size"])
            buy = each["side"] == "buy"
            ways = (size, Fraction(0)) if buy else (Fraction(0), size)
            order = (nonce, each["coin"], *ways, now + request["expires_in_ms"])
            self.open.append(order)
            self.signed.append((now, order))
