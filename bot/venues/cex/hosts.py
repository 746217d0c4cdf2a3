"""Which servers the client library would talk to, and that each of them is one where only play money is traded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from bot.errors import ConfigError
from bot.venues.cex.terms import CexTerms

PRACTICE: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    ("binance", "demo"): frozenset(
        {"demo-api.binance.com", "demo-dapi.binance.com", "demo-fapi.binance.com"}
    ),
    ("bybit", "demo"): frozenset({"api-demo.bybit.com"}),
    ("bybit", "testnet"): frozenset({"api-testnet.bybit.com"}),
    ("okx", "demo"): frozenset({"www.okx.com"}),
}
"""Exchange and service → its hosts. OKX's is that of real money too: there a header makes the difference."""

SIMULATED: Final = ("x-simulated-trading", "1")
"""The header with which OKX takes a request for one of its demo."""


def hosts_of(exchange: Any) -> tuple[str, ...]:
    """Every host that the library's exchange has a URL of for its requests, in alphabetical order."""
    urls = _flat(exchange.urls["api"])
    return tuple(sorted({urlsplit(exchange.implode_hostname(url)).hostname or "" for url in urls}))


def check_hosts(exchange: Any, terms: CexTerms) -> tuple[str, ...]:
    """The hosts. ConfigError where one of them is none of the service's, or what marks a request as a demo's is missing."""
    found = hosts_of(exchange)
    if terms.url is not None:
        known = frozenset({urlsplit(terms.url).hostname or ""})
    else:
        known = PRACTICE.get((terms.venue, terms.service), frozenset())
    strange = [host for host in found if host not in known]
    if strange or not found:
        raise ConfigError(
            f"{terms.venue}: the client library would ask {', '.join(strange) or 'no host at all'}, which is not known to be "
            f"of the {terms.service} service; install the version of ccxt that this program was tested with"
        )
    if terms.url is None and terms.venue == "okx" and not is_marked(exchange):
        raise ConfigError(
            "okx: the client library does not send x-simulated-trading, without which the host trades real money; install "
            "the version of ccxt that this program was tested with"
        )
    return found


def is_marked(exchange: Any) -> bool:
    """Whether every request carries OKX's mark of a demo."""
    name, value = SIMULATED
    headers = exchange.headers or {}
    return bool(headers.get(name) == value)


def _flat(urls: Any) -> Iterator[str]:
    if isinstance(urls, Mapping):
        for url in urls.values():
            yield from _flat(url)
    else:
        yield str(urls)
