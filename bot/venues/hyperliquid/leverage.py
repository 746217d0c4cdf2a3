"""Each coin's leverage and margin mode, set at the venue before its first order."""

from __future__ import annotations

from bot.errors import Refused, Unavailable
from bot.model.account import MarginMode
from bot.model.instrument import Kind
from bot.venues.hyperliquid.account_reader import Setting
from bot.venues.hyperliquid.orders import Register
from bot.venues.hyperliquid.sending import Sender


class Leverage:
    """Sets what the config asks for, once per coin and run."""

    def __init__(self, register: Register, setting: Setting, sender: Sender) -> None:
        self._register, self._setting, self._sender = register, setting, sender
        self._coins: set[str] = set()

    async def sure(self, coin: str, *, urgent: bool = False) -> str:
        """Make sure of a coin's leverage and mode; why not, where that can't be. What is `urgent` waits for no budget."""
        if coin in self._coins:
            return ""
        instrument = self._register.instrument(coin)
        assert instrument is not None
        if instrument.kind is Kind.SPOT:
            return ""
        leverage, mode = self._setting.of(instrument)
        try:
            await self._sender.set_leverage(coin, leverage, is_cross=mode is MarginMode.CROSS, urgent=urgent)
        except (Refused, Unavailable) as error:
            return f"leverage {leverage} {mode.value} could not be set: {error}"
        self._coins.add(coin)
        return ""
