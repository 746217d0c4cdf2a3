"""Tokens owned on spot as the books count them: whole lots as positions, and what is less than a lot as cash.

The venue takes the fee of a purchase out of the token that is bought, so that a wallet holds a fraction of a lot beside
whole ones: dust, which no order can sell. A trade is booked as it was made, its fee in dollars at its own price; lots
that the fee broke into are given up at that price too. So what is added to the dust is carried at what it cost, and

    USDC on spot + carried = cash by the books

holds to the last digit, whatever is traded. Dust that makes up a whole lot again becomes a position by the same rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import ROUND_FLOOR, Decimal
from typing import Any, Final

import structlog

from bot.model.instrument import Instrument
from bot.model.money import ZERO, usd
from bot.model.order import Fill, Side
from bot.venues.hyperliquid.parse_account import VenueFill

log = structlog.get_logger("hedgerow")

USDC: Final = "USDC"


def token_of(instrument: Instrument) -> str:
    """The token that a pair trades: UBTC of UBTC/USDC."""
    return instrument.name.partition("/")[0]


def whole_lots(instrument: Instrument, size: Decimal) -> int:
    """Lots that can be sold of what is owned."""
    return int(size.scaleb(instrument.size_decimals).to_integral_value(ROUND_FLOOR))


class Tokens:
    """What is owned of each pair's token by the trades told so far, and what the dust of all is carried at, USD.

    `carried_usd` has the rounding of trades to millionths of a dollar in it as well.
    """

    def __init__(self) -> None:
        self.owned: dict[str, Decimal] = {}  # by pair
        self.carried_usd = ZERO

    def begin(
        self, found: Mapping[Instrument, Decimal], marks: Mapping[str, Decimal], usdc: Decimal
    ) -> Decimal:
        """Take in what is owned, dust at its mark; the spot wallet's equity, in whole millionths of a dollar."""
        self.owned = {instrument.name: owned for instrument, owned in found.items()}
        equity = usdc + sum((owned * marks[i.name] for i, owned in found.items() if owned), ZERO)
        lots_usd = sum(
            (i.notional(whole_lots(i, owned), marks[i.name]) for i, owned in found.items() if owned), ZERO
        )
        self.carried_usd = usd(equity) - usdc - lots_usd
        return usd(equity)

    def take(self, told: VenueFill, instrument: Instrument, fill: Fill) -> Iterator[Fill]:
        """Count a trade that was told; `fill` is what it is without its fee. It with its fee, and what the fee broke into."""
        name, sign = instrument.name, told.side.sign
        in_token = told.fee if told.fee_token == token_of(instrument) else ZERO
        in_usdc = told.fee if told.fee_token == USDC else ZERO
        if told.fee_token not in {USDC, token_of(instrument)}:
            log.error(
                "a fee in a token that is not known here", coin=name, fee=str(told.fee), token=told.fee_token
            )
        before = self.owned.get(name, ZERO)
        after = self.owned[name] = before + sign * told.size - in_token
        broken = whole_lots(instrument, after) - whole_lots(instrument, before) - fill.signed_lots
        booked = ZERO
        if fill.lots:  # else the venue has sold dust by itself, as it does with what is worth next to nothing
            fill = replace(fill, fee_usd=usd(in_usdc + in_token * told.price))
            booked = -sign * fill.notional_usd - fill.fee_usd
            yield fill
        if broken:
            given_up = usd(instrument.notional(abs(broken), told.price))
            booked -= given_up if broken > 0 else -given_up
            yield replace(
                fill,
                trade_id=-fill.trade_id,
                client_id=f"{fill.client_id}-fee",  # no part of what the order has filled
                side=Side.of(broken),
                lots=abs(broken),
                notional_usd=given_up,
                fee_usd=ZERO,
                closed_pnl_usd=ZERO,
            )
        self.carried_usd += booked - (-sign * told.price * told.size - in_usdc)

    def differs(self, found: Mapping[Instrument, Decimal]) -> str:
        """Which pair's token the wallet holds another quantity of than the trades make; empty where none."""
        return next((i.name for i, owned in found.items() if owned != self.owned.get(i.name, ZERO)), "")

    def believe(self, found: Mapping[Instrument, Decimal], marks: Mapping[str, Decimal]) -> None:
        """Take the wallet's word: tokens came or went without a trade. Dust is carried at its mark then.

        The lots of it have no fill, which the ledger finds and shows.
        """
        for instrument, owned in found.items():
            before = self.owned.get(instrument.name, ZERO)
            if owned == before:
                continue
            log.error(
                "tokens came or went without a trade; they count as profit or loss",
                coin=instrument.name,
                before=str(before),
                now=str(owned),
            )
            dust = dust_of(instrument, owned) - dust_of(instrument, before)
            self.carried_usd += dust * marks[instrument.name]
            self.owned[instrument.name] = owned

    def state(self) -> dict[str, Any]:
        """As JSON values."""
        owned = {name: str(size) for name, size in self.owned.items()}
        return {"owned": owned, "carried_usd": str(self.carried_usd)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` gave. KeyError, ArithmeticError where it can't be read."""
        self.owned = {str(name): Decimal(size) for name, size in state["owned"].items()}
        self.carried_usd = Decimal(state["carried_usd"])


def dust_of(instrument: Instrument, owned: Decimal) -> Decimal:
    """What is less than a lot of what is owned."""
    return owned - instrument.size(whole_lots(instrument, owned))
