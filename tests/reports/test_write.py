"""The files a run leaves behind: they agree with the record, with each other, and appear whole or not at all."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from bot.errors import ConfigError, HedgerowError
from bot.model.money import ZERO
from bot.model.order import Liquidation, Purpose
from bot.reports.figures import MOST_COINS, MOST_POINTS, figures, monthly_returns, thin
from bot.reports.page import percent, price, usd
from bot.reports.write import plain, prepare, summary, write
from tests.reports.books import START_MS, books, curve_record, fill, flat_curves, lively_record, payment

FILES = [
    "report.json",
    "trades.csv",
    "fills.csv",
    "funding.csv",
    "liquidations.csv",
    "equity.csv",
    "report.html",
]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def total(table: list[dict[str, str]], column: str) -> Decimal:
    return sum((Decimal(row[column]) for row in table), ZERO)


def test_the_json_object_holds_the_contract_and_adds_up() -> None:
    record = lively_record(days=30)
    facts = json.loads(json.dumps(summary(record), allow_nan=False))
    contract = "config from to bars instruments equity_start equity_end pnl sharpe sortino calmar max_drawdown turnover"
    contract += (
        " exposure_mean trades liquidations wall_seconds by_strategy by_coin findings assumptions metrics refused_orders"
        " conventions"
    )
    assert set(contract.split()) <= set(facts)
    assert (facts["from"], facts["to"]) == ("2025-01-01T00:00:00Z", "2025-01-31T00:00:00Z")
    assert facts["bars"] == 721
    wished = "cagr omega profit_factor expectancy_usd worst_day worst_hour expected_shortfall_1pct time_under_water"
    wished += (
        " max_drawdown_usd max_drawdown_hours funding_yield_on_capital funding_yield_on_notional mean_hold_h maker_share"
        " min_liquidation_distance margin_use_max hours_funding_positive sharpe_low_95 sharpe_high_95 skew kurtosis sqn"
        " exposure_max net_exposure_mean win_rate orders_refused forfeited_usd best_trade_usd worst_trade_usd"
    )
    assert set(wished.split()) <= set(facts["metrics"])
    assert "365 days" in facts["conventions"][0]
    pnl = {name: Decimal(str(part)) for name, part in facts["pnl"].items()}
    assert pnl["fees"] < 0
    assert pnl["price"] + pnl["funding"] + pnl["fees"] == pnl["total"]
    assert pnl["total"] == Decimal(str(facts["equity_end"])) - Decimal(str(facts["equity_start"]))
    for part in ("price", "funding", "fees", "total"):
        for split in ("by_coin", "by_strategy"):
            assert sum(row[part] for row in facts[split]) == pytest.approx(facts["pnl"][part], abs=1e-4)


def test_tables_add_up_to_the_record(tmp_path: Path) -> None:
    record = lively_record(days=30)
    assert [path.name for path in write(record, tmp_path / "new" / "folder")] == FILES
    folder = tmp_path / "new" / "folder"
    trades, fills, funding, equity = (
        rows(folder / f"{name}.csv") for name in ("trades", "fills", "funding", "equity")
    )
    assert total(trades, "price_usd") == record.price_usd
    assert total(trades, "funding_usd") == record.funding_usd == total(funding, "usd")
    assert total(trades, "fees_usd") == -record.fees_usd == total(fills, "fee_usd")
    assert total(trades, "net_usd") == record.equity_end - record.equity_start
    assert len(equity) == len(record.curves.times_ms)
    last = equity[-1]
    assert last["time"] == "2025-01-31T00:00:00Z"
    assert float(last["equity"]) == pytest.approx(float(record.equity_end), abs=1e-6)
    assert float(last["price"]) + float(last["funding"]) + float(last["fees"]) == pytest.approx(
        float(last["equity"]) - float(record.equity_start), abs=1e-5
    )
    first = record.payments[0]
    size = Decimal(first.lots) / record.lots_per_coin[first.instrument]
    assert (funding[0]["coin"], Decimal(funding[0]["size"])) == (first.instrument, size)
    assert Decimal(funding[0]["rate"]) == first.rate
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


def test_margin_that_the_liquidator_kept_has_a_row_and_is_part_of_the_price_result(tmp_path: Path) -> None:
    closing = fill(3, -1000, "93", purpose=Purpose.LIQUIDATION)
    taken = Liquidation(closing.time_ms, "BTC", 1000, Decimal(93), "backstop", Decimal("1.5"))
    record = books([fill(0, 1000, "100"), closing], liquidations=[taken])
    write(record, tmp_path)
    (row,) = rows(tmp_path / "liquidations.csv")
    assert row == {
        "time": "2025-01-01T03:00:00Z", "coin": "BTC", "side": "long", "size": "1", "price": "93", "kind": "backstop",
        "forfeited_usd": "-1.500000",
    }  # fmt: skip
    facts = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert facts["pnl"]["price"] == -8.5  # 7 of them by the fall
    assert facts["metrics"]["forfeited_usd"] == -1.5


def test_text_from_elsewhere_is_no_formula_and_no_second_row(tmp_path: Path) -> None:
    record = lively_record(days=3)
    said = "=HYPERLINK(1)\nBTC,long"
    record = replace(record, notes=[replace(note, because=said, source="s") for note in record.notes])
    write(record, tmp_path)
    table = rows(tmp_path / "trades.csv")
    told = {row["because"] for row in table} - {""}
    assert told
    assert not any(text.startswith(("=", "+", "-", "@")) or "\n" in text for text in told)
    assert any("HYPERLINK" in text for text in told)
    assert len((tmp_path / "trades.csv").read_text(encoding="utf-8").splitlines()) == len(table) + 1


def test_a_place_that_takes_no_report_is_found_out_beforehand(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    for wrong in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(ConfigError, match=r"can't be written to .*; choose another folder with --out"):
            prepare(wrong)
    prepare(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def test_a_flat_book_has_no_liquidation_distance_in_the_table(tmp_path: Path) -> None:
    write(curve_record([100.0, 101.0]), tmp_path)
    assert [row["liquidation_distance"] for row in rows(tmp_path / "equity.csv")] == ["", ""]


def test_a_run_in_which_nothing_happened_can_be_reported(tmp_path: Path) -> None:
    for number, equity in enumerate(([], [1000.0])):
        write(curve_record(equity), tmp_path / str(number))
        facts = json.loads((tmp_path / str(number) / "report.json").read_text(encoding="utf-8"))
        assert facts["pnl"]["total"] == 0
        assert facts["trades"] == 0


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    with pytest.raises(HedgerowError, match="--out") as caught:
        write(curve_record([100.0, 101.0]), tmp_path / "taken")
    assert "\n" not in str(caught.value)


def test_a_failed_write_leaves_the_old_report_and_no_scraps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(curve_record([100.0, 101.0]), tmp_path)
    before = (tmp_path / "report.json").read_bytes()

    def no_space(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", no_space)
    with pytest.raises(HedgerowError, match="No space left on device"):
        write(curve_record([100.0, 99.0]), tmp_path)
    assert (tmp_path / "report.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)


def test_json_knows_no_nan_whatever_a_config_holds() -> None:
    odd = {"a": float("nan"), "b": [np.float64("inf"), Decimal("1.5")], "c": {1: np.int64(3)}, "d": Path("x")}
    assert plain(odd) == {"a": None, "b": [None, 1.5], "c": {"1": 3}, "d": "x"}


def test_two_hundred_thousand_payments_are_all_written(tmp_path: Path) -> None:
    hours = 2000
    coins = [f"C{number}" for number in range(100)]
    record = books(
        [fill(0, -1000, "100", coin=coin) for coin in coins],
        [payment(hour, -1000, "0.00125", coin=coin) for hour in range(1, hours + 1) for coin in coins],
        marks=dict.fromkeys(coins, Decimal(100)),
        hours=hours,
    )
    write(record, tmp_path)
    assert len(rows(tmp_path / "funding.csv")) == 200_000


def test_importing_the_writer_leaves_the_heavy_libraries_alone() -> None:
    code = "import sys, bot.reports.write; print([m for m in ('plotly', 'jinja2', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_thinned_curve_keeps_every_extreme_and_both_ends() -> None:
    rng = np.random.default_rng(1)
    curve = np.cumsum(rng.normal(size=50_001))
    curve[31_234] = curve.min() - 50
    kept = thin(curve)
    assert kept.size <= MOST_POINTS
    assert {0, 31_234, int(np.argmax(curve)), 50_000} <= set(kept.tolist())
    assert np.all(np.diff(kept) > 0)


def test_unknown_stretches_do_not_disturb_thinning() -> None:
    curve = np.full(20_000, np.nan)
    curve[12_345] = 0.2
    kept = thin(curve)
    assert 12_345 in kept
    assert kept.size <= MOST_POINTS


def test_the_funding_map_gathers_the_least_coins_and_loses_nothing() -> None:
    coins = [f"C{number}" for number in range(60)]
    record = books(
        [fill(0, -1000, "100", coin=coin) for coin in coins],
        [
            payment(hour, -1000, f"{0.01 * (n + 1):.2f}", coin=coin)
            for hour in range(1, 40)
            for n, coin in enumerate(coins)
        ],
        marks=dict.fromkeys(coins, Decimal(100)),
    )
    (figure,) = [one for one in figures(record) if one.name == "funding"]
    bars, heat = figure.data
    assert len(heat["y"]) == MOST_COINS + 1
    assert figure.layout["yaxis"]["ticktext"][0].startswith("20 others")
    assert sum(bars["y"]) == pytest.approx(float(record.funding_usd))
    assert sum(cell for row in heat["z"] for cell in row if cell is not None) == pytest.approx(
        float(record.funding_usd)
    )
    assert heat["zmin"] == -heat["zmax"]


def test_months_compound_to_the_year_and_a_run_from_new_year_has_no_december() -> None:
    equity = np.linspace(100, 150, 24 * 59 + 1)  # January and February 2025, to the midnight that ends them
    ((year, months, whole),) = monthly_returns(flat_curves(equity.tolist(), start_ms=START_MS), 100.0)
    assert year == 2025
    assert months[0] == pytest.approx(equity[24 * 31] / 100 - 1)
    assert months[2:] == [None] * 10
    assert whole == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (usd(Decimal("1234.5"), sign=True), "+1,234.50"),
        (usd(-0.001), "0.00"),
        (usd(-250_000.4), "−250,000"),
        (usd(None), "–"),
        (percent(-0.12345, sign=True), "−12.35%"),
        (percent(0.0, sign=True), "0.00%"),
        (price(Decimal("61234.6")), "61,235"),
        (price(Decimal("0.0000123456")), "0.000012346"),
    ],
)
def test_numbers_are_shown_with_true_signs_and_separators(shown: str, text: str) -> None:
    assert shown == text


def test_text_from_outside_cannot_become_markup(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>"
    record = replace(
        lively_record(days=3), name=evil, assumptions=(evil,), config={evil: evil}, findings={evil: 1}
    )
    record = replace(
        record,
        payments=[replace(p, instrument=evil) if p.instrument == "BTC" else p for p in record.payments],
        fills=[replace(f, instrument=evil) if f.instrument == "BTC" else f for f in record.fills],
        lots_per_coin={**record.lots_per_coin, evil: 1000},
        final_marks={**record.final_marks, evil: record.final_marks.get("BTC", Decimal(1))},
    )
    write(record, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert page.count("</script>") == 3
    assert "&lt;/script&gt;" in page
