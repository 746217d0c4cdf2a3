"""`hedgerow halt`, `flatten` and `resume`: the operator's kill ladder, for the running daemon."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bot.cli.reading import journal_of, journaled, show_json

if TYPE_CHECKING:
    from bot.journal.commands import Answer

F = TypeVar("F", bound=Callable[..., Any])


def _asked(timeout_s: float) -> Callable[[F], F]:
    """Give a command --why and --timeout, beside what every command on a journal has."""

    def decorate(command: F) -> F:
        command = journaled(command)
        command = click.option(
            "--timeout", "timeout_s", type=click.FloatRange(1, 3600), default=timeout_s, show_default=True, metavar="S",
            help="Seconds to wait for the daemon's answer.",
        )(command)  # fmt: skip
        return click.option("--why", default="", metavar="TEXT", help="The reason, for status and log.")(
            command
        )

    return decorate


@click.command(epilog='Example:  hedgerow halt config/paper.toml --why "exchange maintenance"')
@_asked(60.0)
@click.option("--reduce-only", is_flag=True, help="Let through what reduces a position.")
def halt(
    config_file: Path | None,
    journal_file: Path | None,
    as_json: bool,
    why: str,
    timeout_s: float,
    reduce_only: bool,
) -> None:
    """Send nothing new: working orders are cancelled, positions stay with their protective stops.

    With --reduce-only positions may still be made smaller, by strategies and by hand. It holds until `hedgerow
    resume`, also after a restart. Where no daemon is running it is left for the next start, which begins so: one that
    is started again by itself must not trade on. An order to close everything that is being carried out goes on.
    """
    content = {"state": "reducing" if reduce_only else "halted", "why": why}
    answer = _ask(journal_of(config_file, journal_file), "halt", content, timeout_s)
    left = answer.facts.get("left") is True
    if left:
        said = f"no daemon is running; the next start begins {content['state']}"
    else:
        said = f"trading is {_state(answer.facts)}"
    _tell(answer, said, as_json=as_json, is_done=answer.done or left)


@click.command(epilog="Example:  hedgerow flatten config/paper.toml")
@_asked(120.0)
def flatten(
    config_file: Path | None, journal_file: Path | None, as_json: bool, why: str, timeout_s: float
) -> None:
    """Cancel every order and close every position now, until the venue says that nothing is left; then stay halted.

    Strategies and market data have no say in it, only orders that reduce are sent, and a restart goes on with it. Of
    several venues those that answer are closed at once, and the others as soon as they do: until then a leg may stand
    alone, which `hedgerow status` shows.
    `hedgerow resume` ends it. Where no daemon is running nothing is closed; the next start closes everything before it
    does anything else.
    """
    answer = _ask(journal_of(config_file, journal_file), "flatten", {"why": why}, timeout_s)
    if answer.facts.get("left") is True:
        said = "no daemon is running, so nothing was closed; the next start closes everything first"
    elif answer.done:
        dust = ", ".join(f"{usd:,.2f} USD of {name}" for name, usd in answer.facts.get("dust", {}).items())
        but = f", but for {dust} that no order can sell" if dust else ""
        said = f"flat{but}, says the venue; equity {answer.facts['equity_usd']} USD; trading is halted"
    else:
        said = "not flat"
    _tell(answer, said, as_json=as_json, is_done=answer.done)


@click.command(epilog="Example:  hedgerow resume config/paper.toml")
@_asked(60.0)
@click.option(
    "--accept-drawdown",
    is_flag=True,
    help="After a drawdown stop: put the high-water mark down to today's equity, so that losses count from there.",
)
def resume(
    config_file: Path | None,
    journal_file: Path | None,
    as_json: bool,
    why: str,
    timeout_s: float,
    accept_drawdown: bool,
) -> None:
    """Trade again after `halt` or `flatten`, or after the drawdown rule has closed everything.

    What the books could not explain until now is accepted as it is. What the watchdog has found wrong is not overruled:
    it takes that back by itself, once all is well.
    """
    content = {"accept_drawdown": accept_drawdown, "why": why}
    answer = _ask(journal_of(config_file, journal_file), "resume", content, timeout_s)
    said = f"trading is {_state(answer.facts)}"
    if answer.facts.get("drawdown_accepted"):
        said += "; the drawdown is accepted, losses count from today's equity"
    elif answer.done and accept_drawdown:
        said += "; there was no drawdown to accept"
    _tell(answer, said, as_json=as_json, is_done=answer.done)


def _ask(journal: Path, kind: str, content: Mapping[str, Any], timeout_s: float) -> Answer:
    from bot.journal.commands import ask

    return ask(journal, kind, content, timeout_s)


def _state(facts: Mapping[str, Any]) -> str:
    if facts.get("is_flattening"):
        return f"halted, and everything is being closed: {facts.get('why')}"
    state = str(facts.get("state", "as it was"))
    return state if state == "active" else f"{state} by the {facts.get('by')}: {facts.get('why')}"


def _tell(answer: Answer, said: str, *, as_json: bool, is_done: bool) -> None:
    """Print the answer; exit code 1 where it was refused or is not done."""
    if as_json:
        show_json({"done": is_done, **answer.facts})
    else:
        if answer.facts.get("error"):
            click.echo(answer.facts["error"])
        click.echo(said)
    if not is_done:
        click.get_current_context().exit(1)
