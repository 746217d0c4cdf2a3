"""[venue] and [cex]: the accounts that a daemon trades, and the signers that sign for them."""

from typing import Annotated, Final, Literal

from pydantic import Field

from bot.config_types import Address, Coins, Location, Maybe, Section, Url

CexName = Literal["binance", "bybit", "okx"]

SERVICES: Final = {"binance": ("demo",), "bybit": ("testnet", "demo"), "okx": ("demo",)}
"""The services for trying things out that each exchange still runs and an API client can reach."""


class VenueSettings(Section):
    """[venue]: the account that a live run trades, and the signer that signs for it."""

    kind: Literal["hyperliquid"] = Field("hyperliquid", description="which venue")
    network: Literal["testnet", "mainnet", "devnet"] = Field(
        description="testnet; mainnet asks for more at the start; devnet: a simulated venue on this machine"
    )
    url: Url = Field(description="where the venue answers, such as https://api.hyperliquid-testnet.xyz")
    account: Address = Field(
        description="whose books are traded: a master's, sub-account's or vault's address"
    )
    coins: Annotated[Coins, Field(min_length=1)] = Field(
        description="what may be traded: perpetuals such as BTC, spot markets such as UBTC/USDC"
    )
    signer: Maybe[Location] = Field(
        None, description="the signer's socket; none = where `hedgerow signer run` puts it by default"
    )
    history_h: Maybe[Annotated[int, Field(ge=24, le=5000)]] = Field(
        None, description="hours of candles and funding read at the start; none = what the strategies need"
    )


class CexSettings(Section):
    """[cex.NAME]: an account at a central exchange's service for trying things out; NAME is binance, bybit or okx.

    What is traded there is named by both, such as binance:BTC.
    """

    network: Literal["testnet", "devnet"] = Field(
        "testnet",
        description="testnet: the exchange's own, with play money; devnet: a simulated one on this machine",
    )
    service: Literal["demo", "testnet"] = Field(
        "demo", description="which of the exchange's services; bybit has both, binance and okx a demo"
    )
    url: Maybe[Url] = Field(
        None, description="where a devnet's face of the exchange answers; none = the exchange's own hosts"
    )
    coins: Annotated[Coins, Field(min_length=1)] = Field(
        description="base coins of perpetuals as the exchange writes them, such as BTC or 1000PEPE"
    )
    signer: Maybe[Location] = Field(
        None, description="the signer's socket; none = where `hedgerow signer run` puts it by default"
    )
    history_h: Maybe[Annotated[int, Field(ge=24, le=5000)]] = Field(
        None, description="hours of candles and funding read at the start; none = what the strategies need"
    )


def wrong_with(name: str, cex: CexSettings, mode: str) -> str:
    """What in an exchange's table contradicts the rest, as a sentence; empty if nothing does."""
    if mode == "paper":
        if cex.model_fields_set - {"coins", "history_h"}:
            return (
                f'cex.{name}: in mode = "paper" the exchange is simulated on this machine, so only coins and history_h '
                "are for it; remove the rest"
            )
        return "" if name == "binance" else f"cex.{name}: a paper run simulates binance only; name that"
    if cex.network == "devnet":
        if cex.url is None:
            return f"cex.{name}: a devnet needs its url; add one, such as http://127.0.0.1:3002"
        return "" if name == "binance" else f"cex.{name}: a devnet has a face of binance only; name that"
    if cex.url is not None:
        return f"cex.{name}.url is for a devnet; the exchange's own hosts are known, so remove it"
    if cex.service not in SERVICES[name]:
        return (
            f'cex.{name}.service is "{cex.service}", and {name} has {" and ".join(SERVICES[name])}; name that'
        )
    return ""
