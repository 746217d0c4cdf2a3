"""Whether a config is right: what `run` or `backtest` would refuse before they begin is refused here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bot import app, compose, settings
from bot.config_file import Override
from bot.doctor.accounts import accounts_of
from bot.errors import ConfigError
from bot.pipeline.market import rows_needed
from bot.settings import Settings

if TYPE_CHECKING:
    from bot.pipeline.mandate import Mandate


@dataclass(frozen=True, slots=True)
class Right:
    """A config that is right. `history_h` is what its strategies need, `cautions` what should be known of it."""

    settings: Settings
    strategies: tuple[str, ...]
    history_h: int
    cautions: tuple[str, ...]

    def told(self, path: Path) -> str:
        """It in words."""
        loaded = self.settings
        return f"{path} is right: {loaded.name}, {loaded.mode}, {', '.join(self.strategies)}; needs {self.history_h} h of history"


def checked(path: Path, overrides: Sequence[Override]) -> Right:
    """Load a config with its strategies, open its market, read recorded data where it names a folder.

    Nothing is written, traded or asked of a network. ConfigError, DataError, StrategyError for what is wrong.
    """
    loaded = settings.load(path, overrides)
    mandate = _tried(loaded, path.parent)
    _check_legs(loaded)
    return Right(
        loaded,
        tuple(slot.name for slot in mandate.strategies if not slot.by_hand),
        rows_needed(mandate),
        (*mandate.cautions(), *compose.protection_cautions(loaded, mandate)),
    )


def _tried(loaded: Settings, folder: Path) -> Mandate:
    """What the config makes, as far as it goes without running."""
    if loaded.mode != "backtest":
        return app.daemon_of(loaded, folder).mandate
    if loaded.data is None or loaded.data.folder is None:
        return compose.mandate_of(loaded, folder)
    test = compose.backtest_of(loaded, folder)
    if not test.settle_gaps:
        from bot.research.assumptions import refuse_gaps

        refuse_gaps(test.panel)
    return test.mandate


def _check_legs(loaded: Settings) -> None:
    """ConfigError where a leg of a spread is not among what is traded. Over history, the data says that."""
    if loaded.mode == "backtest":
        return
    traded = [name for each in accounts_of(loaded) for name in each.instruments]
    if loaded.mode == "paper":
        traded += loaded.market.coins if loaded.market else ()
        traded += [f"{name}:{coin}" for name, cex in loaded.cex.items() for coin in cex.coins]
    for leg in compose.legs_of(loaded):
        made_on_paper = loaded.mode == "paper" and "/" in leg
        if leg not in traded and not made_on_paper:
            raise ConfigError(
                f"spreads: {leg} is not among what is traded ({', '.join(traded)}); add it to the coins of its venue"
            )
