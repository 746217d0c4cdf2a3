"""`hedgerow backtest`: the strategies of a config over recorded history, and what they would have earned."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot.cli.config import CONFIG, DATA, OVERRIDES, data_overrides
from bot.text import printable

if TYPE_CHECKING:
    from bot.reports.record import RunRecord
    from bot.research.backtest import Progress


@click.command(epilog="Example:  hedgerow backtest config/backtest-carry.toml --data DIR --out out/carry")
@CONFIG
@OVERRIDES
@DATA
@click.option("--from", "start", metavar="DATE", help="Begin trading then (UTC).")
@click.option("--to", "end", metavar="DATE", help="End then (UTC).")
@click.option("--coins", default="", metavar="COIN,COIN", help="Only these coins.")
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write report.html, report.json and tables there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def backtest(
    config_file: Path,
    overrides: tuple[str, ...],
    folder: Path | None,
    start: str | None,
    end: str | None,
    coins: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Run the strategies of CONFIG over recorded history, through the same decisions as the daemon.

    Amounts are effects on equity in USD: fees that were paid are negative, funding received is positive, and
    price + funding + fees is the change of equity. Ratios are annualised by 365 days, from daily equity.
    """
    from bot import compose, settings
    from bot.reports import write as reports
    from bot.research.backtest import run

    loaded = settings.load(config_file, [*overrides, *data_overrides(folder, start, end, coins)])
    if out is not None:
        reports.prepare(out)
    test = compose.backtest_of(loaded, config_file.parent)
    with _progress(loaded.name) as progress:
        record = run(test, progress)
    compared = [_beside(name, run(each)) for name, each in compose.variants_of(loaded, config_file.parent)]
    facts = reports.summary(record, compare=compared)
    if out is not None:
        reports.write(record, out, compare=compared)
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False, allow_nan=False))
    else:
        _print(facts, out)


@contextmanager
def _progress(name: str) -> "Iterator[Progress | None]":
    """A bar on a terminal; nothing where nobody is looking."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task(name, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def _beside(name: str, record: "RunRecord") -> dict[str, Any]:
    """A variant's line beside the report."""
    from bot.reports.write import summary

    facts = summary(record)
    spreads: Any = facts.get("spreads") or {}
    return {
        "name": name,
        "pnl": facts["pnl"],
        "return_on_tied_capital": spreads.get("return_on_tied_capital"),
        "pair_trades": len(spreads.get("pair_trades", ())),
        "held_hours": spreads.get("held_hours"),
        **{key: facts[key] for key in ("sharpe", "max_drawdown", "turnover", "trades", "liquidations")},
    }


def _print(facts: dict[str, Any], out: Path | None) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.width = max(console.width, 100)

    def say(line: str) -> None:
        console.print(printable(line), markup=False, highlight=False, soft_wrap=True)

    pnl, start, end = facts["pnl"], facts["equity_start"], facts["equity_end"]
    say(
        f"{facts['name']}: {facts['from'][:10]} to {facts['to'][:10]}, {facts['bars']:,} bars of "
        f"{len(facts['instruments'])} coins in {facts['wall_seconds']:.1f} s"
    )
    say(f"equity {start:,.2f} → {end:,.2f} USD ({end / start - 1:+.2%})")
    say(
        f"price {pnl['price']:+,.2f}   funding {pnl['funding']:+,.2f}   fees {pnl['fees']:+,.2f}   "
        f"total {pnl['total']:+,.2f}"
    )
    say(
        f"Sharpe {_as(facts['sharpe'], '.2f')}   Sortino {_as(facts['sortino'], '.2f')}   "
        f"Calmar {_as(facts['calmar'], '.2f')}   worst drawdown {_as(facts['max_drawdown'], '.1%')}   "
        f"{facts['trades']} {'trades' if facts['trades_of'] == 'coins' else 'round trips of ' + facts['trades_of']}   {facts['liquidations']} liquidations"
    )
    metrics = facts["metrics"]
    say(
        f"CAGR {_as(metrics['cagr'], '+.1%')}   worst day {_as(metrics['worst_day'], '+.1%')}   profit factor "
        f"{_as(metrics['profit_factor'], '.2f')} (closed trades)   funding on capital {_as(metrics['funding_yield_on_capital'], '+.1%')}   "
        f"margin used {_as(metrics['margin_use_max'], '.0%')}   nearest liquidation "
        f"{_as(metrics['min_liquidation_distance'], '.0%')} away, one coin moving alone"
    )
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("strategy", "price", "funding", "fees", "total"):
        table.add_column(heading, justify="left" if heading == "strategy" else "right")
    for row in facts["by_strategy"]:
        amounts = [f"{row[name]:+,.2f}" for name in ("price", "funding", "fees", "total")]
        table.add_row(row["strategy"], *amounts)
    console.print(table)
    if "spreads" in facts:
        _print_spreads(facts, say)
    bound = sorted(facts["findings"].items(), key=lambda item: -item[1])
    if bound:
        say(f"rules that bound: {', '.join(f'{rule} {times:,} ×' for rule, times in bound)}")
    for assumption in facts["assumptions"]:
        say(f"assumed: {assumption}")
    say("one run over a known past: nothing of it is out of sample")
    if out is not None:
        say(f"report: {out / 'report.html'}")


def _print_spreads(facts: dict[str, Any], say: Callable[[str], None]) -> None:
    own, pnl = facts["spreads"], facts["spreads"]["pnl"]
    say(
        f"spreads: funding {pnl['funding']:+,.2f}   basis {pnl['basis']:+,.2f}   fees {pnl['fees']:+,.2f}   "
        f"{len(own['pair_trades'])} held for {own['held_hours']:,.0f} h   return on tied capital "
        f"{_as(own['return_on_tied_capital'], '+.1%')} a year, on all of it {_as(own['return_on_all_capital'], '+.1%')}"
    )
    say(
        f"expected of the holds in mind {own['expected_carry']:+,.2f}, realised in them {own['realised_carry']:+,.2f}; "
        f"unhedged at the end of {own['unhedged_hours']:g} h, {own['unhedged_usd_worst']:,.2f} USD at worst"
    )
    for risk in own["risks"]:
        say(f"risk: {risk}")
    for each in facts.get("compare", ()):
        say(
            f"{each['name']}: total {each['pnl']['total']:+,.2f} (price {each['pnl']['price']:+,.2f}, funding "
            f"{each['pnl']['funding']:+,.2f}, fees {each['pnl']['fees']:+,.2f})   {each['pair_trades']} held   "
            f"turnover {_as(each['turnover'], '.2f')}"
        )


def _as(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
