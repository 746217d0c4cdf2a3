"""The client library's class for one exchange, signing through the signer and knowing no secret.

Its requests are its own but for three things: what is private is signed elsewhere, numbers stay the text that the wire
brought, and an error keeps the HTTP status and the venue's code, which say whether anything can have happened.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol
from urllib.parse import urlsplit

from bot.errors import Refused
from bot.signer.cex_client import SignedRequest
from bot.venues.cex.differences import Differences, said_in
from bot.venues.cex.hosts import check_hosts
from bot.venues.cex.terms import CexTerms

PLACEHOLDER = "signed-elsewhere"
METHODS = frozenset({"get", "post", "put", "delete", "patch"})
REDIRECTS, CLIENT_ERROR = 300, 400


class Signs(Protocol):
    """Who signs, and is told what is true; `bot.signer.cex_client.CexSigner` is one."""

    def sign(self, method: str, path: str, params: Mapping[str, str]) -> SignedRequest:
        """Sign a request. Raises Denied, Locked or SignerGone."""
        ...

    def clock(self, venue_ms: int) -> None:
        """Tell the venue's time."""
        ...

    def prices(self, prices: Mapping[str, str], at_ms: int) -> None:
        """Tell reference prices by symbol."""
        ...

    def positions(
        self, holdings: Mapping[str, Any], *, open_orders: int, through_nonce: int, at_ms: int
    ) -> None:
        """Tell what is held and rests, by symbol in coins."""
        ...

    def status(self) -> dict[str, Any]:
        """What it signs for, and whether it does."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


BeforeLeaving = Callable[[SignedRequest], None]


def text_of(value: Any) -> str:
    """A parameter as the signer takes it: plain words and numbers, none of them nested."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)):
        return str(value)
    raise Refused(f"a parameter of the request is a {type(value).__name__}, which is not signed")


def _signing(
    base: Any, venue: str, differences: Differences, signs: Signs, now_ms: Callable[[], int]
) -> type[Any]:
    """The library's class, with what is its own replaced."""

    class Signing(base):  # type: ignore[misc]
        before_leaving: BeforeLeaving | None = None
        """Called with an order that was signed, before it leaves; what it raises keeps the order here."""

        def milliseconds(self) -> int:
            return now_ms()

        def sign(
            self,
            path: str,
            api: Any = "public",
            method: str = "GET",
            params: Mapping[str, Any] | None = None,
            *_: Any,
        ) -> dict[str, Any]:
            kind = api if isinstance(api, str) else api[0]
            if "ublic" in kind or kind in differences.urls:  # public, fapiPublic, …
                made: dict[str, Any] = super().sign(path, api, method, params or {})
                return made
            signed_path = differences.private(kind, path)
            if signed_path is None:  # what moves money would lock the signer: it is not even asked
                raise Refused(f"{venue}: {kind} {path} is not asked for by this program")
            texts = {name: text_of(value) for name, value in (params or {}).items() if value is not None}
            texts.pop("recvWindow", None)
            signs.clock(now_ms())
            signed = signs.sign(method, signed_path, texts)
            if self.before_leaving is not None and method == "POST":
                self.before_leaving(signed)
            parts = urlsplit(self._base_url(kind))
            url = f"{parts.scheme}://{parts.netloc}{signed_path}"
            if signed.query:
                url += f"?{signed.query}"
            return {
                "url": url,
                "method": method,
                "body": signed.body or None,
                "headers": dict(signed.headers),
            }

        def _base_url(self, kind: str) -> str:
            urls = self.urls["api"]
            return str(self.implode_hostname(urls.get(kind) or urls["rest"]))

        def open(self, *lazy: Any, **keywords: Any) -> None:
            super().open(*lazy, **keywords)
            self.session: Any = _Straight.of(self.session)

        def handle_errors(self, code: int, reason: str, *rest: Any) -> Any:
            try:
                _refuse_redirect(venue, code)
                return super().handle_errors(code, reason, *rest)
            except Exception as error:
                error.http_status = code  # type: ignore[attr-defined]
                error.venue_code = differences.code(rest[4])  # type: ignore[attr-defined]
                error.venue_said = said_in(rest[4])  # type: ignore[attr-defined]
                raise

        def handle_http_status_code(self, code: int, *rest: Any) -> Any:
            with _marked(code):
                return super().handle_http_status_code(code, *rest)

    return Signing


def _refuse_redirect(venue: str, code: int) -> None:
    """What answers elsewhere is no answer."""
    if REDIRECTS <= code < CLIENT_ERROR:
        from ccxt import ExchangeNotAvailable  # type: ignore[import-untyped]  # slow to load, so only where it is needed

        raise ExchangeNotAvailable(f"{venue} sent the request elsewhere")


@contextmanager
def _marked(http_status: int) -> Iterator[None]:
    """An error within keeps the HTTP status."""
    try:
        yield
    except Exception as error:
        error.http_status = http_status  # type: ignore[attr-defined]
        raise


class _Straight:
    """The library's session, which follows no redirect: what was signed for one host is for no other."""

    def __init__(self, session: Any) -> None:
        self._session = session

    @classmethod
    def of(cls, session: Any) -> Any:
        """A session made so; None and what is so already stay what they are."""
        return session if session is None or isinstance(session, cls) else cls(session)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._session, name)
        return partial(found, allow_redirects=False) if name in METHODS else found


def made(terms: CexTerms, differences: Differences, signs: Signs, now_ms: Callable[[], int]) -> Any:
    """The library's exchange, on its way to where one may practise; nothing is asked yet.

    `now_ms` is the venue's time. ConfigError where a host is not known to be of that place.
    """
    import ccxt.async_support as library  # type: ignore[import-untyped]  # slow to load, so only where it is needed

    base = getattr(library, differences.ccxt_class)
    exchange = _signing(base, terms.venue, differences, signs, now_ms)(
        {
            "apiKey": PLACEHOLDER,
            "timeout": int(terms.timeout_s * 1000),
            "enableRateLimit": terms.network != "devnet",
        }
    )
    exchange.requiredCredentials = {}
    exchange.number = str  # exact, as it came
    exchange.has = {**exchange.has, "fetchCurrencies": False}  # a private request of the spot side
    exchange.options = exchange.deep_extend(exchange.options, differences.options)
    exchange.logger = logging.getLogger("hedgerow.silent")  # its own would write signed bodies
    exchange.logger.disabled = True
    getattr(exchange, differences.services[terms.service])(True)
    if differences.urls:
        exchange.urls = {**exchange.urls, "api": {**exchange.urls["api"], **differences.urls}}
    if terms.url is not None:
        exchange.urls = {**exchange.urls, "api": _moved(exchange.urls["api"], terms.url.rstrip("/"))}
    check_hosts(exchange, terms)
    return exchange


def _moved(urls: Any, base: str) -> Any:
    """The same paths at another place."""
    if isinstance(urls, Mapping):
        return {name: _moved(url, base) for name, url in urls.items()}
    return base + urlsplit(urls).path
