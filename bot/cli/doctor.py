"""`hedgerow doctor`: whether what a config describes would run here, check by check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.cli.config import CONFIG, DATA, OVERRIDES, data_overrides
from bot.text import printable

if TYPE_CHECKING:
    from bot.config_file import Override


@click.command(epilog="Example:  hedgerow doctor config/binance-demo.toml --offline")
@CONFIG
@OVERRIDES
@DATA
@click.option("--offline", is_flag=True, help="Ask no venue: look at this computer and its signers only.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(
    config_file: Path, overrides: tuple[str, ...], folder: Path | None, offline: bool, as_json: bool
) -> None:
    """Say whether what CONFIG describes would run here, and what to do where it would not.

    Each check is ok, a warning, or failed; the exit code is 1 if one has failed. Nothing is written or traded, and no
    secret is read: a signer is only asked how it is, and online to sign a few questions about the account.
    """
    from bot.doctor.examine import examine
    from bot.doctor.finding import Outcome, has_failed

    given: list[Override] = [*overrides, *data_overrides(folder)]
    findings = []
    for each in examine(config_file, given, offline=offline):
        findings.append(each)
        if not as_json:
            click.echo(f"{each.outcome.value:<7}  {each.check:<19}  {printable(' '.join(each.said.split()))}")
    bad = has_failed(findings)
    if as_json:
        checks = [
            {"check": each.check, "outcome": each.outcome.value, "said": each.said} for each in findings
        ]
        click.echo(
            json.dumps({"config": str(config_file), "ok": not bad, "checks": checks}, ensure_ascii=False)
        )
    else:
        counts = {outcome: sum(each.outcome is outcome for each in findings) for outcome in Outcome}
        warnings = counts[Outcome.WARNING]
        click.echo(
            f"{counts[Outcome.OK]} ok, {warnings} warning{'' if warnings == 1 else 's'}, {counts[Outcome.FAILED]} failed"
        )
    if bad:
        click.get_current_context().exit(1)
