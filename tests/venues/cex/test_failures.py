"""Every class of the client library has one meaning for orders and one for questions."""

import pytest

from bot.errors import OutcomeUnknown, Refused, Unavailable, VenueError
from bot.venues.cex.differences import said_in
from bot.venues.cex.failures import NoAnswer, failure_of

ccxt = pytest.importorskip("ccxt")


@pytest.mark.parametrize(
    ("name", "of_order", "of_question"),
    [
        ("RequestTimeout", OutcomeUnknown, NoAnswer),
        ("NetworkError", OutcomeUnknown, NoAnswer),
        ("ExchangeNotAvailable", OutcomeUnknown, NoAnswer),
        ("OnMaintenance", OutcomeUnknown, NoAnswer),
        ("BadResponse", OutcomeUnknown, NoAnswer),
        ("NullResponse", OutcomeUnknown, NoAnswer),
        ("ExchangeError", OutcomeUnknown, NoAnswer),
        ("DDoSProtection", Unavailable, Unavailable),
        ("RateLimitExceeded", Unavailable, Unavailable),
        ("InvalidOrder", Refused, Refused),
        ("OrderImmediatelyFillable", Refused, Refused),
        ("InsufficientFunds", Refused, Refused),
        ("BadSymbol", Refused, Refused),
        ("AuthenticationError", Refused, Refused),
        ("PermissionDenied", Refused, Refused),
    ],
)
def test_what_a_class_means(name: str, of_order: type[VenueError], of_question: type[VenueError]) -> None:
    error = getattr(ccxt, name)("signature=abc")
    assert type(failure_of(error, is_order=True)) is of_order
    assert type(failure_of(error, is_order=False)) is of_question


def test_the_librarys_text_is_not_told() -> None:
    assert "abc" not in str(failure_of(ccxt.ExchangeError("signature=abc"), is_order=True))


def test_what_is_no_error_of_the_library_leaves_an_order_unknown() -> None:
    assert type(failure_of(ValueError("spoilt JSON"), is_order=True)) is OutcomeUnknown


@pytest.mark.parametrize("code", ["-4116", "110072", "51016"])
def test_a_client_id_that_is_taken_means_that_an_order_may_stand(code: str) -> None:
    assert type(failure_of(ccxt.InvalidOrder(), is_order=True, code=code)) is OutcomeUnknown
    assert type(failure_of(ccxt.DuplicateOrderId(), is_order=True)) is OutcomeUnknown


@pytest.mark.parametrize("name", ["AuthenticationError", "RateLimitExceeded", "BadRequest"])
def test_no_class_makes_a_server_error_a_no(name: str) -> None:
    assert type(failure_of(getattr(ccxt, name)(), is_order=True, http_status=511)) is OutcomeUnknown


def test_a_ban_stops_all_asking() -> None:
    for is_order in (True, False):
        assert type(failure_of(ccxt.DDoSProtection(), is_order=is_order, http_status=418)) is Refused


@pytest.mark.parametrize(
    ("code", "http_status", "meaning"),
    [
        ("-4164", 400, Refused),  # a code that the library has no class for
        ("-1007", 408, OutcomeUnknown),
        ("-1000", 400, OutcomeUnknown),
        ("", 403, OutcomeUnknown),  # of somebody in between
        ("-4164", 503, OutcomeUnknown),
    ],
)
def test_a_code_and_a_clients_fault_are_a_no(code: str, http_status: int, meaning: type[VenueError]) -> None:
    failure = failure_of(
        ccxt.ExchangeError("signature=abc"), is_order=True, code=code, http_status=http_status
    )
    assert type(failure) is meaning


def test_the_venues_own_sentence_is_told() -> None:
    failure = failure_of(ccxt.InvalidOrder(), is_order=True, code="-2019", said="Margin is insufficient.\n")
    assert "InvalidOrder -2019: Margin is insufficient." in str(failure)
    assert "\n" not in str(failure)


@pytest.mark.parametrize(
    ("name", "code", "status"),
    [
        ("RequestTimeout", "50004", 400),  # OKX: "does not indicate success or failure of order"
        ("ExchangeNotAvailable", "50013", 429),
        ("ExchangeError", "51149", 400),
        ("BadRequest", "10014", 200),  # Bybit: a request twice
        ("ExchangeNotAvailable", "", 307),
    ],
)
def test_what_a_venue_says_of_an_order_without_knowing_is_not_known(
    name: str, code: str, status: int
) -> None:
    error = getattr(ccxt, name)()
    assert type(failure_of(error, is_order=True, code=code, http_status=status)) is OutcomeUnknown


def test_a_venue_that_repeats_key_and_payload_is_not_repeated() -> None:
    told = {"retCode": 10004, "retMsg": "error sign! origin_string[1790000000000SECRETKEY5000{}]"}
    assert said_in(told) == "error sign! "
    failure = failure_of(ccxt.AuthenticationError(), is_order=True, said="signature for SECRETKEY is wrong")
    assert "SECRETKEY" not in str(failure)
