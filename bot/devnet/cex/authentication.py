"""Who sent a signed request: API key, HMAC-SHA256, and a timestamp that is neither old nor of the future."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_plus

RECEIVE_WINDOW_MS: Final = 5000
LONGEST_WINDOW_MS: Final = 60_000
MOST_AHEAD_MS: Final = 1000
_MOST_DIGITS: Final = 18


class Rejected(Exception):
    """What the exchange answers instead of doing what was asked: its code and text, and the HTTP status."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status

    def body(self) -> dict[str, Any]:
        return {"code": self.code, "msg": self.message}


class Clock(NamedTuple):
    """A clock that a client may go by: what it says, and how fast it runs."""

    now_ms: int
    speed: float = 1.0


def authenticate(
    secrets: Mapping[str, str], api_key: str, query: str, body: str, now_ms: int, other: Clock | None = None
) -> dict[str, str]:
    """The parameters of a request that one of `secrets` (by API key) signed, without those of signing.

    `query` and `body` are as they came, still quoted; what is in both counts as in the query. A timestamp that is
    right by the `other` clock is right, with a window as many times as long as that runs fast; one that is longer than the
    exchange allows is taken to be told in that clock's time already. Raises Rejected.
    """
    secret = secret_of(secrets, api_key)
    parameters = {**_pairs(body), **_pairs(query)}
    signature = parameters.pop("signature", "")
    if not signature:
        raise _missing("signature")
    expected = hmac.new(secret.encode(), _signed(query, body), hashlib.sha256).hexdigest()
    # compare_digest takes text of ASCII only, but bytes of any kind
    if not hmac.compare_digest(expected.encode(), signature.lower().encode()):
        raise Rejected(-1022, "Signature for this request is not valid.")
    sent_ms = _whole(parameters.pop("timestamp", ""), "timestamp")
    window_ms = _whole(parameters.pop("recvWindow", str(RECEIVE_WINDOW_MS)), "recvWindow")
    longest_ms = LONGEST_WINDOW_MS * (1.0 if other is None else max(1.0, other.speed))
    if window_ms > longest_ms:
        raise Rejected(-1131, f"recvWindow must be less than {LONGEST_WINDOW_MS}")
    if other is None or not _in_time(sent_ms, window_ms, other):
        if sent_ms >= now_ms + MOST_AHEAD_MS:
            raise Rejected(
                -1021, f"Timestamp for this request was {MOST_AHEAD_MS}ms ahead of the server's time."
            )
        if now_ms - sent_ms > window_ms:
            raise Rejected(-1021, "Timestamp for this request is outside of the recvWindow.")
    return parameters


def secret_of(secrets: Mapping[str, str], api_key: str) -> str:
    """The secret that belongs to a key. Raises Rejected if it is nobody's."""
    if not api_key:
        raise Rejected(-2014, "API-key format invalid.", 401)
    secret = secrets.get(api_key)
    if secret is None:
        raise Rejected(-2015, "Invalid API-key, IP, or permissions for action.", 401)
    return secret


def _in_time(sent_ms: int, window_ms: int, clock: Clock) -> bool:
    times = max(1.0, clock.speed)
    longest_ms = window_ms if window_ms > LONGEST_WINDOW_MS else window_ms * times
    return clock.now_ms - longest_ms <= sent_ms < clock.now_ms + MOST_AHEAD_MS * times


def _signed(query: str, body: str) -> bytes:
    """What is signed: query and body as they came, one after the other, without the signature."""
    return "".join(
        "&".join(pair for pair in part.split("&") if not pair.startswith("signature="))
        for part in (query, body)
    ).encode()


def _pairs(part: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in filter(None, part.split("&")):
        name, _, value = pair.partition("=")
        name = unquote_plus(name)
        if name in found:
            raise Rejected(-1101, "Duplicate values for a parameter detected.")
        found[name] = unquote_plus(value)
    return found


def _whole(value: str, name: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS):
        raise _missing(name)
    return int(value)


def _missing(name: str) -> Rejected:
    return Rejected(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
