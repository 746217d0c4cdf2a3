"""The clearing house: who holds what, what margin it takes, and what every trade and settlement does to cash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from bot.errors import Refused
from bot.model.account import Account, MarginMode, Position
from bot.model.funding import payment_usd
from bot.model.instrument import Instrument
from bot.model.margin import max_leverage
from bot.model.money import ZERO, usd_down
from bot.model.order import Fill, FundingPayment, Liquidation, OrderReport, Side
from bot.sim.book import LiveOrder
from bot.sim.fees import HYPERLIQUID_PERPS, FeeSchedule, TradedVolume

NO_MARGIN = "Insufficient margin to place order."
ABOVE_TIER = "Order would cause position to exceed margin tier limit at current leverage"

Event = tuple[str, OrderReport | Fill | FundingPayment | Liquidation]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the venue charges and when it steps in; the defaults are Hyperliquid's."""

    fees: FeeSchedule = HYPERLIQUID_PERPS
    funding_cap_per_hour: Decimal = Decimal("0.04")
    partial_liquidation_usd: Decimal = Decimal(100_000)
    partial_share: Decimal = Decimal("0.2")
    cooldown_ms: int = 30_000
    backstop_ratio: Decimal = Decimal(2) / 3  # 0 switches the backstop off
    price_band: Decimal = Decimal("0.95")
    default_leverage: int = 5  # capped at the instrument's maximum


