"""`hedgerow run`: the daemon that a config describes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.cli.config import CONFIG, DATA, OVERRIDES, data_overrides

if TYPE_CHECKING:
    from bot.app import Daemon
    from bot.journal.journal import Journal
    from bot.journal.pulse import Pulse
    from bot.settings import Settings


@click.command(epilog="Example:  hedgerow run config/paper.toml --set market.speed=1800")
@CONFIG
@OVERRIDES
@DATA
@click.option(
    "--cycles", type=click.IntRange(min=1), metavar="N", help="Stop by itself after so many decisions."
)
@click.option(
    "--adopt", "adopts", is_flag=True,
    help="Take orders of this program that the journal does not hold for somebody else's; only where no other daemon runs.",
)  # fmt: skip
def run(
    config_file: Path, overrides: tuple[str, ...], folder: Path | None, cycles: int | None, adopts: bool
) -> None:
    """Run the daemon that CONFIG describes until Ctrl-C or SIGTERM; started again, it goes on from its journal.

    In mode "paper" it starts an exchange on this machine and a signer with play money, and ends them with itself. In
    mode "live" it trades on a venue through the signer that you have started with `hedgerow signer run`.

    While it runs, `hedgerow status`, `positions`, `orders`, `funding`, `pnl` and `explain` read its journal, and
    `hedgerow trade` gives it orders by hand; `hedgerow halt`, `flatten` and `resume` stop it and let it go on.
    """
    import asyncio

    import structlog

    from bot import app, compose, logs, settings
    from bot.errors import ConfigError
    from bot.journal.journal import Journal
    from bot.journal.pulse import Pulse

    loaded = settings.load(config_file, [*overrides, *data_overrides(folder)])
    if loaded.mode == "backtest":
        raise ConfigError(f'{config_file} has mode "backtest"; run it with `hedgerow backtest`')
    if folder is not None and (loaded.market is None or loaded.market.source != "replay"):
        raise ConfigError(
            f"{config_file} has no market that is played back, so --data would not be used; add --set market.source=replay"
        )
    logs.configure(loaded.logs.format, loaded.logs.level, loaded.logs.file)

    daemon = replace(
        app.daemon_of(loaded, config_file.parent), adopts=adopts
    )  # what is wrong shows before a journal is made
    for caution in compose.protection_cautions(loaded, daemon.mandate):
        structlog.get_logger("hedgerow").warning("caution", found=caution)
    _confirm(loaded)
    with Journal.open(loaded.journal.path) as journal:
        asyncio.run(_live(daemon, journal, cycles, Pulse(loaded.journal.path)))


async def _live(daemon: Daemon, journal: Journal, cycles: int | None, pulse: Pulse) -> None:
    from bot.trader.schedule import Schedule

    schedule = Schedule(cycles, pulse)
    async with daemon.venue(journal, schedule.fail) as running:
        trader = daemon.trader(running.venue, journal)
        trader.pairs.slowed = running.slowed
        await schedule.run(trader, running.run_clock)


def _confirm(loaded: Settings) -> None:
    """Real money asks for a word that nobody types by mistake."""
    from bot.errors import ConfigError

    if loaded.mode != "live" or loaded.venue is None or loaded.venue.network != "mainnet":
        return
    import sys

    if not sys.stdin.isatty():
        raise ConfigError("a run on mainnet is confirmed by hand, so it has to be started from a terminal")
    typed = click.prompt(
        f"{loaded.name} will trade {loaded.venue.account} on MAINNET with real money; type mainnet to go on",
        default="",
        show_default=False,
    )
    if typed.strip() != "mainnet":
        raise ConfigError("not confirmed, so nothing was started")
