"""What the commands that read a journal have in common: where it is, how its numbers look as JSON and as a table.

In JSON an amount, price or size is a number with every digit that was written down; read it as a decimal (in Python
`json.loads(text, parse_float=Decimal)`) and sums come out exact. Every amount is its effect on equity, so what was
paid is negative. What is unknown is null.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from bot.text import printable

if TYPE_CHECKING:
    from rich.table import Table

    from bot.journal.reader import Reader

DEFAULT_JOURNAL: Final = Path("state/paper.sqlite")
"""As a config's own default, known here so that no config has to be read."""

UNKNOWN: Final = "–"
_PROSE_WIDTH: Final = 40  # a terminal that is too narrow folds sentences down to this before it wraps lines

F = TypeVar("F", bound=Callable[..., Any])

JSON: Final = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object; amounts are numbers with every digit."
)
COIN: Final = click.option("--coin", metavar="COIN", help="Only this coin.")


def journaled(command: F) -> F:
    """Give a command CONFIG and --journal, of which `journal_of` makes a path, and --json."""
    command = JSON(command)
    command = click.option(
        "--journal",
        "journal_file",
        metavar="PATH",
        type=click.Path(path_type=Path),
        help=f"The journal; by default CONFIG's, else {DEFAULT_JOURNAL}.",
    )(command)
    return click.argument("config_file", metavar="[CONFIG]", required=False, type=click.Path(path_type=Path))(
        command
    )


def opened(config_file: Path | None, journal_file: Path | None) -> AbstractContextManager[Reader]:
    """The journal that was named by its path or by a config, else the default one, open to be looked at."""
    from bot.journal.reader import read

    return read(journal_of(config_file, journal_file))


def journal_of(config_file: Path | None, journal_file: Path | None) -> Path:
    """Where the journal is. Only a CONFIG that is given is read, since that takes longer than all the rest."""
    if journal_file is not None:
        if config_file is not None:
            raise click.UsageError("CONFIG and --journal both name a journal; give one of them")
        return journal_file
    if config_file is not None:
        from bot import settings

        return settings.load(config_file).journal.path
    return Path(os.environ.get("HEDGEROW__JOURNAL__PATH", DEFAULT_JOURNAL))


def show_json(facts: Mapping[str, Any]) -> None:
    """Print one JSON object on one line."""
    click.echo(_json(facts))


def _json(value: object) -> str:
    """As json.dumps, which has no way to write a decimal with its own digits."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{json.dumps(name)}: {_json(item)}' for name, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_json, value))}]"
    return json.dumps(value, allow_nan=False)


def say(sentence: str) -> None:
    """Print one line."""
    click.echo(printable(sentence))


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, text: Sequence[str] = (), prose: str = ""
) -> None:
    """Print a table whose numbers stand right. Columns in `text` stand left, and `prose`, which may be folded.

    Nothing is cut off: in a pipe each row is one line, and on a terminal only prose is folded.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    shown = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in columns:
        left = name in text or name == prose
        shown.add_column(name, justify="left" if left else "right", no_wrap=name != prose, overflow="fold")
    _print(shown, rows, columns.index(prose) if prose else None)


def pairs(rows: Iterable[tuple[str, str]]) -> None:
    """Print names and what stands for them, as `table` does."""
    from rich.table import Table

    shown = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    shown.add_column(no_wrap=True, style="bold")
    shown.add_column(overflow="fold")
    _print(shown, rows, 1)


def _print(shown: Table, rows: Iterable[Sequence[str]], prose: int | None) -> None:
    from rich.console import Console
    from rich.text import Text

    longest = _PROSE_WIDTH
    for row in rows:
        shown.add_row(*(Text(printable(each)) for each in row))
        if prose is not None:
            longest = max(longest, len(row[prose]))
    console = Console()
    needed = console.measure(shown, options=console.options.update(width=10_000)).maximum
    if console.is_terminal:
        needed -= longest - _PROSE_WIDTH
    console.width = max(console.width, needed)
    with console.capture() as printed:
        console.print(shown)
    text = printed.get()
    # What pads a row to the width of the table is of use to nobody behind a pipe.
    click.echo(text if console.is_terminal else "\n".join(map(str.rstrip, text.split("\n"))), nl=False)


def amount(value: Decimal | None) -> str:
    """Dollars to the cent."""
    return UNKNOWN if value is None else f"{value:z,.2f}"


def signed(value: Decimal | None) -> str:
    """Dollars to the cent with their sign, and to the millionth where there is less than a cent."""
    if value is None:
        return UNKNOWN
    if not value:
        return "0.00"
    return f"{value:+.6f}" if abs(value) < Decimal("0.01") else f"{value:+,.2f}"


def number(value: Decimal | None) -> str:
    """A size with the digits that it has, without exponent and trailing zeros."""
    if value is None:
        return UNKNOWN
    text = f"{value:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def price(value: Decimal | None) -> str:
    """A price: six digits, and all of those before the point."""
    if value is None or not value:
        return number(value)
    return number(round(value, max(0, 5 - value.adjusted())))


def ratio(value: float | None, form: str) -> str:
    """A ratio in the form given."""
    return UNKNOWN if value is None else format(value, form)


def clock(moment: str | None) -> str:
    """A moment for people, to the minute unless seconds matter: 2024-05-01 12:00."""
    return UNKNOWN if moment is None else moment[:19].removesuffix(":00").replace("T", " ")


def unfinished(facts: Mapping[str, Any]) -> str:
    """What has to be known of a book while a decision is carried out, or where it was cut off."""
    name = facts["unfinished"]
    return f"decision {name} was not carried out to its end yet: more may be held than is written down"
