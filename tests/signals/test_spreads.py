import numpy as np
import pytest

from bot.model.instrument import Instrument, simple_instrument, spot_instrument
from bot.model.panel import Grid, Panel
from bot.model.spread import Spread
from bot.signals.funding import basis, carry_apr
from bot.signals.spreads import spread_panel

BTC, ETH = simple_instrument("BTC", 5, 40), simple_instrument("ETH", 4, 25)
UBTC = spot_instrument("UBTC/USDC", 5, "UBTC")
THERE = Instrument("binance:ETH", 3, ETH.tiers, venue="binance")
SPREADS = (Spread(BTC, UBTC), Spread(ETH, THERE))
NAMES = ("BTC", "UBTC/USDC", "ETH", "binance:ETH")


def panel() -> Panel:
    def row(*values: float) -> np.ndarray:
        return np.array([values, values])

    return Panel(
        Grid(10, 2),
        NAMES,
        {
            "mark": row(101.0, 100.0, 50.0, 49.0),
            "funding_rate": row(3e-5, np.nan, 2e-5, 5e-5),
            "volume_usd": row(1e6, 2e5, 3e6, 9e6),
            "spread_bps": row(1.0, 4.0, 2.0, 0.5),
            "open_interest": row(7.0, np.nan, 8.0, 9.0),
            "depth_usd": row(9e5, 1e5, 4e5, 8e5),
            "predicted_funding": row(1e-5, np.nan, 2e-5, 3e-5),
            "settled_funding": row(3e-5, 0.0, 2e-5, 40e-5),
        },
    )


def test_the_primary_column_tells_of_the_pair() -> None:
    seen = spread_panel(panel(), SPREADS)
    # Spot pays no funding; of two perpetuals a long spread pays the one and is paid the other.
    assert seen.funding_rate.last[[0, 2]].tolist() == [3e-5, pytest.approx(-3e-5)]
    assert seen.volume_usd.last[[0, 2]].tolist() == [2e5, 3e6]
    assert seen.depth_usd.last[[0, 2]].tolist() == [1e5, 4e5]
    assert seen.predicted_funding.last[[0, 2]].tolist() == [1e-5, pytest.approx(-1e-5)]
    assert seen.settled_funding.last[[0, 2]].tolist() == [3e-5, pytest.approx(-38e-5)]
    assert seen.open_interest.last[[0, 2]].tolist() == [7.0, 8.0]
    assert seen.spread_bps.last[[0, 2]].tolist() == [5.0, 2.5]
    assert basis(seen).last[[0, 2]] == pytest.approx([0.01, 50 / 49 - 1])
    assert carry_apr(seen, 1).shape == (2, 4)


def test_other_columns_are_unknown() -> None:
    seen = spread_panel(panel(), SPREADS)
    assert all(np.isnan(values[:, [1, 3]]).all() for values in seen.fields.values())


def test_a_hedge_whose_price_is_unknown_leaves_the_basis_unknown() -> None:
    given = panel()
    given.fields["mark"][-1, 1] = np.nan
    given.fields["funding_rate"][-1, 3] = np.nan
    seen = spread_panel(given, SPREADS)
    assert np.isnan(seen.reference.last[0])
    assert np.isnan(seen.funding_rate.last[2])


def test_multipliers_scale_the_hedges_price() -> None:
    single = Instrument("binance:PEPE", 0, BTC.tiers, venue="binance")
    kpepe = Instrument("kPEPE", 0, BTC.tiers, multiplier=1000)
    given = Panel(Grid(0, 1), ("kPEPE", "binance:PEPE"), {"mark": np.array([[0.0101, 0.00001]])})
    assert basis(spread_panel(given, [Spread(kpepe, single)])).last[0] == pytest.approx(0.01)


def test_a_leg_without_a_column_is_refused() -> None:
    with pytest.raises(ValueError, match="no column of binance:ETH"):
        spread_panel(panel().select(["BTC", "UBTC/USDC", "ETH"]), SPREADS)
