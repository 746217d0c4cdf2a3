"""Only hosts of a service for trying things out are ever asked, whatever the client library has in its tables."""

from typing import Any

import pytest

from bot.config_venue import SERVICES
from bot.errors import ConfigError
from bot.signer.cex_endpoints import ENDPOINTS
from bot.venues.cex import exchange as exchanges
from bot.venues.cex.differences import differences_of
from bot.venues.cex.hosts import PRACTICE, check_hosts, hosts_of
from bot.venues.cex.terms import CexTerms
from tests.venues.cex.scripted import NOW_MS, Signer

PLACES = [(venue, service) for venue, services in SERVICES.items() for service in services]
LIVE = {"binance": "fapi.binance.com", "bybit": "api.bybit.com"}


def made(venue: str, service: str, url: str | None = None) -> tuple[Any, CexTerms]:
    terms = CexTerms(venue, "devnet" if url else "testnet", ("BTC",), service=service, url=url)
    return exchanges.made(terms, differences_of(venue, service), Signer(), lambda: NOW_MS), terms


def test_every_service_that_a_config_may_name_has_its_hosts() -> None:
    assert set(PRACTICE) == set(PLACES)
    assert not {host for hosts in PRACTICE.values() for host in hosts} & set(LIVE.values())


@pytest.mark.parametrize(("venue", "service"), PLACES)
def test_the_library_is_sent_to_the_hosts_of_the_service(venue: str, service: str) -> None:
    exchange, _ = made(venue, service)
    assert set(hosts_of(exchange)) == PRACTICE[venue, service]


def test_a_devnet_is_asked_alone() -> None:
    exchange, _ = made("binance", "demo", "http://127.0.0.1:4711")
    assert hosts_of(exchange) == ("127.0.0.1",)


@pytest.mark.parametrize("venue", LIVE)
def test_a_library_that_was_left_where_real_money_is_is_refused(venue: str) -> None:
    service = SERVICES[venue][0]
    _, terms = made(venue, service)
    library = __import__("ccxt.async_support", fromlist=["async_support"])
    left = getattr(library, differences_of(venue, service).ccxt_class)()
    with pytest.raises(ConfigError, match=LIVE[venue].replace(".", r"\.")):
        check_hosts(left, terms)


@pytest.mark.parametrize(("venue", "service"), [place for place in PLACES if place[0] in LIVE])
def test_one_live_url_among_many_is_refused(venue: str, service: str) -> None:
    exchange, terms = made(venue, service)
    exchange.urls["api"] = {**exchange.urls["api"], "one": {"more": f"https://{LIVE[venue]}/v1"}}
    with pytest.raises(ConfigError, match=LIVE[venue].replace(".", r"\.")):
        check_hosts(exchange, terms)


def test_okx_without_its_mark_of_a_demo_is_refused() -> None:
    exchange, terms = made("okx", "demo")
    assert check_hosts(exchange, terms) == ("www.okx.com",)
    exchange.headers = {}
    with pytest.raises(ConfigError, match="x-simulated-trading"):
        check_hosts(exchange, terms)


def test_no_urls_at_all_are_no_proof() -> None:
    exchange, terms = made("bybit", "demo")
    exchange.urls["api"] = {}
    with pytest.raises(ConfigError, match="no host at all"):
        check_hosts(exchange, terms)


def test_of_the_three_only_okx_has_stops_that_are_not_signed() -> None:
    """Which `hedgerow doctor` says of a config that wants them."""
    orders = {venue: [path for (method, path), each in table.items() if method == "POST" and each.kind == "order"]
              for venue, table in ENDPOINTS.items()}  # fmt: skip
    assert "/fapi/v1/algoOrder" in orders["binance"]
    assert "/v5/order/create" in orders["bybit"]
    assert orders["okx"] == ["/api/v5/trade/order"]
    placing = ENDPOINTS["okx"]["POST", "/api/v5/trade/order"]
    assert not [key for key in placing.must | placing.may if "rigger" in key or "attach" in key]
