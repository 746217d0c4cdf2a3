"""What is listed on the devnet's Binance: a USDT perpetual for each of the market's, on the venue's own grids and brackets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np

from bot.model.instrument import Instrument, MarginTier
from bot.model.money import ZERO
from bot.model.panel import FloatArray

VENUE: Final = "binance"
USDT: Final = "USDT"
CAP, CAP_OF_MAJORS = Decimal("0.02"), Decimal("0.003")
FOUR_HOURS: Final = frozenset({"HYPEUSDT", "FARTCOINUSDT"})
TAKER, MAKER = Decimal("0.0005"), Decimal("0.0002")
LIQUIDATION_FEE: Final = Decimal("0.0125")
MOST_OPEN, MOST_ALGO = 200, 10

# Per base: decimals of prices and of quantities, then the least notional in USDT, as the venue had them in 2025 and 2026.
_GRIDS: Final = """
BTC 1 3 100 | ETH 2 3 20 | SOL 2 2 5 | HYPE 3 2 5 | XRP 4 1 5 | FARTCOIN 4 1 5 | 1000PEPE 7 0 5 | SUI 4 1 5 | DOGE 5 0 5
| WIF 4 1 5 | LINK 3 2 20 | AAVE 2 1 5 | BNB 2 2 5 | AVAX 3 0 5 | NEAR 3 0 5 | ARB 4 1 5
"""
# Per base: from how much notional on, the highest leverage, and the maintenance rate in percent (May 2026).
_BRACKETS: Final = """
BTC 0/150/0.4 300000/100/0.5 800000/75/0.65 3000000/50/1 12000000/25/2 70000000/20/2.5 100000000/10/5 230000000/5/10 480000000/4/12.5 600000000/3/15 800000000/2/25 1200000000/1/50
ETH 0/150/0.4 300000/100/0.5 800000/75/0.65 3000000/50/1 12000000/25/2 50000000/20/2.5 65000000/10/5 150000000/5/10 320000000/4/12.5 400000000/3/15 530000000/2/25 800000000/1/50
SOL 0/100/0.5 50000/75/0.65 400000/50/1 1000000/25/2 4000000/20/2.5 8000000/10/5 40000000/5/10 80000000/4/12.5 100000000/2/25 200000000/1/50
HYPE 0/75/1 20000/50/1.5 200000/25/2 1000000/20/2.5 2000000/10/5 5000000/5/10 7500000/4/12.5 10000000/2/25 12500000/1/50
XRP 0/100/0.5 40000/75/0.6 80000/50/1 150000/40/1.25 400000/25/2 1000000/20/2.5 2000000/10/5 10000000/5/10 20000000/4/12.5 25000000/2/25 50000000/1/50
FARTCOIN 0/75/1 5000/50/1.5 10000/25/2 50000/20/2.5 120000/15/3.33 175000/10/5 350000/5/10 750000/4/12.5 1500000/3/16.67 4500000/2/25 7500000/1/50
1000PEPE 0/75/0.65 20000/50/1 200000/40/1.5 300000/25/2 1500000/20/2.5 3000000/10/5 15000000/5/10 20000000/4/12.5 25000000/2/25 30000000/1/50
SUI 0/75/1 20000/50/1.5 200000/25/2 1000000/20/2.5 2000000/10/5 10000000/5/10 20000000/4/12.5 25000000/2/25 50000000/1/50
DOGE 0/75/0.65 80000/50/1 150000/40/1.25 750000/25/2 2000000/20/2.5 4000000/10/5 20000000/5/10 40000000/4/12.5 50000000/2/25 100000000/1/50
WIF 0/75/1 5000/50/1.5 10000/25/2 50000/20/2.5 100000/15/3.33 175000/10/5 250000/5/10 750000/4/12.5 1500000/3/16.67 4500000/2/25 7500000/1/50
LINK 0/75/0.5 10000/50/1 200000/40/1.5 400000/25/2 800000/20/2.5 1600000/10/5 8000000/5/10 16000000/4/12.5 20000000/2/25 40000000/1/50
AAVE 0/75/1 50000/50/1.5 150000/25/2 500000/20/2.5 600000/10/5 3000000/5/10 6000000/4/12.5 7500000/2/25 15000000/1/50
BNB 0/75/0.5 10000/50/0.6 200000/40/1 400000/25/2 1500000/20/2.5 3000000/10/5 15000000/5/10 30000000/4/12.5 37500000/2/25 75000000/1/50
AVAX 0/75/0.5 25000/50/1 80000/40/1.5 160000/25/2 800000/20/2.5 1600000/10/5 8000000/5/10 16000000/4/12.5 20000000/2/25 40000000/1/50
NEAR 0/75/1 20000/50/1.5 200000/25/2 1000000/20/2.5 2000000/10/5 10000000/5/10 20000000/4/12.5 25000000/2/25 30000000/1/50
ARB 0/75/0.6 5000/50/1 50000/25/1.5 100000/20/2 500000/10/2.5 1000000/5/5 5000000/4/10 6000000/3/12.5 7000000/2/25 8000000/1/50
"""
_OTHERS: Final = "HYPE"  # whose brackets a coin has that is in no table


@dataclass(frozen=True, slots=True)
class Listing:
    """One symbol; `column` is its coin's among the market's instruments."""

    symbol: str
    base: str
    column: int
    instrument: Instrument
    price_decimals: int
    least_notional_usd: Decimal
    interval_h: int
    funding_cap: Decimal
    band: Decimal  # how far from the mark a price may be, as a fraction
    brackets: tuple[tuple[int, int, Decimal], ...]  # from which notional, highest leverage, maintenance rate

    @property
    def most_lots(self) -> int:
        """What one limit order may be at most; a market order an eighth of it."""
        return 1_000_000 if self.instrument.size_decimals else 100_000_000

    def price(self, value: Decimal) -> str:
        """A price of an order as the venue prints it."""
        return f"{value:.{self.price_decimals}f}"

    def quantity(self, lots: int) -> str:
        """Signed lots in coins."""
        return f"{self.instrument.size(lots):.{self.instrument.size_decimals}f}"

    def on_tick(self, price: float) -> Decimal:
        """A price of the market's on the symbol's grid."""
        return self.instrument.round_price(Decimal(repr(price)))

    def most_notional_at(self, leverage: int) -> int:
        """The largest position in USDT that a leverage allows."""
        bounds = [bound for bound, most, _ in self.brackets[1:] if most < leverage]
        return bounds[0] if bounds else self.last_cap

    @property
    def last_cap(self) -> int:
        """Where the last bracket ends."""
        return self.brackets[-1][0] * 3 // 2


def listings(instruments: Sequence[Instrument], prices: FloatArray) -> dict[str, Listing]:
    """The symbols for a market's instruments; `prices` decide the grid of those that the venue's table lacks."""
    grids, brackets = _read_grids(), _read_brackets()
    found: dict[str, Listing] = {}
    for column, each in enumerate(instruments):
        base = f"1000{each.name[1:]}" if each.multiplier == 1000 else each.name
        if not re.fullmatch(r"[A-Z0-9]{1,20}", base) or each.is_delisted:
            continue
        symbol = base + USDT
        price_decimals, size_decimals, least = grids.get(base) or _grid_at(float(prices[column]))
        rows = brackets.get(base, brackets[_OTHERS])
        instrument = Instrument(
            symbol,
            size_decimals,
            tuple(MarginTier(Decimal(bound) if bound else ZERO, most, rate) for bound, most, rate in rows),
            min_order_usd=ZERO,  # the venue's own rule spares whatever reduces, and is checked before
            multiplier=each.multiplier,
            underlying=each.underlying,
            venue=VENUE,
            tick=Decimal(1).scaleb(-price_decimals),
            quote=USDT,
        )
        major = base in {"BTC", "ETH"}
        found[symbol] = Listing(
            symbol,
            base,
            column,
            instrument,
            price_decimals,
            Decimal(least),
            4 if symbol in FOUR_HOURS else 8,
            CAP_OF_MAJORS if major else CAP,
            Decimal("0.05") if major else Decimal("0.1"),
            rows,
        )
    return found


def _read_grids() -> dict[str, tuple[int, int, int]]:
    rows = (row.split() for row in _GRIDS.split("|"))
    return {base: (int(price), int(size), int(least)) for base, price, size, least in rows}


def _read_brackets() -> dict[str, tuple[tuple[int, int, Decimal], ...]]:
    found = {}
    for line in _BRACKETS.strip().splitlines():
        base, *rows = line.split()
        parts = (row.split("/") for row in rows)
        found[base] = tuple((int(bound), int(most), Decimal(rate) / 100) for bound, most, rate in parts)
    return found


def _grid_at(price: float) -> tuple[int, int, int]:
    """Five figures of a price, and lots of a dollar or so."""
    magnitude = int(np.floor(np.log10(max(price, 1e-9))))
    return min(max(4 - magnitude, 0), 8), min(max(magnitude, 0), 3), 5


def exchange_info(listed: Iterable[Listing], now_ms: int) -> dict[str, Any]:
    """The reply to `exchangeInfo`."""
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400},
            {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
        ],
        "exchangeFilters": [],
        "assets": [{"asset": USDT, "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [_symbol(each) for each in listed],
    }


def _symbol(each: Listing) -> dict[str, Any]:
    step = each.quantity(1)
    tick = each.price(each.instrument.tick or ZERO)
    return {
        "symbol": each.symbol,
        "pair": each.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": each.base,
        "quoteAsset": USDT,
        "marginAsset": USDT,
        "pricePrecision": each.price_decimals,
        "quantityPrecision": each.instrument.size_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": f"{each.band:.4f}",
        "liquidationFee": f"{LIQUIDATION_FEE:.6f}",
        "marketTakeBound": f"{each.band:.2f}",
        "maxMoveOrderLimit": 10000,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "10000000", "tickSize": tick},
            {
                "filterType": "LOT_SIZE",
                "minQty": step,
                "maxQty": each.quantity(each.most_lots),
                "stepSize": step,
            },
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": step,
                "maxQty": each.quantity(each.most_lots // 8),
                "stepSize": step,
            },
            {"filterType": "MAX_NUM_ORDERS", "limit": MOST_OPEN},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": MOST_ALGO},
            {"filterType": "MIN_NOTIONAL", "notional": f"{each.least_notional_usd:f}"},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": f"{1 + each.band:.4f}",
                "multiplierDown": f"{1 - each.band:.4f}",
                "multiplierDecimal": "4",
            },
            {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
        ],
        "orderTypes": [
            "LIMIT",
            "MARKET",
            "STOP",
            "STOP_MARKET",
            "TAKE_PROFIT",
            "TAKE_PROFIT_MARKET",
            "TRAILING_STOP_MARKET",
        ],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        "permissionSets": ["GRID", "COPY"],
    }
