"""`hedgerow config`: what may stand in a config file, whether one is right, and what it comes to."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

OVERRIDES = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Override a key of the config; may be given more than once.",
)
"""The `--set` option, for every command that reads a config."""

CONFIG = click.argument("config_file", metavar="CONFIG", type=click.Path(path_type=Path))
"""The CONFIG argument, for every command that can't do without one."""

DATA = click.option(
    "--data",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder with recorded market data; takes the place of the config's data.folder.",
)
"""The `--data` option, for every command that reads recorded markets."""

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def data_overrides(
    folder: Path | None, start: str | None = None, end: str | None = None, coins: str = ""
) -> list[tuple[str, str]]:
    """What `--data`, `--from`, `--to` and `--coins` say, as overrides of the config's `[data]`."""
    listed = [coin.strip() for coin in coins.split(",") if coin.strip()]
    told = (
        ("--data", "folder", None if folder is None else str(folder)),
        ("--from", "start", start),
        ("--to", "end", end),
        ("--coins", "coins", listed or None),
    )
    # JSON's strings and lists of strings are TOML's too, so that no path is taken for a number.
    return [
        (option, f"data.{key}={json.dumps(value, ensure_ascii=False)}")
        for option, key, value in told
        if value is not None
    ]


@click.group(epilog="Example:  hedgerow config check config/paper.toml")
def config() -> None:
    """Check and show config files."""


@config.command(epilog="Example:  hedgerow config schema > hedgerow.schema.json")
def schema() -> None:
    """Print the JSON Schema of a config file, for editors."""
    from bot import settings

    click.echo(json.dumps(settings.schema(), indent=2))


@config.command(epilog="Example:  hedgerow config check config/paper.toml --set account.leverage=3")
@CONFIG
@OVERRIDES
@DATA
@_JSON
def check(config_file: Path, overrides: tuple[str, ...], folder: Path | None, as_json: bool) -> None:
    """Say whether CONFIG is right; the exit code is 2 if it is not.

    Strategies are loaded with their parameters, the market is opened, and recorded data is read where a folder is
    named: what is refused here is what `run` or `backtest` would refuse. Nothing is written or traded.
    """
    from bot.doctor.config import checked

    found = checked(config_file, [*overrides, *data_overrides(folder)])
    if as_json:
        facts = {
            "config": str(config_file),
            "ok": True,
            "name": found.settings.name,
            "mode": found.settings.mode,
            "strategies": list(found.strategies),
            "history_h": found.history_h,
            "cautions": list(found.cautions),
        }
        click.echo(json.dumps(facts))
        return
    click.echo(found.told(config_file))
    for caution in found.cautions:
        click.echo(f"caution: {caution}")


@config.command(epilog="Example:  hedgerow config show config/paper.toml > resolved.toml")
@CONFIG
@OVERRIDES
@_JSON
def show(config_file: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Print CONFIG with every default and override filled in, as TOML that can be read again.

    Parameters that are named like secrets are masked.
    """
    from bot import settings

    facts = settings.shown(settings.load(config_file, overrides))
    click.echo(json.dumps(facts, indent=2, ensure_ascii=False) if as_json else "\n".join(_toml(facts)))


def _toml(tables: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Lines of TOML: a table's own keys first, then the tables in it."""
    own = {key: value for key, value in tables.items() if not _is_table(value)}
    yield from (f"{_key(key)} = {_value(value)}" for key, value in own.items())
    for key, value in tables.items():
        name = f"{path}{_key(key)}"
        if isinstance(value, dict):
            yield from ("", f"[{name}]")
            yield from _toml(value, f"{name}.")
        elif _is_table(value):
            for element in value:
                yield from ("", f"[[{name}]]")
                yield from _toml(element, f"{name}.")


def _is_table(value: object) -> bool:
    is_list_of_tables = isinstance(value, list) and bool(value) and all(isinstance(e, dict) for e in value)
    return isinstance(value, dict) or is_list_of_tables


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else json.dumps(key)


def _value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_value(element) for element in value)}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_key(key)} = {_value(item)}' for key, item in value.items())} }}"
    if value in ("Infinity", float("inf")):
        return "inf"
    return json.dumps(value, ensure_ascii=False)
