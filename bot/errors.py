"""Every error a caller may want to tell apart, sorted by what the caller must do about it.

    HedgerowError                 one sentence: what was found and what to do
    ├── ConfigError               the config or the command line is wrong: mend it            (exit code 2)
    ├── DataError                 market data is missing, unreadable or contradicts itself    (exit code 2)
    ├── StrategyError             a strategy gave an answer that cannot be used: mend it      (exit code 2)
    ├── StateError                the journal, or another daemon, is in the way               (exit code 1)
    └── VenueError                the venue did not do what was asked                         (exit code 1)
        ├── Refused               a known no: record it and move on
        ├── Unavailable           nothing happened: try again later
        └── OutcomeUnknown        it may have happened: reconcile first, never send it again

A refusal by the bot's own risk rules is a finding, not an exception.
"""

from typing import ClassVar


class HedgerowError(Exception):
    """Something the person running the bot should read; `str(error)` is one sentence for them."""

    exit_code: ClassVar[int] = 1


class ConfigError(HedgerowError):
    """The config file, an override or the command line asks for what cannot be."""

    exit_code = 2


class DataError(HedgerowError):
    """Market data that was asked for is missing, unreadable or contradicts itself."""

    exit_code = 2


class StrategyError(HedgerowError):
    """A strategy failed, or gave an answer that cannot be used; research stops there, a daemon holds what it has."""

    exit_code = 2


class StateError(HedgerowError):
    """The journal cannot be used: absent, of another version, or held by another daemon."""


class VenueError(HedgerowError):
    """A venue did not do what was asked; catch the subclasses, which say what to do next."""


class Refused(VenueError):
    """The venue said no, and nothing happened. Asking the same again gets the same answer."""


class Unavailable(VenueError):
    """The request did not reach the venue, so nothing happened. It is safe to ask again."""


class OutcomeUnknown(VenueError):
    """The request may have been carried out. Look at the venue's orders and fills before anything else."""
