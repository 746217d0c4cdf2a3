"""Two-legged runs: what the venue holds of spot by the names that the program uses, and how far the legs are apart (I19)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Any, Final

from bot.devnet.world import World
from tests.simulation.notes import Notes

LEGS: Final = (("BTC", "UBTC/USDC"), ("HYPE", "HYPE/USDC"))
CAP_USD: Final = Decimal(1_500)
SPARE_USD: Final = Decimal(60)
"""Steps, price moves between a decision and its fill, and what is too small for an order."""

END_USD: Final = Decimal(15)
"""What may be left of one leg in the end: a step, and what is too small for an order."""

LOOK_WATCHES: Final = 10
"""The daemon looks at the account at every tenth of its watches, though it has heard of nothing."""

LADDER_S: Final = 30.0
"""What trying again, taking back and asking what became of an order may take."""

ROOM_S: Final = 60.0
"""How long a daemon that trades may wait for the venue's limit of requests, its legs even as far as it knows."""

FAULT_S: Final = 60.0
"""What each fault may add: an order that got lost has to be fenced, and a venue that failed is asked again after 30 s."""

ZERO: Final = Decimal(0)


@dataclass
class Stood:
    """Legs that are apart: since when, and how much all faults had excused by then."""

    since_s: float
    excused_s: float


class SpotSide:
    """The spot exchange's own books of one account."""

    def __init__(self, world: World, account: str) -> None:
        self._world, self.account = world, account
        self._titles = {wire: f"{each.token}/USDC" for wire, each in world.spot.listings.items()}
        self._wires = {title: wire for wire, title in self._titles.items()}

    def title(self, coin: str) -> str:
        """A market by the program's name."""
        return self._titles.get(coin, coin)

    def wire(self, coin: str) -> str:
        """A market by the venue's name."""
        return self._wires.get(coin, coin)

    def is_spot(self, coin: str) -> bool:
        """Whether a name, the program's or the wire's, is of a pair."""
        return coin in self._wires or coin in self._titles

    def decimals(self, coin: str) -> int:
        """Of the sizes of a perpetual or a pair."""
        if self.is_spot(coin):
            return self._world.spot.pairs[self.wire(coin)].size_decimals
        return self._world.instruments[coin].size_decimals

    def mark(self, coin: str) -> Decimal:
        """Of a perpetual or a pair."""
        if self.is_spot(coin):
            return self._world.spot.exchange.marks[self.wire(coin)]
        return self._world.exchange.marks[coin]

    def owned(self, coin: str) -> Decimal:
        """Of a pair's token, all that is owned."""
        wallet = self._world.spot.wallet(self.account)
        return ZERO if wallet is None else wallet.total.get(coin.partition("/")[0], ZERO)

    def usdc(self) -> Decimal:
        """In the spot wallet."""
        wallet = self._world.spot.wallet(self.account)
        return ZERO if wallet is None else wallet.total.get("USDC", ZERO)

    def lots(self, coin: str, besides: Decimal = ZERO) -> int:
        """Held of a perpetual, or whole lots of a pair's token when `besides` of it does not count."""
        if not self.is_spot(coin):
            return self._world.exchange.accounts[self.account].lots(coin)
        size = (self.owned(coin) - besides).scaleb(self.decimals(coin))
        return int(size.to_integral_value(ROUND_FLOOR))

    def held(self, besides: Mapping[str, Decimal]) -> dict[str, int]:
        """Whole lots of everything, but for tokens that do not count."""
        account = self._world.exchange.accounts[self.account]
        perps = {coin: position.lots for coin, position in account.positions.items()}
        pairs = {title: self.lots(title, besides.get(title, ZERO)) for title in self._wires}
        return {coin: lots for coin, lots in {**perps, **pairs}.items() if lots}


