"""Both legs over history, to the cent: cases worked out by hand, and what one wallet can't do for another."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.standard_workload import OPEN_LIMITS
from bot import compose, settings
from bot.model.decision import OrderPlan
from bot.model.instrument import Instrument, MarginTier, simple_instrument, spot_instrument
from bot.model.order import Order, Side
from bot.model.panel import Panel
from bot.model.spread import Spread
from bot.pipeline.mandate import Execution, Mandate, Sizing, Slot
from bot.reports.record import RunRecord
from bot.reports.write import summary
from bot.research.backtest import Backtest, run
from bot.sim.bars import Bars, Frictions
from bot.sim.exchange import FeeSchedule, Rules
from bot.sim.fees import HYPERLIQUID_SPOT
from bot.sim.joint_market import JointMarket
from tests.research.scripted import Scripted, panel_of

HERE = simple_instrument("BTC", 3, 20)
SPOT = spot_instrument("UBTC/USDC", 3, "UBTC")
THERE = Instrument("binance:BTC", 3, (MarginTier(Decimal(0), 20),), venue="binance", quote="USDT")
REPOSITORY = Path(__file__).resolve().parents[2]
IN_AND_OUT = ((1, (-1.0, 0.0)), (5, (0.0, 0.0)))
STAY = ((1, (-1.0, 0.0)),)


def told(hedge: Instrument, script: Sequence[tuple[int, tuple[float, ...]]], **limits: Any) -> Mandate:
    spread = Spread(HERE, hedge)
    return Mandate(
        (Slot("carry", Scripted(tuple(script)), 1.0, spreads=(spread,)),),
        Sizing(position_size=0.1, no_trade_band=0.5, cooldown_h=0),
        replace(OPEN_LIMITS, **limits),
        Execution(slippage_bps=500.0, unstopped=frozenset({HERE.name, hedge.name})),
    )


def backtest(
    panel: Panel,
    hedge: Instrument,
    script: Sequence[tuple[int, tuple[float, ...]]],
    balances: tuple[int, int] = (10_000, 10_000),
    leverage: int = 3,
    **limits: Any,
) -> RunRecord:
    wallets = {HERE.wallet: Decimal(balances[0]), hedge.wallet: Decimal(balances[1])}
    there = HYPERLIQUID_SPOT if hedge is SPOT else FeeSchedule.flat(Decimal("0.0005"), Decimal("0.0002"))
    test = Backtest(
        "by hand", panel, (HERE, hedge), told(hedge, script, **limits), Decimal(sum(balances)),
        frictions=Frictions(0.0, 0.0, float("inf")), leverage=leverage, wallets=wallets,
        wallet_rules={HERE.wallet: Rules(), hedge.wallet: Rules(fees=there)},
    )  # fmt: skip
    return run(test)


def legs(close: Any, funding: Any = 0.0, settled: Any = None) -> Panel:
    rows = len(close)
    given = {"close": close, "funding_rate": np.broadcast_to(funding, (rows, 2)).astype(float)}
    if settled is not None:
        given["settled_funding"] = np.broadcast_to(settled, (rows, 2)).astype(float)
    return panel_of(rows, (HERE.name, "hedge"), **given)


def named(panel: Panel, hedge: Instrument) -> Panel:
    return Panel(panel.grid, (HERE.name, hedge.name), panel.fields)


def test_perpetual_against_spot_to_the_cent() -> None:
    # Sold at 1,000 against spot at 998, closed at 1,100 against 1,099: the basis came in by a dollar of two.
    close = [(1000.0, 998.0)] * 3 + [(1100.0, 1099.0)] * 5
    record = backtest(named(legs(close, (1e-4, 0.0)), SPOT), SPOT, IN_AND_OUT)
    # A tenth of 20,000 USD at 1,000 is 2 coins. Decided at row 1, traded at its price, held through the settlements of
    # rows 2 to 5, let go at row 5 and traded at 1,100 and 1,099.
    fees = Decimal("0.00045") * 2 * (1000 + 1100) + Decimal("0.0007") * 2 * (998 + 1099)
    funding = Decimal("0.0001") * 2 * (1000 + 1100 + 1100 + 1100)
    basis = 2 * (1000 - 1100) + 2 * (1099 - 998)
    assert record.fees_usd == fees
    assert record.funding_usd == funding
    assert record.price_usd == basis == 2
    assert record.equity_end - record.equity_start == funding + basis - fees
    assert record.spreads is not None
    (trade,) = record.spreads.trades
    assert (trade.side, trade.hours, trade.notional_usd) == ("short", 4.0, 2000.0)
    assert (trade.funding_usd, trade.basis_usd, trade.fees_usd) == (funding, Decimal(basis), fees)
    assert trade.net_usd == record.equity_end - record.equity_start
    assert record.spreads.unhedged_hours == 0
    # Margin of a third of the perpetual and all of the spot, over the four rows after which both were held.
    tied = [2 * (a / 3 + b) for a, b in [(1000.0, 998.0), *[(1100.0, 1099.0)] * 3]]
    assert record.spreads.tied_usd_mean == pytest.approx(sum(tied) / 4)


def test_the_headlines_count_a_spread_as_one_round_trip() -> None:
    close = [(1000.0, 998.0)] * 3 + [(1100.0, 1099.0)] * 7
    script = ((1, (-1.0, 0.0)), (3, (0.0, 0.0)), (5, (-1.0, 0.0)))
    record = backtest(named(legs(close, (1e-4, 0.0)), SPOT), SPOT, script)
    facts: Any = summary(record)
    # One over two hours, which fees cost more than it brought, and one that is held at the end.
    assert (facts["trades"], facts["metrics"]["trades_open"], facts["trades_of"]) == (2, 1, "spreads")
    assert record.spreads is not None
    closed, still = record.spreads.trades
    assert (closed.is_open, still.is_open, closed.legs) == (False, True, (HERE.name, SPOT.name))
    assert facts["metrics"]["expectancy_usd"] == pytest.approx(float(closed.net_usd))
    assert facts["metrics"]["win_rate"] == float(closed.net_usd > 0)
    assert facts["metrics"]["mean_hold_h"] == closed.hours == 2
    assert sum(row["trades"] for row in facts["by_coin"]) == 4  # of each leg


def test_settlements_every_hour_here_and_every_eight_there() -> None:
    close = [(1000.0, 1000.0)] * 20
    rows = np.arange(20)
    settled = np.column_stack([np.full(20, 1e-4), np.where(rows % 8 == 0, 3e-4, 0.0)])
    panel = named(legs(close, (1e-4, 3e-4 / 8), settled), THERE)
    record = backtest(panel, THERE, ((1, (-1.0, 0.0)), (17, (0.0, 0.0))))
    # Short here for the settlements of rows 2 to 17, paid a ten-thousandth each; long there for those of rows 8 and 16.
    assert record.funding_usd == Decimal("0.0001") * 2000 * 16 - Decimal("0.0003") * 2000 * 2
    assert {(p.instrument, p.time_ms) for p in record.payments if p.instrument == THERE.name} == {
        (THERE.name, panel.grid.time_ms(8)),
        (THERE.name, panel.grid.time_ms(16)),
    }
    assert record.fees_usd == Decimal("0.00045") * 4000 + Decimal("0.0005") * 4000
    facts: Any = summary(record)
    assert facts["spreads"]["pnl"]["total"] == pytest.approx(facts["pnl"]["total"])
    assert facts["spreads"]["return_on_tied_capital"] == pytest.approx(
        facts["pnl"]["total"] / (2000 * 2 / 3) / (16 / 8760)
    )


def test_a_spread_is_never_long_against_spot() -> None:
    record = backtest(named(legs([(1000.0, 1000.0)] * 6), SPOT), SPOT, ((1, (1.0, 0.0)),))
    assert not record.fills


def test_spot_is_bought_with_what_is_there() -> None:
    record = backtest(
        named(legs([(1000.0, 1000.0)] * 6), SPOT), SPOT, STAY, balances=(19_000, 1_000), min_free_margin=0.0
    )
    bought = sum(f.lots for f in record.fills if f.instrument == SPOT.name)
    sold = sum(f.lots for f in record.fills if f.instrument == HERE.name)
    assert bought == sold <= 1000  # one coin, less what is kept for the fee
    assert bought == pytest.approx(980, abs=1)
    assert record.spreads is not None
    assert record.spreads.unhedged_usd_worst < 11


def test_a_leg_that_is_liquidated_takes_the_other_with_it() -> None:
    # The price doubles: the short's wallet of 2,000 USD is gone, and the 2,000 USD that the long has gained don't save it.
    close = [(1000.0, 1000.0)] * 4 + [(2000.0, 2000.0)] * 6
    record = backtest(named(legs(close), THERE), THERE, STAY, balances=(1_900, 18_100), leverage=20)
    assert record.liquidations
    assert {each.instrument for each in record.liquidations} == {HERE.name}
    first_ms = record.liquidations[0].time_ms
    closing = [f for f in record.fills if f.instrument == THERE.name and f.side.sign < 0]
    assert closing
    # Known at the end of that bar, and closed at the open of the next, which is the same moment.
    assert min(f.time_ms for f in closing) <= first_ms
    sizes = {
        name: sum(f.signed_lots for f in record.fills if f.instrument == name)
        for name in (HERE.name, THERE.name)
    }
    assert sizes[HERE.name] + sizes[THERE.name] == 0
    # What the liquidator kept is in the round trip that it ended.
    assert record.spreads is not None
    net = sum(trade.net_usd for trade in record.spreads.trades)
    assert net == record.equity_end - record.equity_start
    assert record.equity_end - record.equity_start == record.price_usd + record.funding_usd - record.fees_usd


def test_the_same_price_for_both_in_one_account_would_have_saved_it() -> None:
    """What the wallets are for: netted in one account, the same move liquidates nothing."""
    close = [(1000.0, 1000.0)] * 4 + [(2000.0, 2000.0)] * 6
    panel = named(legs(close), THERE)
    test = Backtest(
        "one account", panel, (HERE, THERE), told(THERE, STAY), Decimal(20_000),
        frictions=Frictions(0.0, 0.0, float("inf")), leverage=20,
    )  # fmt: skip
    assert not run(test).liquidations


@pytest.mark.real_data
def test_the_page_says_what_the_shipped_config_comes_to(real_data: Path) -> None:
    """Every figure of its table, from the recorded hours."""
    config = REPOSITORY / "config" / "backtest-carry-spread.toml"
    loaded = settings.load(config, [f"data.folder={real_data}"], {})
    runs = [compose.backtest_of(loaded, config.parent), *(test for _, test in compose.variants_of(loaded))]
    page = (REPOSITORY / "docs" / "spreads.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith(("| as shipped", "| `exit"))]
    for test, row in zip(runs, rows, strict=True):
        facts: Any = summary(run(test))
        pnl = facts["spreads"]["pnl"]
        amounts = [f"{pnl[name]:+,.2f}".replace("-", "−") for name in ("funding", "basis", "fees", "total")]
        assert [cell.strip() for cell in row.split("|")[2:7]] == [
            *amounts,
            str(len(facts["spreads"]["pair_trades"])),
        ]
        assert pnl["total"] == pytest.approx(facts["pnl"]["total"], abs=1e-6)


def test_of_spot_no_more_is_sold_than_there_is() -> None:
    wallets = {HERE.wallet: Decimal(10_000), SPOT.wallet: Decimal(10_000)}
    market = JointMarket.opened(
        "x", (HERE, SPOT), dict.fromkeys(wallets, Rules()), Frictions(0.0, 0.0, float("inf")), wallets, 3, 0
    )
    panel = named(legs([(1000.0, 1000.0)] * 4), SPOT)
    bars = Bars(panel)
    market.open(bars.at(0), OrderPlan((), (Order("a", SPOT.name, Side.SELL, 500),)))
    assert market.lots.tolist() == [0, 0]
    market.open(bars.at(1), OrderPlan((), (Order("b", SPOT.name, Side.BUY, 500),)))
    market.open(bars.at(2), OrderPlan((), (Order("c", SPOT.name, Side.SELL, 900),)))
    assert market.lots.tolist() == [0, 0]
    market.open(bars.at(3), OrderPlan((), (Order("d", HERE.name, Side.SELL, 500),)))
    assert market.lots.tolist() == [-500, 0]
