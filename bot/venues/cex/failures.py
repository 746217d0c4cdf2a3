"""What a failure of the client library means for the one who asked: no, not now, or nobody knows."""

from __future__ import annotations

from bot.errors import OutcomeUnknown, Refused, Unavailable, VenueError
from bot.text import printable

SERVER_ERROR, CLIENT_ERROR, TIMED_OUT = 500, 400, 408
BANNED = 418
LONGEST_SAID = 120
DUPLICATES = frozenset({"-4111", "-4116", "110072", "10014", "51016"})
"""Codes of Binance, Bybit and OKX for a client id that stands already: the library calls them invalid orders."""

UNSAID = frozenset({"-1000", "-1001", "-1006", "-1007", "50004", "51149"})
"""Binance's and OKX's own words for an order of which they do not know what became."""


class NoAnswer(Unavailable):
    """No answer, or none that can be used: to ask again at once may help."""


def failure_of(
    error: Exception,
    *,
    is_order: bool,
    code: str = "",
    http_status: int | None = None,
    asked: str = "",
    said: str = "",
) -> VenueError:
    """The error to raise in place of the library's; the library's text is left out, as it may hold what was signed.

    `code` is the venue's own, empty where its answer had none. An order that no word came back of, or a word that can't
    be read, may stand at the venue, and so does one whose client id is taken. A question can be asked again. `asked` is the
    library's method and `said` the venue's own sentence, for ours.
    """
    import ccxt  # type: ignore[import-untyped]  # slow to load, so only where it is needed

    kind = type(error).__name__ + (f" {code}" if code else "") + (f" to {asked}" if asked else "")
    if not isinstance(error, ccxt.AuthenticationError):  # of these some repeat key and payload
        kind += f": {printable(said[:LONGEST_SAID])}" if said else ""
    unknown = OutcomeUnknown(f"What became of the order is not known ({kind}); look for it by its client id.")
    if http_status == BANNED:
        return Refused(
            "The venue has banned this address for asking too often; stop, and wait until it lifts."
        )
    if is_order and (
        code in DUPLICATES | UNSAID or (http_status is not None and http_status >= SERVER_ERROR)
    ):
        return unknown
    if isinstance(error, (ccxt.DDoSProtection, ccxt.RateLimitExceeded)):  # turned away at the door
        return Unavailable(f"The venue turned the request away ({kind}); ask less often.")
    if is_order and isinstance(error, ccxt.NetworkError):  # whatever status and code it came with
        return unknown
    no = (
        ccxt.AuthenticationError,
        ccxt.BadRequest,
        ccxt.InsufficientFunds,
        ccxt.InvalidOrder,
        ccxt.NotSupported,
        ccxt.OperationRejected,
    )
    if isinstance(error, no) and not isinstance(error, ccxt.DuplicateOrderId):
        return Refused(f"The venue refused the request ({kind}); asking again will not change it.")
    if code and _is_clients_fault(http_status):
        return Refused(f"The venue refused the request ({kind}); asking again will not change it.")
    return unknown if is_order else NoAnswer(f"No usable answer came back ({kind}); ask again.")


def _is_clients_fault(http_status: int | None) -> bool:
    """Whether the status says that the request was at fault, so that it was not carried out."""
    return http_status is not None and CLIENT_ERROR <= http_status < SERVER_ERROR and http_status != TIMED_OUT
