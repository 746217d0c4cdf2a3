"""What the bot says about itself: lines a person reads or a machine parses, on stderr, with secrets masked.

Core code stays silent and returns findings; the shell logs events with fields. Bind what a story has in
common once (`structlog.contextvars.bind_contextvars(decision_id=…)`) and every line of it carries it.
"""

import logging
import logging.handlers
import os
import re
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from bot.errors import ConfigError

MASK: Final = "[masked]"
FILE_BYTES: Final = 10_000_000
FILES_KEPT: Final = 5
LEVELS: Final = ("debug", "info", "warning", "error", "critical")

_SECRET_WORDS: Final = frozenset(
    {
        "apikey", "auth", "authorization", "cookie", "credential", "credentials", "keystore", "mnemonic",
        "passphrase", "passwd", "password", "private", "privatekey", "pwd", "secret", "secrets", "signature", "token",
    }
)  # fmt: skip
_KEY_OWNERS: Final = frozenset({"access", "agent", "api", "encryption", "master", "signing", "wallet"})
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SEED_PHRASE: Final = frozenset({"seed_phrase", "seedphrase", "recovery_phrase"})
_DEEPEST: Final = 20

# A private key is 32 bytes; so is a hash, which is masked with it, as is anything longer: a lost hash costs little.
_PRIVATE_KEY: Final = re.compile(r"(?:0x)?[0-9a-fA-F]{64,}")
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")
_ASSIGNMENT: Final = re.compile(
    r"(?i)\b(\w*(?:api[_-]?key|private[_-]?key|secret|mnemonic|password|passphrase|signature|authorization"
    r"|(?:access|api|auth|bot)[_-]?token)|token(?==))"
    r"(['\"]?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|(?!(?:bearer|basic)\s)[^\s,;&)}\]]+)"
)


def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret: `api_key` and `apiSecret` do; `strategy_key`, `client_id` do not."""
    if name.lower() in _SEED_PHRASE or name.lower() == "key":
        return True
    words = [word.lower() for word in _WORD.findall(name)]
    if not _SECRET_WORDS.isdisjoint(words):
        return True
    return any(word in ("key", "keys") and owner in _KEY_OWNERS for owner, word in pairwise(words))


def redact(value: Any, depth: int = 0) -> Any:
    """A copy of a value for a log line, with everything that looks like a secret masked, however deep it lies.

    Strings, bytes, mappings, lists, tuples and sets are searched; bytes come back as text. Numbers pass; any other
    object passes unless its text holds a secret, and then its masked text takes its place.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _redact_text(value)
    if depth > _DEEPEST:
        return MASK
    if isinstance(value, bytes | bytearray | memoryview):
        return _redact_bytes(bytes(value))
    if isinstance(value, Mapping):
        return {
            _redact_key(key): MASK if _is_secret(key, item) else redact(item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, depth + 1) for item in value]
    return _redact_object(value)


def redact_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The processor of the same purpose: masks secrets in every field of an event, its exception text included."""
    clean: EventDict = redact(dict(event))
    return clean


def configure(
    format: Literal["console", "json"] = "console",  # noqa: A002 - the name of the setting
    level: str = "info",
    file: Path | None = None,
) -> None:
    """Send structlog and the standard library's logging to stderr, and to a rotating JSON-lines file if one is named.

    `level` is one of LEVELS and holds for both. Calling it again replaces what was there. ConfigError for an unknown
    level or a file that cannot be opened.
    """
    if level.lower() not in LEVELS:
        raise ConfigError(f"log level '{level}' is unknown; choose one of {', '.join(LEVELS)}")
    threshold = getattr(logging, level.upper())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.StackInfoRenderer(),
    ]
    handlers: list[logging.Handler] = [_handler(logging.StreamHandler(sys.stderr), shared, format)]
    if file is not None:
        handlers.append(_handler(_rotating(file), shared, "json"))

    root = logging.getLogger()
    for old in list(root.handlers):
        if getattr(old, "hedgerow", False):
            root.removeHandler(old)
            old.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(threshold)
    # It warns of every tick that a busy trader skips; a job that fails is told as an error.
    logging.getLogger("apscheduler").setLevel(max(threshold, logging.ERROR))

    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _handler(handler: logging.Handler, shared: list[Processor], format: str) -> logging.Handler:  # noqa: A002
    """The handler with its last processors: mask, write out the exception, mask that too, render."""
    render: Processor
    if format == "json":
        render = structlog.processors.JSONRenderer(default=str, ensure_ascii=False)
    else:
        render = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty() and "NO_COLOR" not in os.environ, timestamp_key="at"
        )
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact_secrets,
                render,
            ],
        )
    )
    handler.hedgerow = True  # type: ignore[attr-defined] # so that the next call finds its own handlers
    return handler


def _rotating(file: Path) -> logging.Handler:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return logging.handlers.RotatingFileHandler(
            file, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8"
        )
    except OSError as error:
        raise ConfigError(f"cannot write the log file {file} ({error.strerror}); change logs.file") from error


def _redact_text(text: str) -> str:
    text = _PRIVATE_KEY.sub(MASK, text)
    text = _BEARER.sub(rf"\1 {MASK}", text)
    return _ASSIGNMENT.sub(rf"\1\2{MASK}", text)


def _redact_bytes(raw: bytes) -> str:
    """Bytes as text; 32 bytes are what a private key is, and among more that are no text one may hide."""
    if len(raw) == 32:
        return MASK
    try:
        return _redact_text(raw.decode())
    except UnicodeDecodeError:
        return MASK if len(raw) > 32 else raw.hex()


def _redact_key(key: object) -> object:
    return _redact_text(key) if isinstance(key, str) else key


def _is_secret(key: object, item: object) -> bool:
    return isinstance(key, str) and is_secret_name(key) and item is not None and not isinstance(item, bool)


def _redact_object(value: object) -> object:
    text = f"{value!s}\n{value!r}"
    return value if _redact_text(text) == text else _redact_text(str(value))
