"""`hedgerow strategies`: which strategies a config may name, and whether one keeps what strategies promise."""

import json
import math
import tomllib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bot.plugins import Parameter, PluginInfo
    from bot.research.plugin_check import Report

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group(
    invoke_without_command=True,
    epilog="Example:  hedgerow strategies check strategies/funding_carry.py --set hold_h=72",
)
@_JSON
@click.pass_context
def strategies(context: click.Context, as_json: bool) -> None:
    """List strategies and check your own.

    Without a command: every strategy that a config may name, where it comes from, and its parameters.
    """
    if context.invoked_subcommand is not None:
        return
    from bot.plugins import available

    found = available()
    if as_json:
        click.echo(json.dumps({"strategies": [_facts(info) for info in found]}))
        return
    for info in found:
        click.echo(f"{info.name}  ({info.origin})")
        click.echo(f"    {info.summary or info.problem}")
        for parameter in info.parameters:
            click.echo(f"    {parameter.name} = {_default(parameter)}  ({parameter.type})")


@strategies.command(epilog="Example:  hedgerow strategies check my_strategy.py --set enter_z=3 --json")
@click.argument("plugin", metavar="PATH_OR_NAME")
@click.option(
    "--set",
    "given",
    multiple=True,
    metavar="PARAMETER=VALUE",
    help="Set a parameter; may be given more than once.",
)
@_JSON
@click.pass_context
def check(context: click.Context, plugin: str, given: tuple[str, ...], as_json: bool) -> None:
    """Run PATH_OR_NAME over a made-up market and say whether it keeps what every strategy promises.

    It may not look ahead, not remember anything by itself, must see the same over a live tail as over the whole
    history, and must be able to say why. What it earns is not looked at. The exit code is 1 if a promise is broken.
    """
    from bot.plugins import build
    from bot.research.plugin_check import check as checked

    strategy = build(plugin, dict(_parameter(text) for text in given))
    report = checked(strategy, plugin)
    if as_json:
        click.echo(json.dumps({**asdict(report), "ok": report.passed}))
    else:
        _print(report)
    if not report.passed:
        context.exit(1)


def _parameter(text: str) -> tuple[str, Any]:
    from bot.errors import ConfigError

    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"--set '{text}' has no value; write it as --set parameter=value")
    try:
        parsed = tomllib.loads(f"value = {value.strip()}")
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()
    return name.strip(), parsed["value"] if len(parsed) == 1 else value.strip()


def _facts(info: "PluginInfo") -> dict[str, Any]:
    """A plugin for JSON, which knows no infinity: such a default is given as text."""
    parameters = [{**asdict(each), "default": _json(each.default)} for each in info.parameters]
    return {
        "name": info.name,
        "origin": info.origin,
        "summary": info.summary,
        "parameters": parameters,
        "problem": info.problem or None,
    }


def _json(value: object) -> object:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _default(parameter: "Parameter") -> str:
    if parameter.required:
        return "(must be given)"
    value = parameter.default
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return '"none"'
    return json.dumps(value) if isinstance(value, str | tuple) else str(value)


def _print(report: "Report") -> None:
    for each in report.checks:
        click.echo(f"{'ok    ' if each.passed else 'BROKEN'}  {each.name}: {each.detail}")
    broken = sum(not each.passed for each in report.checks)
    verdict = (
        "keeps every promise"
        if not broken
        else f"breaks {broken} of its promises; mend the lines marked BROKEN"
    )
    click.echo(f"{report.strategy} {verdict}")
