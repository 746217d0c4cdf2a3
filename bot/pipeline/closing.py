"""What the kill ladder asks for: working orders withdrawn, everything closed. No strategy, signal or rule has a say.

All that is looked at is what the venue says of the account. Each attempt at closing is made anew from what is held now,
by orders that can only reduce: one that fails is never sent again, and can't come back as a position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from bot.model.decision import (
    AccountView,
    Cancel,
    Decision,
    Finding,
    LotsArray,
    Memory,
    Opinion,
    OrderPlan,
    Targets,
    TradingState,
    client_id,
)
from bot.model.instrument import Instrument, Kind
from bot.model.order import Order, Purpose, Side
from bot.model.panel import FloatArray
from bot.pipeline.mandate import Execution
from bot.pipeline.placing import NOT_WORKING, bound, withdrawal

LEAST_SLIPPAGE_BPS: Final = 10.0
WIDEST: Final = 4
"""Attempts go that many times the slippage from mark, one after the other, then begin anew: the signer may refuse the
wide ones, and a book that was thin may have filled up."""


def withdrawals(account: AccountView, state: TradingState, because: str) -> tuple[Cancel, ...]:
    """Cancels of the working orders that a state forbids: all of them when halted, what may open when reducing.

    Protective triggers stay, and so does what somebody else has placed.
    """
    if state is TradingState.ACTIVE:
        return ()
    return tuple(
        withdrawal(report, because)
        for report in account.open_orders
        if report.order.purpose not in NOT_WORKING
        and (state is TradingState.HALTED or not report.order.reduce_only)
    )


def closing(
    account: AccountView,
    mark: FloatArray,
    instruments: Sequence[Instrument],
    moment_id: str,
    execution: Execution,
    attempt: int,
    because: str,
) -> OrderPlan:
    """Cancel every working order and close every position; protective triggers stay as long as their position does.

    So does what somebody else has placed and can only reduce; what it could open goes at once, since flat is what is asked for.

    Coins that no order can sell stay. `mark` is 0 or NaN where no price is known: then the venue's adapter chooses the bound. `attempt` counts from 0.
    """
    held = {instruments[column].name for column in np.flatnonzero(account.lots).tolist()}
    cancels = withdrawals(account, TradingState.HALTED, because) + tuple(
        withdrawal(report, "its position is gone" if report.order.reduce_only else because)
        for report in account.open_orders
        if report.order.purpose in NOT_WORKING
        and (report.order.instrument not in held or not report.order.reduce_only)
    )
    slippage_bps = max(execution.slippage_bps, LEAST_SLIPPAGE_BPS) * (1 + attempt % WIDEST)
    orders, dust = [], dust_usd(account, mark, instruments)
    for column in np.flatnonzero(account.lots).tolist():
        instrument, lots = instruments[column], int(account.lots[column])
        if instrument.name in dust:
            continue
        side = Side.of(-lots)
        orders.append(
            Order(
                client_id(moment_id, instrument.name, "exit"),
                instrument.name,
                side,
                abs(lots),
                bound(instrument, side, float(mark[column]), slippage_bps),
                reduce_only=True,
                purpose=Purpose.EXIT,
            )
        )
    return OrderPlan(cancels, tuple(orders))


def dust_usd(account: AccountView, mark: FloatArray, instruments: Sequence[Instrument]) -> dict[str, float]:
    """Coins on spot markets that are worth less than any order these take, by market; what has no price is none."""
    found = {}
    for column in np.flatnonzero(account.lots).tolist():
        instrument = instruments[column]
        usd = abs(float(instrument.size(int(account.lots[column])))) * float(mark[column])
        if instrument.kind is Kind.SPOT and 0 < usd < instrument.min_order_usd:
            found[instrument.name] = usd
    return found


def is_flat(account: AccountView, mark: FloatArray, instruments: Sequence[Instrument]) -> bool:
    """Whether nothing is held that an order could close, and nothing is open that could change that."""
    if account.open_orders:
        return False
    return int(np.count_nonzero(account.lots)) == len(dust_usd(account, mark, instruments))


def word(
    memory: Memory,
    time_ms: int,
    suffix: str,
    plan: OrderPlan,
    finding: Finding,
    *,
    wanted: LotsArray | None = None,
) -> Decision:
    """A decision that no strategy was asked for: what they hold becomes `wanted` (as `held_lots`; None: stays).

    `suffix` tells it apart from the others of its moment.
    """
    held = memory.held_lots
    aim = held if wanted is None else wanted
    because = f"not asked: {finding.detail}".replace("{", "{{").replace("}", "}}")
    ready = np.ones(held.shape[1], dtype=np.bool_)
    opinions = tuple(Opinion(scores, because, {}, ready) for scores in memory.scores)
    return Decision(
        f"{time_ms // 1000:x}{suffix}",
        time_ms,
        opinions,
        Targets(held.sum(axis=0), held),
        Targets(aim.sum(axis=0), aim),
        (finding,),
        plan,
    )