class Member:
    """One account at the venue: its books, its settings and its open orders."""

    __slots__ = (
        "account",
        "floor_usd",
        "leverage",
        "mode",
        "name",
        "open",
        "partial_ms",
        "reducing",
        "traded",
        "working",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.account = Account()
        self.leverage: dict[str, int] = {}
        self.mode: dict[str, MarginMode] = {}
        self.open: dict[int, LiveOrder] = {}  # resting and waiting, oldest first
        self.working: dict[str, list[int]] = {}  # resting lots to buy and to sell, without reduce-only orders
        self.reducing: dict[str, dict[int, LiveOrder]] = {}  # open reduce-only orders, oldest first
        self.partial_ms: dict[str, int] = {}  # when a part of a position was last liquidated
        self.traded = TradedVolume()
        self.floor_usd: Decimal | None = (
            None  # cash below which the positions, all cross, fall short; None: unknown
        )


class Clearing:
    """All members' books, at one set of marks."""

    def __init__(self, instruments: Mapping[str, Instrument], rules: Rules) -> None:
        self.instruments = instruments
        self.rules = rules
        self.members: dict[str, Member] = {}
        self.accounts: dict[str, Account] = {}
        self.marks: dict[str, Decimal] = {}
        self._default_leverage = {
            n: min(rules.default_leverage, i.max_leverage) for n, i in instruments.items()
        }

    def join(self, name: str) -> Member:
        """The member of that name, admitted if new."""
        member = self.members.get(name)
        if member is None:
            member = self.members[name] = Member(name)
            self.accounts[name] = member.account
        return member

    def member(self, name: str) -> Member:
        try:
            return self.members[name]
        except KeyError:
            raise Refused(f"there is no account {name!r}; deposit to it first") from None

    def instrument(self, name: str) -> Instrument:
        try:
            return self.instruments[name]
        except KeyError:
            raise Refused(
                f"there is no instrument {name!r}; it must be one of {sorted(self.instruments)}"
            ) from None

    def leverage(self, member: Member, name: str) -> int:
        return member.leverage.get(name) or self._default_leverage[name]

    def mode(self, member: Member, name: str) -> MarginMode:
        mode = member.mode.get(name)
        if mode is None:
            return MarginMode.ISOLATED if self.instruments[name].only_isolated else MarginMode.CROSS
        return mode

    def set_leverage(self, member: Member, name: str, leverage: int, mode: MarginMode) -> None:
        """Change the margin settings of one instrument. Raises Refused, and changes nothing, on bad values."""
        instrument = self.instrument(name)
        position = member.account.positions.get(name)
        if isinstance(leverage, bool) or not 1 <= leverage <= instrument.max_leverage:
            raise Refused("Invalid leverage value")
        if mode is MarginMode.CROSS and instrument.only_isolated:
            raise Refused("Cross margin is not allowed for this asset.")
        if position is not None and mode is not position.margin_mode:
            raise Refused("Cannot switch leverage type with open position.")
        worst = self.worst_lots(member, name)
        if self._above_tier(instrument, leverage, worst):
            raise Refused(ABOVE_TIER)
        old = self.leverage(member, name)
        if worst and leverage < old and not self._can_lower(member, name, old, leverage):
            kind, remedy = "Cross", "deposit more collateral"
            if mode is MarginMode.ISOLATED:
                kind, remedy = "Isolated", "add margin to the position"
            raise Refused(
                f"{kind} position does not have sufficient margin available to decrease leverage. "
                f"To decrease leverage, {remedy}."
            )
        member.leverage[name], member.mode[name] = leverage, mode

    def _can_lower(self, member: Member, name: str, old: int, new: int) -> bool:
        position = member.account.positions.get(name)
        unit = self.instruments[name].lot * self.marks[name]
        asked = self.worst_lots(member, name)
        if position is not None and position.margin_mode is MarginMode.ISOLATED:
            notional = position.lots * unit
            if position.cash_usd + notional < abs(notional) / new:
                return False
            asked -= abs(position.lots)
        value, needed = self.margin(member)
        return asked == 0 or needed - asked * unit / old + asked * unit / new <= value

    def worst_lots(self, member: Member, name: str, signed_lots: int = 0) -> int:
        """The largest position, in absolute lots, that resting orders and a new one of `signed_lots` could make."""
        held = member.account.lots(name)
        buying, selling = member.working.get(name, (0, 0))
        if signed_lots > 0:
            buying += signed_lots
        else:
            selling -= signed_lots
        return max(abs(held + buying), abs(held - selling))

    def margin(self, member: Member, name: str = "", signed_lots: int = 0) -> tuple[Decimal, Decimal]:
        """What backs the cross account, and the initial margin it must cover, a new order of `signed_lots` included.

        Resting orders count as if filled on the worse side. An isolated position has paid its own margin already,
        so that only what it could still grow by is asked for.
        """
        account, working, marks = member.account, member.working, self.marks
        leverage, default = member.leverage, self._default_leverage
        value, needed = account.cash_usd, ZERO
        for held, position in account.positions.items():
            unit = position.instrument.lot * marks[held]
            lots = position.lots
            worst = abs(lots)
            if held == name:
                worst = self.worst_lots(member, held, signed_lots)
            elif held in working:
                worst = self.worst_lots(member, held)
            if position.margin_mode is MarginMode.CROSS:
                value += lots * unit
            else:
                worst -= abs(lots)
            if worst:
                needed += worst * unit / (leverage.get(held) or default[held])
        for other in working if name in working else (*working, name):
            if other and other not in account.positions:
                worst = self.worst_lots(member, other, signed_lots if other == name else 0)
                needed += worst * self.instruments[other].lot * marks[other] / self.leverage(member, other)
        return value, needed

    def withdrawable_usd(self, member: Member) -> Decimal:
        value, needed = self.margin(member)
        held = sum(
            (
                abs(position.notional_usd(self.marks[name]))
                for name, position in member.account.positions.items()
                if position.margin_mode is MarginMode.CROSS
            ),
            ZERO,
        )
        return max(ZERO, usd_down(value - max(needed, held / 10)))

    def add_margin(self, member: Member, name: str, amount_usd: Decimal) -> None:
        """Move cash to an isolated position, or back. Raises Refused, and moves nothing, if it may not be."""
        position = member.account.positions.get(name)
        if amount_usd == 0:
            raise Refused("Update to isolated margin cannot be zero.")
        if position is None:
            raise Refused("Cannot update margin for empty position.")
        if position.margin_mode is not MarginMode.ISOLATED:
            raise Refused("Position does not use isolated margin.")
        if amount_usd > self.withdrawable_usd(member):
            raise Refused("Account does not have sufficient margin available for increase.")
        if amount_usd < 0:
            notional = position.notional_usd(self.marks[name])
            least = abs(notional) * max(1 / Decimal(self.leverage(member, name)), Decimal("0.1"))
            if position.cash_usd + notional + amount_usd < least:
                raise Refused("Position does not have sufficient margin for reduction.")
        member.account.cash_usd -= amount_usd
        position.cash_usd += amount_usd
        member.floor_usd = None

    def refusal(self, member: Member, name: str, signed_lots: int, funded: bool = False) -> str:
        """Why the account may not take on an order of `signed_lots`; empty if it may. `funded`: the margin is there."""
        worst = self.worst_lots(member, name, signed_lots)
        if worst <= abs(member.account.lots(name)):
            return ""
        if self._above_tier(self.instruments[name], self.leverage(member, name), worst):
            return ABOVE_TIER
        if funded:
            return ""
        value, needed = self.margin(member, name, signed_lots)
        return NO_MARGIN if needed > value else ""

    def _above_tier(self, instrument: Instrument, leverage: int, lots: int) -> bool:
        if not lots or leverage <= instrument.tiers[-1].max_leverage:
            return False
        return leverage > max_leverage(instrument, instrument.notional(lots, self.marks[instrument.name]))

    def trade(
        self,
        live: LiveOrder,
        lots: int,
        price: Decimal,
        notional_usd: Decimal,
        *,
        is_maker: bool,
        trade_id: int,
        time_ms: int,
        free: bool = False,
    ) -> Fill:
        """Book one side of a trade: position, cash, fee and volume."""
        member, order = self.members[live.account], live.order
        name, account = order.instrument, member.account
        position = account.positions.get(name)
        if position is None:
            position = Position(
                self.instruments[name], margin_mode=self.mode(member, name), opened_ms=time_ms
            )
        before = position.lots
        buying = order.side is Side.BUY
        closed = position.trade(lots if buying else -lots, notional_usd if buying else -notional_usd)
        if before * position.lots < 0:
            position.opened_ms = time_ms
        rate = ZERO if free else self.rules.fees.rate(is_maker, member.traded.last_14d_usd(time_ms))
        fill = Fill(
            trade_id,
            time_ms,
            name,
            order.side,
            lots,
            price,
            notional_usd,
            usd_down(notional_usd * rate),
            is_maker,
            order.client_id,
            live.order_id,
            order.purpose,
            closed,
        )
        account.apply_fill(fill, position, self.leverage(member, name))
        member.floor_usd = None
        member.traded.add(notional_usd, time_ms)
        live.fill(lots, price)
        return fill

    def forget_floors(self) -> None:
        """Marks have moved: the cash that each member's positions were last found to need is no longer known."""
        for member in self.members.values():
            member.floor_usd = None

    def settle_funding(
        self,
        rates_per_hour: Mapping[str, Decimal],
        oracles: Mapping[str, Decimal],
        time_ms: int,
        events: list[Event],
    ) -> None:
        """Pay funding on what is held at this instant, at the oracle price, to cash or to the isolated margin."""
        cap = self.rules.funding_cap_per_hour
        for account_name, member in self.members.items():
            account = member.account
            for name, position in account.positions.items():
                rate, oracle = rates_per_hour.get(name), oracles.get(name)
                if rate is None or oracle is None:
                    continue
                if abs(rate) > cap:
                    rate = cap if rate > 0 else -cap
                lots = position.lots
                amount = payment_usd(lots * position.instrument.lot, oracle, rate)
                payment = FundingPayment(time_ms, name, lots, oracle, rate, amount)
                account.apply_funding(payment)
                events.append((account_name, payment))
