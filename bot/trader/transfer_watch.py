"""Says what a person should move between wallets, once when it becomes so, and keeps it in the journal while it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import structlog

from bot.journal.journal import TO_MOVE, Journal
from bot.model.instrument import Instrument
from bot.pipeline.joint import Book
from bot.pipeline.mandate import Mandate
from bot.pipeline.transfers import Transfer, transfers
from bot.venues.venue import AccountState

log = structlog.get_logger("hedgerow")

MUCH: Final = 0.1
"""A change of an amount, as a share of it, that is worth writing down again."""


class TransferWatch:
    """Of one account with spreads over several wallets, all of them on cross margin; of any other it says nothing."""

    def __init__(self, mandate: Mandate, instruments: Sequence[Instrument], journal: Journal) -> None:
        self._mandate, self._instruments, self._journal = mandate, tuple(instruments), journal
        self._standing: dict[str, Transfer] | None = None  # by the wallet in need; None before the first look

    def look(self, time_ms: int, account: AccountState) -> None:
        """Look at the wallets, log what is new, and write down what stands. Of a venue that can't be asked nothing is known."""
        if account.stale:
            return
        if self._standing is None:
            self._standing = self._written_down()
        before, found = self._standing, dict[str, Transfer]()
        view = account.view
        is_cross = view.isolated_usd is None or bool(np.isnan(view.isolated_usd).all())
        if self._mandate.spreads and view.wallet_usd is not None and is_cross:
            book = Book.of_account(
                self._instruments, view.lots, account.mark, view.wallet_usd, view.equity_usd
            )
            if book is None:
                return
            leverage = dict(
                zip((each.name for each in self._instruments), view.leverage.tolist(), strict=True)
            )
            found = {each.target: each for each in transfers(book, leverage, self._mandate.limits, before)}
        for name, each in found.items():
            if name not in before:
                log.warning(
                    "transfer needed",
                    move_usd=f"{each.usd:,.2f}",
                    source=each.source,
                    target=name,
                    because=each.because,
                    needed_usd=f"{each.needed_usd:,.2f}",
                )
        for name in before.keys() - found.keys():
            log.info("no transfer needed any more", target=name)
        if _is_news(found, before):
            self._journal.record_event(time_ms, TO_MOVE, json.dumps([_told(each) for each in found.values()]))
            self._standing = found

    def _written_down(self) -> dict[str, Transfer]:
        """What stood when an earlier run last looked, so that a restart says nothing again."""
        text = self._journal.newest_event(TO_MOVE)
        told = [] if text is None else json.loads(text)
        return {each["target"]: Transfer(each["source"], each["target"], each["usd"], each["needed_usd"], each["because"]) for each in told}  # fmt: skip


def _is_news(found: Mapping[str, Transfer], before: Mapping[str, Transfer]) -> bool:
    if found.keys() != before.keys():
        return True
    return any(
        each.source != before[name].source or abs(each.usd - before[name].usd) > MUCH * before[name].usd
        for name, each in found.items()
    )


def _told(each: Transfer) -> dict[str, float | str]:
    return {
        "source": each.source,
        "target": each.target,
        "usd": round(each.usd, 2),
        "needed_usd": round(each.needed_usd, 2),
        "because": each.because,
    }
