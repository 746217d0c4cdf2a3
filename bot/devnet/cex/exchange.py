"""The exchange behind the devnet's Binance: the simulated one, which can also deleverage an account."""

from __future__ import annotations

from decimal import Decimal

from bot.errors import Refused
from bot.model.order import Purpose
from bot.sim.exchange import Exchange


class CexExchange(Exchange):
    """Positions can be closed by the venue, against somebody who went under."""

    def ordered_lots(self, account: str, instrument: str) -> tuple[int, int, int]:
        """Lots that rest to buy and to sell, without those that only reduce, and by how many they could grow what is held."""
        member = self._clearing.member(account)
        buying, selling = member.working.get(instrument, (0, 0))
        held = abs(member.account.lots(instrument))
        return buying, selling, max(0, self._clearing.worst_lots(member, instrument) - held)

    def deleverage(self, account: str, instrument: str, price: Decimal, time_ms: int) -> None:
        """Close a whole position at `price`, past the book and without a fee. Raises Refused if there is none."""
        self._advance(time_ms)
        member = self._clearing.member(account)
        if not member.account.lots(instrument):
            raise Refused(f"there is no position in {instrument} to deleverage")
        self._matching.close_at(member, instrument, price, Purpose.SETTLEMENT, time_ms)
        member.floor_usd = None
        self._matching.drop_stale(member, instrument, time_ms)
