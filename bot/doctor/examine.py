"""All checks of a config, from the nearest to the farthest."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

from bot.clock import WallClock
from bot.config_file import Override
from bot.doctor import exchanges, here
from bot.doctor.accounts import Account, accounts_of
from bot.doctor.config import checked
from bot.doctor.finding import Finding, failed, ok, warning
from bot.doctor.signers import signer
from bot.errors import HedgerowError
from bot.settings import Settings


def examine(path: Path, overrides: Sequence[Override] = (), *, offline: bool) -> Iterator[Finding]:
    """What is found, check by check. With `offline` nothing but this computer is asked.

    Nothing is written, taken or traded; online each venue is asked a few questions.
    """
    try:
        right = checked(path, overrides)
    except HedgerowError as error:
        yield failed("config", str(error))
        return
    settings = right.settings
    yield ok("config", right.told(path))
    yield from (warning("config", each) for each in right.cautions)
    yield from here.python_and_packages(settings)
    yield from here.disk_and_journal(settings, WallClock().now_ms())
    for account in accounts_of(settings):
        yield from _account(account, settings, offline=offline)


def _account(account: Account, settings: Settings, *, offline: bool) -> Iterator[Finding]:
    """One account: where requests would go, its signer, and online the venue."""
    if account.is_cex:
        yield from exchanges.hosts(account)
        if account.name == "okx" and (settings.execution.stop_loss or settings.execution.take_profit):
            yield failed(
                "okx stops",
                "the signer signs no algo orders of OKX, so no stop or take-profit can rest there; remove execution.stop_loss and "
                "execution.take_profit",
            )
    else:
        try:
            from bot.doctor import hyperliquid
        except ModuleNotFoundError:
            return  # which the check of the packages has told
        yield hyperliquid.server(account)
    findings, told = signer(account, settings, is_needed=not offline)
    yield from findings
    if offline:
        if account.is_cex:
            yield exchanges.key_unasked(account)
        return
    yield from asyncio.run(_asked(account, settings, is_signed=told is not None))


async def _asked(account: Account, settings: Settings, *, is_signed: bool) -> list[Finding]:
    if account.is_cex:
        return [finding async for finding in exchanges.online(account, settings, is_signed=is_signed)]
    from bot.doctor.hyperliquid import online

    return [finding async for finding in online(account, settings, is_signed=is_signed)]
