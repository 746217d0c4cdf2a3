"""Asking one exchange, with our own errors: what the library or the signer raise is told as no, not now, or nobody knows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import localcontext
from typing import Any, Final

from bot.errors import HedgerowError, OutcomeUnknown, Refused, Unavailable
from bot.signer.cex_client import Denied, Locked, SignerGone
from bot.venues.cex.differences import Differences
from bot.venues.cex.exchange import BeforeLeaving
from bot.venues.cex.failures import NoAnswer, failure_of

WAITS_S: Final = (0.1, 0.4)
"""Before a question without an answer is asked again."""


class NotSigned(Refused):
    """The signer's policy forbids it."""


class NotKnown(Refused):
    """The venue does not know the order that was asked for."""


class OutOfTime(Unavailable):
    """The request's time is not within the receive window by the venue's clock."""


class AsItIs(Refused):
    """The setting that was asked for is there already."""


class Client:
    """One exchange. `exchange` is the library's, as `exchange.made` makes it."""

    def __init__(
        self, exchange: Any, differences: Differences, set_clock: Callable[[], Awaitable[Any]] | None = None
    ) -> None:
        self._exchange, self._differences, self._set_clock = exchange, differences, set_clock

    @property
    def markets(self) -> Any:
        """By the library's symbol."""
        return self._exchange.markets or {}

    async def close(self) -> None:
        """Hang up."""
        await self._exchange.close()

    async def ask(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        """A question, or a setting that may be set twice. Refused or Unavailable where there is no answer.

        Where no answer came it is asked again, and where the venue refused its time, after the clock was set.
        """
        waits = iter(WAITS_S)
        while True:
            try:
                return await self._do(method, arguments, keywords, is_order=False)
            except (OutOfTime, NoAnswer) as error:
                wait_s = next(waits, None)
                if wait_s is None:
                    raise
                if isinstance(error, NoAnswer):
                    await asyncio.sleep(wait_s)
                elif self._set_clock is not None:
                    await self._set_clock()

    async def order(self, before_leaving: BeforeLeaving, *arguments: Any) -> Any:
        """Place an order; one at a time. OutcomeUnknown where it may have been carried out.

        `before_leaving` is called once it is signed, and what it raises keeps it here.
        """
        self._exchange.before_leaving = before_leaving
        try:
            return await self._do("create_order", arguments, {}, is_order=True)
        finally:
            self._exchange.before_leaving = None

    async def _do(self, method: str, arguments: Any, keywords: Any, *, is_order: bool) -> Any:
        import ccxt  # type: ignore[import-untyped]  # slow to load, so only where it is needed

        try:
            with localcontext():  # the library changes how decimals are rounded, for whoever comes after it
                return await getattr(self._exchange, method)(*arguments, **keywords)
        except Denied as denial:
            raise NotSigned(str(denial)) from None
        except (Locked, SignerGone) as error:
            raise Unavailable(str(error)) from None
        except HedgerowError:
            raise
        except ccxt.BaseError as error:
            code = getattr(error, "venue_code", "")
            if not is_order and isinstance(error, ccxt.OrderNotFound):
                raise NotKnown("the venue does not know the order") from None
            if code in self._differences.stale_codes:
                raise OutOfTime("the venue refused the request's time, so nothing happened") from None
            status = getattr(error, "http_status", None)
            said = getattr(error, "venue_said", "")
            failure = failure_of(
                error, is_order=is_order, code=code, http_status=status, asked=method, said=said
            )
            if code in self._differences.kept_codes and not is_order:
                raise AsItIs(str(failure)) from None
            raise failure from None
        except Exception as error:  # noqa: BLE001 - the library's own parsers fail in many ways on what they don't expect
            what = f"{method}: the answer could not be read ({type(error).__name__})"
            raise (OutcomeUnknown(what) if is_order else NoAnswer(what)) from None
