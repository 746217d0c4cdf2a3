"""Markets have numbers in actions, by the venue's lists of perpetuals and of spot, which may change while the daemon runs.

The signer's policy has the numbers of the day on which it was written, and the adapter the lots of its start. An order with
a stale number buys another coin. So both are held against the newest list before anything is signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bot.errors import ConfigError
from bot.model.instrument import Instrument, Kind
from bot.venues.hyperliquid.parse_meta import SpotUniverse, Universe
from bot.venues.hyperliquid.signing import Whose


class Numbers:
    """Of some instruments as they were at the start; `known` and `spot` are the venue's newest lists."""

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        self._decimals = {instrument.name: instrument.size_decimals for instrument in instruments}
        self._pairs = {instrument.name for instrument in instruments if instrument.kind is Kind.SPOT}
        self.known: Universe | None = None
        self.spot: SpotUniverse | None = None

    def why_not(self, coin: str, whose: Whose) -> str:
        """Why nothing of a coin may be signed by this signer now; empty where it may."""
        if coin in self._pairs:
            if self.spot is None:
                return f"the venue lists no {coin}"
            try:
                pair = self.spot.traded(coin)
            except ConfigError as error:
                return str(error)
            place, decimals = pair.asset, pair.base.size_decimals
        else:
            known = self.known
            if known is None or coin not in known.names:
                return f"the venue lists no {coin}"
            if coin in known.unread:
                return known.unread[coin]
            place, decimals = known.place(coin), known.instrument(coin).size_decimals
        if coin not in whose.assets:
            return f"{coin} is not in the signer's policy"
        if whose.assets[coin] != place:
            return (
                f"{coin} is asset {place} at the venue now and {whose.assets[coin]} in the signer's policy; nothing of it "
                "is signed: renew the policy's numbers, and restart to learn the new list"
            )
        pinned = self._decimals.get(coin, decimals), whose.size_decimals.get(coin, decimals)
        if pinned != (decimals, decimals):
            return (
                f"sizes of {coin} have {decimals} decimals at the venue now, {pinned[0]} here and {pinned[1]} in the "
                "signer's policy; nothing of it is signed: renew the policy's numbers, and restart to learn the new list"
            )
        return ""

    def stale(self, coins: Iterable[str], whose: Whose) -> dict[str, str]:
        """Those of the coins of which nothing may be signed, and why."""
        return {coin: why for coin in coins if (why := self.why_not(coin, whose))}

    def problem(self, whose: Whose) -> str:
        """What is wrong with the coins that are still listed; empty where nothing is."""
        listed = {*(() if self.known is None else self.known.names)}
        listed.update(() if self.spot is None else (pair.title for pair in self.spot.pairs))
        found = list(self.stale((coin for coin in self._decimals if coin in listed), whose).values())
        return f"{found[0]} (and {len(found) - 1} other coins)" if len(found) > 1 else "".join(found)
