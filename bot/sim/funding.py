"""Funding of a whole book at once: one settlement on every position of an account, as arrays.

A backtest settles some positions each hour for years. Here their payments are one product of vectors, rounded to the
millionth of a dollar, and only the sum is booked; the payments themselves are made when somebody asks for them.
`Exchange.settle_funding` says the same, one exact payment at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from bot.model.decision import LotsArray
from bot.model.instrument import Instrument
from bot.model.money import MICRO_USD, exact
from bot.model.order import FundingPayment
from bot.model.panel import FloatArray
from bot.model.rows import total

LARGEST = 2.0**53  # millionths of a dollar that a float still counts one by one


@dataclass(slots=True)
class FundingRound:
    """One settlement: arrays over the instruments, `micro_usd` what each position received in millionths of a dollar."""

    time_ms: int
    instruments: tuple[Instrument, ...]
    lots: LotsArray
    oracle: FloatArray
    rate_per_hour: FloatArray
    micro_usd: FloatArray  # whole numbers, exact up to 2 ** 53
    usd: Decimal  # their sum

    @classmethod
    def of(
        cls,
        time_ms: int,
        instruments: tuple[Instrument, ...],
        lots: LotsArray,
        size: FloatArray,
        oracle: FloatArray,
        rate_per_hour: FloatArray,
    ) -> FundingRound | None:
        """What holding `size` coins (`lots`) pays at `oracle` when `rate_per_hour` settles; every rate must be known.

        None where the sum is too large to be exact. The arrays are kept, so nobody may write to them afterwards.
        """
        micro = np.rint(size * oracle * rate_per_hour * -1e6)
        received = total(micro)
        if not abs(received) <= LARGEST:
            return None
        return cls(time_ms, instruments, lots, oracle, rate_per_hour, micro, int(received) * MICRO_USD)

    def payments(self) -> list[tuple[int, FundingPayment]]:
        """The same as single payments, each with its column."""
        held = np.flatnonzero(self.lots)
        return [
            (
                column,
                FundingPayment(
                    self.time_ms,
                    self.instruments[column].name,
                    lots,
                    exact(oracle),
                    exact(rate),
                    int(micro) * MICRO_USD,
                ),
            )
            for column, lots, oracle, rate, micro in zip(
                held.tolist(),
                self.lots[held].tolist(),
                self.oracle[held].tolist(),
                self.rate_per_hour[held].tolist(),
                self.micro_usd[held].tolist(),
                strict=True,
            )
        ]


def made_out(settled: Iterable[FundingRound | FundingPayment]) -> list[FundingPayment]:
    """All as single payments, in order."""
    payments: list[FundingPayment] = []
    for each in settled:
        if isinstance(each, FundingRound):
            payments.extend(payment for _, payment in each.payments())
        else:
            payments.append(each)
    return payments
