"""[watchdog] and [guard]: when a running daemon stops opening, and what is done where it no longer runs."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from bot.config_types import Location, Maybe, Section, Share


class WatchdogSettings(Section):
    """[watchdog]: when a running daemon opens nothing more by itself, until it is well again."""

    max_failures: int = Field(3, ge=1, description="looks at the venue that fail in a row")
    max_stale_share: Share = Field(0.5, description="share of the coins whose price or funding is stale")
    stale_h: int = Field(2, ge=1, description="hours without a price or funding that make a coin stale")
    max_clock_offset_s: float = Field(2.0, gt=0, description="seconds between our clock and the venue's")
    max_unexplained_usd: float = Field(25.0, gt=0, description="USD between the books and the venue")
    min_free_disk_mb: float = Field(200.0, gt=0, description="MB free on disk; halted at a quarter")
    min_agent_days: float = Field(1.0, gt=0, description="days until the agent may not sign any more")
    heal_looks: int = Field(3, ge=1, description="good looks in a row, 15 s apart, that end an alarm")
    schedule_cancel_s: Maybe[Annotated[float, Field(ge=60, le=3_600)]] = Field(
        300.0,
        description="seconds after the daemon's end at which the venue itself cancels entries that rest, where no stop would go with them; none = off",
    )


class GuardSettings(Section):
    """[guard]: what `hedgerow guard` does where the daemon gives no sign of life."""

    silent_s: float = Field(
        180.0,
        ge=30,
        description="seconds of silence after which entries are withdrawn and stops made sure of",
    )
    close_after_s: Maybe[Annotated[float, Field(ge=30)]] = Field(
        None, description="seconds of silence after which everything is closed; none = never"
    )
    stop_loss: Maybe[Share] = Field(
        None,
        description="distance of a missing stop from entry, a fraction; none = that of execution.stop_loss",
    )
    poll_s: float = Field(5.0, ge=0.1, le=60, description="seconds between two looks")
    signer: Maybe[Location] = Field(
        None, description="socket of the guard's own signer; none = where `hedgerow guard init` says"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.close_after_s is not None and self.close_after_s < self.silent_s:
            raise ValueError(
                f"close_after_s = {self.close_after_s:g} comes before silent_s = {self.silent_s:g}; raise it, or lower silent_s"
            )
        return self
