"""The rules that need memory: rates, budgets, reference prices and what may be held. Counted when something is signed.

All in integers: sizes and prices of 1e-8, dollars of 1e-6, both rounded against the one who asks.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bot.signer.kept import Memory
from bot.signer.policy import CoinPolicy, Policy
from bot.signer.requests import Holding, Order, Positions, Prices, Refusal, plain

MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000
NONCE_LIFE_MS: Final = 3 * DAY_MS
BPS: Final = 10_000
AFTER_EXPIRY_MS: Final = 10_000
"""What has not reached the venue this long after its expiry never will: twice the clocks' offset, with room."""


def usd_micro(size_e8: int, price_e8: int) -> int:
    """Size × price in millionths of a dollar, rounded up."""
    return -(-size_e8 * price_e8 // 10**10)


def dollars(micro: int) -> str:
    """Millionths of a dollar as plain text."""
    return plain(micro * 100)


class Window:
    """What was counted within the last `span_ms`. After the clock went back, what is ahead of it still counts."""

    def __init__(self, span_ms: int) -> None:
        self._span_ms = span_ms
        self._entries: deque[tuple[int, int]] = deque()
        self._total = 0

    def total(self, now_ms: int) -> int:
        """The sum of the window that ends now."""
        entries, oldest = self._entries, now_ms - self._span_ms
        while entries and entries[0][0] <= oldest:
            self._total -= entries.popleft()[1]
        return self._total

    def seen(self, now_ms: int) -> int:
        """The same, with nothing forgotten: for whoever only looks, perhaps by a clock that is not to be trusted."""
        oldest = now_ms - self._span_ms
        return sum(amount for at_ms, amount in self._entries if at_ms > oldest)

    def add(self, now_ms: int, amount: int) -> None:
        """Count an amount."""
        if amount:
            self._entries.append((now_ms, amount))
            self._total += amount


@dataclass(slots=True)
class Counts:
    """What one signature uses up."""

    orders: int = 0
    reduces: int = 0
    cancels: int = 0
    turnover: int = 0
    margin: int = 0
    fences: int = 0


@dataclass(frozen=True, slots=True)
class Pending:
    """An order signed with a nonce whose outcome was not reported yet; only its coin where it can't increase."""

    nonce: int
    coin: str
    buys_e8: int
    sells_e8: int
    expires_ms: int

    def is_settled(self, told: Positions) -> bool:
        """Whether a report tells what came of it: by its nonce, or because it is of a time when it had expired.

        An expired order that reached the venue before is in what the report holds or lets rest.
        """
        return self.nonce <= told.through_nonce or told.at_ms > self.expires_ms + AFTER_EXPIRY_MS


@dataclass(slots=True)
class Limits:
    """The signer's memory. `check_*` raise Refusal and change nothing; the rest takes what was signed or told."""

    policy: Policy
    references: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Coin → (price_e8, the venue's time)."""
    holdings: Mapping[str, Holding] | None = None
    """Coin → what is held and rests; None until the first report."""
    open_orders: int = 0
    pending: list[Pending] = field(default_factory=list)
    orders: Window = field(default_factory=lambda: Window(MINUTE_MS))
    reduces: Window = field(default_factory=lambda: Window(MINUTE_MS))
    cancels: Window = field(default_factory=lambda: Window(MINUTE_MS))
    fences: Window = field(default_factory=lambda: Window(MINUTE_MS))
    denials: Window = field(default_factory=lambda: Window(MINUTE_MS))
    actions: Window = field(default_factory=lambda: Window(DAY_MS))
    turnover: Window = field(default_factory=lambda: Window(DAY_MS))
    margin: Window = field(default_factory=lambda: Window(DAY_MS))
    nonces: dict[int, int] = field(default_factory=dict)
    """Nonce → when it was given out."""
    cloids: dict[str, int] = field(default_factory=dict)
    """Cloid → when it was signed."""
    reducing_until_ms: int = 0
    denied_ms: int = 0
    recalled: dict[str, tuple[int, int]] = field(default_factory=dict)
    """References of before a restart: a price may not step too far from them, and no order rests on them."""

    def memory(self, now_ms: int) -> Memory:
        """What a restart must not undo and no signature tells."""
        known = self.recalled | self.references
        return Memory(known, self.reducing_until_ms, self.denials.seen(now_ms), self.denied_ms)

    def recall(self, memory: Memory, latest_ms: int | None) -> None:
        """Take up what was known before a restart, none of it as of later than `latest_ms`."""
        latest = float("inf") if latest_ms is None else latest_ms  # a clock may have been ahead
        for coin, (price_e8, at_ms) in memory.references.items():
            if coin in self.policy.coins:
                self.recalled[coin] = (price_e8, int(min(at_ms, latest)))
        longest = latest + self.policy.reducing_min * MINUTE_MS
        self.reducing_until_ms = int(min(memory.reducing_until_ms, longest))
        self.denied_ms = int(min(memory.denied_ms, latest))
        self.denials.add(self.denied_ms, memory.denials)

    def take_prices(self, told: Prices, now_ms: int) -> None:
        """New reference prices: fresh, within their bands, and not too far from the ones before."""
        age_ms = now_ms - told.at_ms
        if not -2_000 <= age_ms <= self.policy.reference_max_age_ms:
            raise Refusal("reference_age", self.policy.reference_max_age_ms, age_ms)
        for coin, price_e8 in told.prices_e8.items():
            rules = self.coin(coin)
            _band(rules, price_e8, None)
            before = self.references.get(coin) or self.recalled.get(coin)
            if before is not None:
                before_e8, before_ms = before
                if told.at_ms < before_ms:
                    raise Refusal("reference_order", before_ms, told.at_ms)
                # For the time that has passed and no more: many small steps come no further than one.
                step = self.policy.reference_max_step_bps_per_s * (told.at_ms - before_ms)
                if abs(price_e8 - before_e8) * BPS * 1000 > step * before_e8:
                    allowed = f"{step / 1000:g} bps from {plain(before_e8)}"
                    raise Refusal("reference_step", allowed, plain(price_e8))
        for coin, price_e8 in told.prices_e8.items():
            self.references[coin] = (price_e8, told.at_ms)

    def take_positions(self, told: Positions, last_nonce: int, now_ms: int) -> None:
        """What the venue holds; outcomes of later nonces keep counting as if they filled, until they have expired."""
        age_ms = now_ms - told.at_ms
        # A simulated minute may be a few milliseconds long.
        oldest_ms = self.policy.reference_max_age_ms if self.policy.simulated_clock else MINUTE_MS
        if not -2_000 <= age_ms <= oldest_ms:
            raise Refusal("positions_age", oldest_ms, age_ms)
        if told.through_nonce > last_nonce:
            raise Refusal("through_nonce", last_nonce, told.through_nonce)
        self.holdings = {coin: held for coin, held in told.holdings.items() if coin in self.policy.coins}
        self.open_orders = told.open_orders
        self.pending = [each for each in self.pending if not each.is_settled(told)]

    def coin(self, name: str, index: int | None = None) -> CoinPolicy:
        """The rules of a coin."""
        rules = self.policy.coins.get(name)
        if rules is None:
            raise Refusal("coin", None, name, index)
        return rules

    def reference(self, coin: str, now_ms: int, index: int | None) -> int:
        """The coin's reference price, if it is fresh."""
        found = self.references.get(coin)
        if found is None:
            raise Refusal("reference", None, coin, index)
        age_ms = now_ms - found[1]
        if age_ms > self.policy.reference_max_age_ms:
            raise Refusal("reference_age", self.policy.reference_max_age_ms, age_ms, index)
        return found[0]

    def check_orders(self, orders: tuple[Order, ...], fresh_cloids: bool, now_ms: int) -> Counts:
        """Every rule of a batch of orders; what it would use up."""
        counts = Counts()
        bounds = self._bounds()
        seen: set[str] = set()
        for index, order in enumerate(orders):
            reference_e8 = self._check_price(order, now_ms, index)
            used_ms = self.cloids.get(order.cloid, -NONCE_LIFE_MS)
            if fresh_cloids and (used_ms > now_ms - NONCE_LIFE_MS or order.cloid in seen):
                raise Refusal("cloid_used", None, order.cloid, index)
            seen.add(order.cloid)
            if self._only_reduces(order):
                counts.reduces += 1
                continue
            counts.orders += 1
            counts.turnover += self._check_opening(order, reference_e8, bounds, now_ms, index)
        if counts.orders:
            self._check_whole(counts, len(orders), bounds, now_ms)
        _rate("reduces_per_min", self.policy.reduces_per_min, self.reduces.total(now_ms), counts.reduces)
        return counts

    def _only_reduces(self, order: Order) -> bool:
        """Whether it can open nothing: on spot no sale can, since nobody can owe a token."""
        rules = self.policy.coins.get(order.coin)
        return order.reduce_only or (rules is not None and rules.is_spot and not order.is_buy)

    def check_close(self, order: Order, now_ms: int) -> Counts:
        """A market order that only reduces, which no price holds up: its coin, form, name and rate."""
        rules = self.coin(order.coin, 0)
        if order.size_e8 % 10 ** (8 - rules.size_decimals):
            raise Refusal("size_decimals", rules.size_decimals, plain(order.size_e8), 0)
        if self.cloids.get(order.cloid, -NONCE_LIFE_MS) > now_ms - NONCE_LIFE_MS:
            raise Refusal("cloid_used", None, order.cloid, 0)
        _rate("reduces_per_min", self.policy.reduces_per_min, self.reduces.total(now_ms), 1)
        return Counts(reduces=1)

    def _check_price(self, order: Order, now_ms: int, index: int) -> int:
        """The rules of one order's form and price; the reference price."""
        rules, policy = self.coin(order.coin, index), self.policy
        if order.tif is not None and order.tif not in policy.tif:
            raise Refusal("tif", ",".join(sorted(policy.tif)), order.tif, index)
        if order.size_e8 % 10 ** (8 - rules.size_decimals):
            raise Refusal("size_decimals", rules.size_decimals, plain(order.size_e8), index)
        _band(rules, order.price_e8, index)
        reference_e8 = self.reference(order.coin, now_ms, index)
        past = rules.collar_reduce_bps if self._only_reduces(order) else rules.collar_bps
        if order.trigger is None:
            _collar("collar", order.is_buy, order.price_e8, reference_e8, past, index)
            return reference_e8
        if not order.reduce_only and not policy.opening_triggers:
            raise Refusal("opening_triggers", None, order.coin, index)
        _band(rules, order.trigger.price_e8, index)
        _collar(
            "collar_trigger",
            order.is_buy,
            order.price_e8,
            order.trigger.price_e8,
            rules.collar_trigger_bps,
            index,
        )
        if order.trigger.kind == "tp":
            # One that lies behind the market would fire at once, as deep as its limit allows.
            _collar("collar", order.is_buy, order.trigger.price_e8, reference_e8, past, index)
        return reference_e8

    def _check_opening(
        self, order: Order, reference_e8: int, bounds: dict[str, list[int]], now_ms: int, index: int
    ) -> int:
        """The rules of an order that may increase a position; its notional. Moves the bounds."""
        rules = self.coin(order.coin, index)
        if now_ms < self.reducing_until_ms:
            raise Refusal("reducing", None, f"until {self.reducing_until_ms}", index)
        if self.holdings is None:
            raise Refusal("positions_unknown", None, None, index)
        worst_e8 = max(order.price_e8, reference_e8, order.trigger.price_e8 if order.trigger else 0)
        notional = usd_micro(order.size_e8, worst_e8)
        if notional > rules.max_order_usd_micro:
            raise Refusal("order_usd", dollars(rules.max_order_usd_micro), dollars(notional), index)
        low_high = bounds.setdefault(order.coin, [0, 0])
        if order.is_buy:
            low_high[1] += order.size_e8
            reached_e8 = max(low_high[1], 0)
        else:
            low_high[0] -= order.size_e8
            reached_e8 = max(-low_high[0], 0)
        reached = usd_micro(reached_e8, worst_e8)
        if reached > rules.max_position_usd_micro:
            raise Refusal("position_usd", dollars(rules.max_position_usd_micro), dollars(reached), index)
        return notional

    def _check_whole(self, counts: Counts, number: int, bounds: Mapping[str, list[int]], now_ms: int) -> None:
        """The rules of the account, for a batch with at least one order that may increase."""
        policy = self.policy
        _rate("orders_per_min", policy.orders_per_min, self.orders.total(now_ms), counts.orders)
        resting = self.open_orders + len(self.pending) + number
        if resting > policy.max_open_orders:
            raise Refusal("open_orders", policy.max_open_orders, resting)
        gross = 0
        for coin, (low, high) in bounds.items():
            if low or high:
                if coin not in self.references:
                    raise Refusal("reference", None, coin)
                gross += usd_micro(max(high, -low), self.references[coin][0])
        if gross > policy.max_gross_usd_micro:
            raise Refusal("gross_usd", dollars(policy.max_gross_usd_micro), dollars(gross))
        turnover = self.turnover.total(now_ms) + counts.turnover
        if turnover > policy.turnover_usd_micro_per_day:
            raise Refusal("turnover_usd", dollars(policy.turnover_usd_micro_per_day), dollars(turnover))

    def check_cancels(self, number: int, now_ms: int) -> Counts:
        """The rate of cancels."""
        _rate("cancels_per_min", self.policy.cancels_per_min, self.cancels.total(now_ms), number)
        return Counts(cancels=number)

    def check_fence(self, nonce: int, now_ms: int) -> Counts:
        """A nonce that was given out and can still be taken, and the rate of fences."""
        given_ms = self.nonces.get(nonce)
        if given_ms is None or given_ms <= now_ms - NONCE_LIFE_MS:
            raise Refusal("fence", "a nonce given out in the last three days", nonce)
        _rate("fences_per_min", self.policy.fences_per_min, self.fences.total(now_ms), 1)
        return Counts(fences=1)

    def check_margin(self, usd: int, now_ms: int) -> Counts:
        """The day's budget of isolated margin moved, either way."""
        limit, moved = self.policy.isolated_margin_usd_micro_per_day, self.margin.total(now_ms) + abs(usd)
        if moved > limit:
            raise Refusal("isolated_margin_usd", dollars(limit), dollars(moved))
        return Counts(margin=abs(usd))

    def check_actions(self, now_ms: int) -> None:
        """The day's number of actions; what cancels, fences or only reduces is not asked."""
        _rate("actions_per_day", self.policy.actions_per_day, self.actions.total(now_ms), 1)

    def _bounds(self) -> dict[str, list[int]]:
        """Coin → the lowest and highest position if everything that is unknown or rests fills its way.

        What only reduces may fill first, so what is held makes no room for more on the other side.
        """
        bounds = {
            coin: [min(held.size_e8, 0) - held.sells_e8, max(held.size_e8, 0) + held.buys_e8]
            for coin, held in (self.holdings or {}).items()
        }
        for each in self.pending:
            low_high = bounds.setdefault(each.coin, [0, 0])
            low_high[0] -= each.sells_e8
            low_high[1] += each.buys_e8
        return bounds

    def count(self, counts: Counts, now_ms: int) -> None:
        """Use up what a signature uses up."""
        self.actions.add(now_ms, 1)
        self.orders.add(now_ms, counts.orders)
        self.reduces.add(now_ms, counts.reduces)
        self.cancels.add(now_ms, counts.cancels)
        self.turnover.add(now_ms, counts.turnover)
        self.margin.add(now_ms, counts.margin)
        self.fences.add(now_ms, counts.fences)

    def remember(self, nonce: int, orders: tuple[Order, ...], expires_ms: int | None, now_ms: int) -> None:
        """Keep a nonce, and the orders that were signed with it until their expiry."""
        self.nonces[nonce] = now_ms
        for order in orders:
            self.cloids[order.cloid] = now_ms
            size_e8 = 0 if self._only_reduces(order) else order.size_e8
            buys, sells = (size_e8, 0) if order.is_buy else (0, size_e8)
            self.pending.append(Pending(nonce, order.coin, buys, sells, expires_ms or now_ms))
        if len(self.nonces) % 1024 == 0:
            oldest = now_ms - NONCE_LIFE_MS
            self.nonces = {key: at_ms for key, at_ms in self.nonces.items() if at_ms > oldest}
            self.cloids = {key: at_ms for key, at_ms in self.cloids.items() if at_ms > oldest}

    def count_denial(self, now_ms: int) -> None:
        """Too many denials within a minute: only what reduces is signed for a while."""
        self.denials.add(now_ms, 1)
        self.denied_ms = now_ms
        if self.denials.total(now_ms) >= self.policy.denials_per_min:
            self.reducing_until_ms = now_ms + self.policy.reducing_min * MINUTE_MS

    def left(self, now_ms: int) -> dict[str, Any]:
        """What is left of each budget."""
        policy = self.policy
        return {
            "orders_per_min": policy.orders_per_min - self.orders.seen(now_ms),
            "reduces_per_min": policy.reduces_per_min - self.reduces.seen(now_ms),
            "cancels_per_min": policy.cancels_per_min - self.cancels.seen(now_ms),
            "fences_per_min": policy.fences_per_min - self.fences.seen(now_ms),
            # What is not asked for counts all the same, so that more may be used than there is.
            "actions_per_day": max(policy.actions_per_day - self.actions.seen(now_ms), 0),
            "turnover_usd_per_day": dollars(policy.turnover_usd_micro_per_day - self.turnover.seen(now_ms)),
            "isolated_margin_usd_per_day": dollars(
                policy.isolated_margin_usd_micro_per_day - self.margin.seen(now_ms)
            ),
        }


def _rate(rule: str, limit: int, before: int, more: int) -> None:
    if more and before + more > limit:
        raise Refusal(rule, limit, before + more)


def _band(rules: CoinPolicy, price_e8: int, index: int | None) -> None:
    if not rules.band_low_e8 <= price_e8 <= rules.band_high_e8:
        band = f"{plain(rules.band_low_e8)} to {plain(rules.band_high_e8)}"
        raise Refusal("band", band, plain(price_e8), index)


def _collar(rule: str, is_buy: bool, price_e8: int, from_e8: int, bps: int, index: int) -> None:
    """A buy may not pay more than `bps` above, a sell not take less than `bps` below."""
    past = price_e8 - from_e8 if is_buy else from_e8 - price_e8
    if past * BPS > bps * from_e8:
        raise Refusal(rule, f"{bps} bps past {plain(from_e8)}", plain(price_e8), index)
