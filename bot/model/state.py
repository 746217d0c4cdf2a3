"""What may be traded at all. Apart from the other nouns, so that who only reads a journal loads no arrays."""

from enum import StrEnum


class TradingState(StrEnum):
    """What the operator, or a safety rule, allows: everything, only less exposure, or nothing but protection."""

    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"
