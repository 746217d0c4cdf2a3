"""`hedgerow drill`: what goes wrong with a daemon, practised on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from bot.cli.reading import JSON, pairs, say, show_json

if TYPE_CHECKING:
    from bot.drills.story import Step


@click.command(epilog="Example:  hedgerow drill kill      (or: drill twin --keep, drill lost-reply --json)")
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--keep", is_flag=True, help="Leave the folder with journal, logs and the exchange's state.")
@JSON
@click.pass_context
def drill(context: click.Context, name: str | None, keep: bool, as_json: bool) -> None:
    """Practise a fault on a paper daemon, with real processes, in a folder that is made for it.

    Without NAME the drills are listed. Each starts a daemon with its devnet and its signer on a made-up market in which
    an hour passes every half second, does one thing to it, and holds what comes of it against the exchange's own books.
    Nothing outside the folder is touched, and Ctrl-C ends all that was started. The exit code is 0 for PASS, else 1.
    """
    from bot.drills.drills import DRILLS
    from bot.errors import ConfigError

    if name is None:
        _list({each: drill.about for each, drill in DRILLS.items()}, as_json)
        return
    if name not in DRILLS:
        raise ConfigError(f"there is no drill '{name}'; there are {', '.join(DRILLS)}")
    facts = _practised(name, keep, quiet=as_json)
    if as_json:
        show_json(facts)
    else:
        if facts["folder"]:
            say(f"journal, logs and state are in {facts['folder']}")
        say(f"{facts['result']}: {facts['reason']}")
    context.exit(0 if facts["result"] == "PASS" else 1)


def _list(about: dict[str, str], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"drills": [{"name": name, "about": line} for name, line in about.items()]}))
    else:
        pairs(about.items())


def _practised(name: str, keep: bool, *, quiet: bool) -> dict[str, Any]:
    import shutil
    import signal
    import time

    from bot.drills.drills import practise
    from bot.drills.practice import new_folder
    from bot.drills.story import Story, Verdict
    from bot.drills.story import facts as told

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    def tell(step: Step) -> None:
        say(step.told())

    folder = new_folder()
    story = Story() if quiet else Story(tell)
    # Whoever ends this ends what it started too. Ctrl-C is asked for by name, since what a script starts in the background
    # inherits that it is ignored.
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    started_s = time.monotonic()
    try:
        error = practise(name, folder, story)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    facts = told(name, story, Verdict.of(story, error))
    seconds = round(time.monotonic() - started_s, 1)
    return {**facts, "seconds": seconds, "folder": str(folder) if keep else None}
