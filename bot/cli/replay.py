"""`hedgerow replay`: journaled decisions made again, and what they say otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot.cli.config import OVERRIDES
from bot.cli.reading import UNKNOWN, clock, journaled, number, opened, say, show_json, table

if TYPE_CHECKING:
    from bot.journal.kept import Kept
    from bot.pipeline.mandate import Mandate
    from bot.research.replay import Change, Outcome
    from bot.settings import Settings


@click.command(epilog="Example:  hedgerow replay --from 2024-05-01 --to 2024-05-08 --config other.toml")
@journaled
@click.option("--decision", "name", metavar="ID", help="Only this decision, or `latest`.")
@click.option("--from", "start", metavar="DATE", help="From this UTC date or moment on.")
@click.option("--to", "end", metavar="DATE", help="To this UTC date or moment, itself included.")
@click.option(
    "--config",
    "other_file",
    metavar="OTHER",
    type=click.Path(path_type=Path),
    help="Decide by this config's strategies, sizing, limits and execution; by default by those of each run.",
)
@OVERRIDES
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Decisions to list that differ; with --json all are.",
)
@click.pass_context
def replay(
    context: click.Context,
    config_file: Path | None,
    journal_file: Path | None,
    as_json: bool,
    name: str | None,
    start: str | None,
    end: str | None,
    other_file: Path | None,
    overrides: tuple[str, ...],
    limit: int,
) -> None:
    """Make the decisions of a journal again from what it keeps of their inputs, and say what they decide otherwise.

    With the program and the config that made them nothing differs. With another config, or a strategy that was changed,
    it shows which decisions would have been others, each from the account and the memory that the daemon had then. A
    decision whose input is not kept is counted and told, never taken for equal. Only reads; a daemon may go on meanwhile.

    Leaves with 0 where all that could be made again are equal, 1 where any differs, 2 where none could be made again.
    """
    from bot.clock import parse_utc
    from bot.journal.kept import kept as of
    from bot.research.replay import replay as again

    if overrides and other_file is None:
        raise click.UsageError("--set changes the config of --config OTHER; name one")
    if name is not None and (start or end):
        raise click.UsageError("--decision names one decision; leave out --from and --to")
    with opened(config_file, journal_file) as reader:
        bounds = {"start_ms": start and parse_utc(start), "end_ms": end and parse_utc(end)}
        kept = of(reader, name=name, **{key: ms for key, ms in bounds.items() if ms is not None})  # type: ignore[arg-type]
    mandate_of = _by_run(kept, config_file) if other_file is None else _by(other_file, overrides, kept)
    outcomes = list(again(kept, mandate_of))
    facts = _facts(outcomes, other_file)
    if as_json:
        show_json(facts)
    else:
        _show(facts, limit)
    made = facts["equal"] + facts["different"]
    context.exit(2 if not made else 1 if facts["different"] else 0)


def _by_run(kept: Kept, config_file: Path | None) -> Callable[[int], Mandate]:
    """Each run's own mandate, from the config that the journal keeps of it."""
    from functools import cache

    from bot import app
    from bot.errors import HedgerowError
    from bot.logs import MASK
    from bot.research.replay import NotMade
    from bot.settings import Settings

    folder = Path() if config_file is None else config_file.parent

    @cache
    def read(config: str) -> tuple[Mandate, Settings] | str:
        if MASK in config:
            return "the config of its run has a secret in it, which the journal does not keep; name it with --config"
        try:
            loaded = Settings.model_validate_json(config)
            return app.daemon_mandate_of(loaded, folder), loaded
        except (HedgerowError, ValueError) as error:
            told = " ".join(str(error).split())
            return f"the config of its run can't be used any more ({told})"

    def of(run_id: int) -> Mandate:
        found = read(kept.configs[run_id])
        if isinstance(found, str):
            raise NotMade(found)
        return _of_run(run_id, kept, *found)

    return of


def _by(other_file: Path, overrides: tuple[str, ...], kept: Kept) -> Callable[[int], Mandate]:
    """The mandate of another config, for every run."""
    from bot import app, settings

    loaded = settings.load(other_file, overrides)
    mandate = app.daemon_mandate_of(loaded, other_file.parent)
    return lambda run_id: _of_run(run_id, kept, mandate, loaded)


def _of_run(run_id: int, kept: Kept, mandate: Mandate, loaded: Settings) -> Mandate:
    """The mandate with its spreads, of what the run traded. NotMade where it did not trade their legs."""
    from bot.compose import with_spreads
    from bot.errors import ConfigError
    from bot.research.replay import NotMade

    opening = kept.past.openings.get(run_id)
    try:
        return mandate if opening is None else with_spreads(mandate, loaded, opening.instruments)
    except ConfigError as error:
        raise NotMade(str(error)) from None


def _facts(outcomes: list[Outcome], other_file: Path | None) -> dict[str, Any]:
    from bot.journal.reader import moment
    from bot.research.replay import DIFFERENT, EQUAL, NOT_MADE

    def of(outcome: Outcome, **more: Any) -> dict[str, Any]:
        return {"decision": outcome.decision.id, **moment("time", outcome.decision.time_ms), **more}

    counts = Counter(outcome.verdict for outcome in outcomes)
    return {
        "config": None if other_file is None else str(other_file),
        "decisions": len(outcomes),
        "equal": counts[EQUAL],
        "different": counts[DIFFERENT],
        "not_made_again": counts[NOT_MADE],
        "differences": [
            of(outcome, changes=[_change(change) for change in outcome.changes])
            for outcome in outcomes
            if outcome.verdict == DIFFERENT
        ],
        "missing": [of(outcome, why=outcome.why) for outcome in outcomes if outcome.verdict == NOT_MADE],
    }


def _change(change: Change) -> dict[str, Any]:
    told = {"what": change.what, "coin": change.coin or None, "who": change.who or None}
    return {**told, "kept": change.kept, "now": change.now}


def _show(facts: dict[str, Any], limit: int) -> None:
    if not facts["decisions"]:
        say("no decisions there; `hedgerow status` says what the journal holds")
        return
    if facts["differences"]:
        rows = [
            (each["decision"], clock(each["time"]), change["what"], change["coin"] or "all",
             change["who"] or UNKNOWN, _word(change["kept"]), _word(change["now"]))
            for each in facts["differences"][:limit]
            for change in each["changes"]
        ]  # fmt: skip
        columns = ("decision", "time", "what", "coin", "of", "kept", "now")
        table(columns, rows, text=columns[:-1], prose="now")
        if len(facts["differences"]) > limit:
            say(f"The first {limit:,} of {facts['different']:,} that differ; ask for more with --limit N.")
    for why, count in Counter(each["why"] for each in facts["missing"]).items():
        say(f"{count:,} not made again: {why}.")
    by = "its run's own config" if facts["config"] is None else facts["config"]
    say(
        f"{facts['decisions']:,} decisions by {by}: {facts['equal']:,} equal, {facts['different']:,} different, "
        f"{facts['not_made_again']:,} not made again."
    )


def _word(told: Any) -> str:
    if told is None:
        return UNKNOWN
    if isinstance(told, Decimal):
        return number(told)
    if isinstance(told, dict):
        return f"{told['score']:+.4g} {told['because']}"
    return str(told)