def effect(row: Mapping[str, Any], title: str) -> tuple[Decimal, Decimal, Decimal]:
    """A spot fill of the venue's: tokens and USDC that it brought, and its fee in dollars to the millionth."""
    sign = 1 if row["side"] == "B" else -1
    size, price, fee = Decimal(row["sz"]), Decimal(row["px"]), Decimal(row["fee"])
    in_token = fee if row["feeToken"] == title.partition("/")[0] else ZERO
    in_usdc = fee - in_token
    told = (in_usdc + in_token * price).quantize(Decimal("0.000001"))
    return sign * size - in_token, -sign * size * price - in_usdc, told


class Apart:
    """I19: how far one leg is ahead of the other, and for how long, whoever has brought that about."""

    def __init__(
        self,
        spot: SpotSide,
        legs: Mapping[str, str],
        notes: Notes,
        now_s: Callable[[], float],
        watch_s: float,
        *,
        is_had: bool,
    ) -> None:
        self._spot, self._legs, self._notes, self._now_s = spot, legs, notes, now_s
        self._found_s = LOOK_WATCHES * watch_s + ROOM_S  # until the daemon sees what it did not do
        self._is_had = is_had  # at the prices allowed there is always somebody to trade with
        self._stood: dict[str, Stood] = {}
        self._free: set[str] = set()  # where somebody else has parted the legs, and they were not even since
        self._lives = False
        self._excused_s = 0.0  # of all faults so far
        self.most_usd = ZERO
        self.longest_s = 0.0  # where the daemon has parted the legs itself
        self.longest_found_s = 0.0  # where it has to look, since others have, or nobody traded with it

    @property
    def has_legs(self) -> bool:
        """Whether anything here is held with two legs."""
        return bool(self._legs)

    def unhedged_usd(self, perp: str) -> Decimal:
        """Of one pair of legs, whichever way."""
        short = Decimal(self._spot.lots(perp)).scaleb(-self._spot.decimals(perp))
        return abs(short + self._spot.owned(self._legs[perp])) * self._spot.mark(perp)

    # What may keep the legs apart for longer

    def lives(self, *, yes: bool) -> None:
        """A daemon begins to live, or has died: the dead even nothing out, and who begins has all of the time."""
        self.look()
        self._lives = yes
        for stood in self._stood.values():
            stood.since_s, stood.excused_s = self._now_s(), self._excused_s

    def disturbed(self, seconds: float) -> None:
        """Something went wrong, and goes on so for `seconds`."""
        self._excused_s += FAULT_S + seconds

    def parted(self, perp: str) -> None:
        """Somebody else trades a leg now: the bound of what a daemon may part is none of this."""
        self._free.add(perp)
        self._stood.pop(perp, None)

    # Looking

    def look(self) -> None:
        """After each action at the venue, and every so often."""
        for perp in self._legs:
            usd = self.unhedged_usd(perp)
            if usd <= SPARE_USD:
                self._stood.pop(perp, None)
                self._free.discard(perp)
                continue
            if perp not in self._free:
                self.most_usd = max(self.most_usd, usd)
                self._notes.must(usd <= CAP_USD + SPARE_USD, "I19", f"{usd:.0f} USD of {perp} stand alone")
            stood = self._stood.setdefault(perp, Stood(self._now_s(), self._excused_s))
            if self._lives:
                stood_s = self._now_s() - stood.since_s - (self._excused_s - stood.excused_s)
                longest_s = LADDER_S
                if perp in self._free or not self._is_had:
                    longest_s += self._found_s
                    self.longest_found_s = max(self.longest_found_s, stood_s)
                else:
                    self.longest_s = max(self.longest_s, stood_s)
                found = f"{usd:.0f} USD of {perp} have stood alone for {stood_s:.0f} s, disturbances left out"
                self._notes.must(stood_s <= longest_s, "I19", found)

    def ended(self) -> None:
        """All is quiet."""
        for perp in self._legs:
            usd = self.unhedged_usd(perp)
            self._notes.must(usd <= END_USD, "I19", f"{usd:.2f} USD of {perp} stand alone in the end")
