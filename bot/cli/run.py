"""`hedgerow run`: the daemon that a config describes."""

from pathlib import Path

import click

from bot.cli.config import CONFIG, DATA, OVERRIDES, data_overrides


@click.command(epilog="Example:  hedgerow run config/paper.toml --set market.speed=36000")
@CONFIG
@OVERRIDES
@DATA
@click.option(
    "--cycles", type=click.IntRange(min=1), metavar="N", help="Stop by itself after so many decisions."
)
def run(config_file: Path, overrides: tuple[str, ...], folder: Path | None, cycles: int | None) -> None:
    """Run the daemon that CONFIG describes until Ctrl-C or SIGTERM; started again, it goes on from its journal.

    While it runs, `hedgerow status`, `positions`, `orders`, `funding`, `pnl` and `explain` read its journal.
    """
    import asyncio

    from bot import app, logs, settings
    from bot.errors import ConfigError
    from bot.journal.journal import Journal
    from bot.trader.schedule import Schedule

    loaded = settings.load(config_file, [*overrides, *data_overrides(folder)])
    if loaded.mode != "paper":
        raise ConfigError(f'{config_file} has mode "{loaded.mode}"; run it with `hedgerow {loaded.mode}`')
    if folder is not None and loaded.market is not None and loaded.market.source != "replay":
        raise ConfigError(
            f"{config_file} makes its market up, so --data would not be used; add --set market.source=replay"
        )
    logs.configure(loaded.logs.format, loaded.logs.level, loaded.logs.file)

    paper = app.paper_of(loaded, config_file.parent)  # what is wrong shows before a journal is made

    async def live(journal: Journal) -> None:
        await Schedule(paper.trader(journal), paper.bar_s, cycles).run()

    with Journal.open(loaded.journal.path) as journal:
        asyncio.run(live(journal))
