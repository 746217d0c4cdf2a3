"""What the signer has signed, read from its audit log and held against its policy, its venue and itself (I9 to I12).

The log and the policy are read anew here, by their definitions: nothing of the signer's own code is asked, but for the
reserve that it keeps (I10), which is compared with what the venue really holds.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from bot.devnet.records import WireOrder
from bot.signer.engine import Engine
from tests.simulation.notes import Notes
from tests.simulation.pairs import SpotSide

MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000
KEPT_NONCES: Final = 5_000
_MOVES: Final = Decimal("0.03")
"""How far a mark may have moved between the moment of the signer's reference price and this look at it."""


@dataclass(frozen=True, slots=True)
class Signed:
    """One order as the audit log has it."""

    nonce: int
    coin: str
    is_buy: bool
    size: Decimal
    price: Decimal
    reduce_only: bool


class Signatures:
    """Of one signer, over all of its lives."""

    def __init__(
        self, audit: Path, policy: str, spot: SpotSide, notes: Notes, engine: Callable[[], Engine | None]
    ) -> None:
        self._path, self._spot, self._notes, self._engine = audit, spot, notes, engine
        self._policy = tomllib.loads(policy)
        self._offset, self._hash, self._lines = 0, "0" * 64, 0
        self.nonces: dict[int, str] = {}  # nonce → hash of the action, noops left out
        self.orders: dict[str, Signed] = {}  # by cloid
        self._latest_nonce = 0
        self._fenced: set[int] = set()
        self._openings: deque[tuple[int, int]] = deque()  # when, how many
        self._turnover: deque[tuple[int, Decimal]] = deque()

    def read(self) -> None:
        """The signer has answered a request for a signature: read what it wrote before."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            lines = file.readlines()
        for line in lines:
            record = self._chained(line)
            if record["kind"] == "sign":
                self._signature(record)

    def _chained(self, line: bytes) -> dict[str, Any]:
        rest, _, tail = line.rpartition(b',"hash":"')
        digest = hashlib.sha256(self._hash.encode() + rest).hexdigest()
        whole = tail == f'{digest}"}}\n'.encode()
        self._notes.must(whole, "I11", f"line {self._lines + 1} breaks the audit chain")
        self._hash, self._lines, self._offset = digest, self._lines + 1, self._offset + len(line)
        record: dict[str, Any] = json.loads(line)
        return record

    def cut(self) -> None:
        """The power failed: of the newest lines some may be gone. What is left must be a chain; what they said was said."""
        self._offset, self._hash, self._lines = 0, "0" * 64, 0
        if not self._path.exists():
            return
        for line in self._path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                self._chained(line)

    def _signature(self, record: dict[str, Any]) -> None:
        must, nonce, at_ms = self._notes.must, record["nonce"], record["at_ms"]
        must(record["do"] in self._policy["allow"], "I12", f"{record['do']} was signed")
        if record["do"] == "fence":
            must(nonce in self.nonces, "I9", f"a fence of nonce {nonce}, which was never given out")
            return
        must(nonce > self._latest_nonce, "I9", f"nonce {nonce} follows {self._latest_nonce}")
        self._latest_nonce = max(nonce, self._latest_nonce)
        self.nonces[nonce] = record["connection_id"]
        while len(self.nonces) > KEPT_NONCES:
            del self.nonces[next(iter(self.nonces))]
        if record["do"] == "order":
            low, high = self._policy["expires_ms"]
            expires_ms = record["expires_after_ms"] - at_ms
            must(low <= expires_ms <= high, "I12", f"an order of {expires_ms} ms was signed")
            self._signed_orders(record)

    def _signed_orders(self, record: dict[str, Any]) -> None:
        """The rules of a batch, and the budgets that follow from all batches before it."""
        at_ms, must, openings = record["at_ms"], self._notes.must, 0
        for coin, is_buy, size, price, said, cloid in record["orders"]:
            reduce_only = said or (self._spot.is_spot(coin) and not is_buy)  # nobody can owe a token
            told = Signed(record["nonce"], coin, is_buy, Decimal(size), Decimal(price), reduce_only)
            must(coin in self._policy["coins"], "I12", f"an order of {coin} was signed")
            must(cloid not in self.orders, "I12", f"{cloid} was signed twice")
            self.orders[cloid] = told
            self._priced(told)
            if not reduce_only:
                openings += 1
                worst = max(told.price, self._spot.mark(coin))
                self._turnover.append((at_ms, told.size * worst))
                most = Decimal(self._policy["max_order_usd"])
                must(told.size * told.price <= most, "I12", f"an order of {told} was signed")
        while len(self.orders) > KEPT_NONCES:
            del self.orders[next(iter(self.orders))]
        if not openings:
            return
        self._openings.append((at_ms, openings))
        while self._openings[0][0] <= at_ms - MINUTE_MS:
            self._openings.popleft()
        while self._turnover and self._turnover[0][0] <= at_ms - DAY_MS:
            self._turnover.popleft()
        count, usd = sum(n for _, n in self._openings), sum(amount for _, amount in self._turnover)
        must(count <= self._policy["orders_per_min"], "I12", f"{count} orders were signed within a minute")
        # The signer counts by its reference price, which may be a moment older than the mark here.
        most = Decimal(self._policy["turnover_usd_per_day"]) * (1 + _MOVES)
        must(usd <= most, "I12", f"orders of {usd:.0f} USD were signed within a day")

    def _priced(self, told: Signed) -> None:
        """Within the band, and no further past the mark than the collar allows; triggers may lie far off."""
        must, mark = self._notes.must, self._spot.mark(told.coin)
        low, high = self._policy["coins"][told.coin]["band"]
        must(Decimal(str(low)) <= told.price <= Decimal(str(high)), "I12", f"{told} lies outside its band")
        rules = ("collar_reduce_bps", "collar_trigger_bps") if told.reduce_only else ("collar_bps",)
        collar = max(Decimal(self._policy[rule]) for rule in rules) / 10_000
        past = (told.price - mark if told.is_buy else mark - told.price) / mark
        must(past <= collar + _MOVES, "I12", f"{told} was signed at a mark of {mark}")

    # The reserve

    def fenced(self, nonce: int) -> None:
        """The venue took a noop with this nonce."""
        self._fenced.add(nonce)

    def accepted(self, cloid: str, order: WireOrder) -> None:
        """The venue has an order: it is no other and no larger than what was signed, and its nonce was not voided."""
        signed = self.orders.get(cloid)
        if signed is None:
            self._notes.violate("I11", f"{cloid} is at the venue and in no line of the audit log")
            return
        # The wire has no word for a sale on spot that only reduces.
        reduces = not order.is_buy if self._spot.is_spot(order.coin) else order.reduce_only
        same = (signed.coin, signed.is_buy, signed.reduce_only) == (
            self._spot.title(order.coin),
            order.is_buy,
            reduces,
        )
        self._notes.must(
            same and order.size <= signed.size, "I10", f"{cloid} at the venue is {order}, signed was {signed}"
        )
        self._notes.must(
            signed.nonce not in self._fenced, "I10", f"{cloid} was accepted after its nonce was voided"
        )

    def reserve(self, orders: list[WireOrder]) -> None:
        """What the signer counts on at worst covers what is held, with what rests and may still add to it."""
        engine = self._engine()
        if engine is None or engine.limits.holdings is None:
            return  # it signs nothing that opens before it has been told
        low_high = engine.limits._bounds()
        for coin in self._policy["coins"]:
            size = Decimal(self._spot.lots(coin)).scaleb(-self._spot.decimals(coin))
            resting = [
                o for o in orders if self._spot.title(o.coin) == coin and o.is_open and not o.reduce_only
            ]
            highest = size + sum((o.remaining for o in resting if o.is_buy), Decimal(0))
            lowest = size - sum((o.remaining for o in resting if not o.is_buy), Decimal(0))
            lowest_e8, highest_e8 = low_high.get(coin, (0, 0))
            low, high = Decimal(lowest_e8) / 10**8, Decimal(highest_e8) / 10**8
            self._notes.must(
                max(highest, -lowest) <= max(high, -low),
                "I10",
                f"{coin} may come to {lowest} to {highest}, the signer reckons with {low} to {high}",
            )
