"""Every kind of request that published clients send: served, or refused in words, and never a surprise."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import requests
from eth_account.signers.local import LocalAccount
from hyperliquid.utils import signing

from bot.devnet.info import MARKET
from bot.devnet.info_account import ACCOUNT
from bot.devnet.refused_actions import WHAT
from bot.devnet.server import Server
from bot.devnet.signatures import USER_SIGNED

Funded = Callable[..., LocalAccount]
NONCES = count(signing.get_timestamp_ms() + 20_000)
USER = "0x" + "11" * 20
CLOID = "0x" + "0" * 31 + "7"
ORDER = {"a": 0, "b": True, "p": "50000", "s": "0.01", "r": False, "t": {"limit": {"tif": "Gtc"}}}
USDC = "USDC:0x6d1e7cde53ba9467b783cb7c530ce054"

# Action → its fields, and what a funded account without positions is told: "" for yes, else how the refusal begins.
SERVED: dict[str, tuple[dict[str, Any], str]] = {
    "order": ({"orders": [ORDER], "grouping": "na"}, ""),
    "cancel": ({"cancels": [{"a": 0, "o": 1}]}, ""),
    "cancelByCloid": ({"cancels": [{"asset": 0, "cloid": CLOID}]}, ""),
    "modify": ({"oid": 1, "order": ORDER}, "Cannot modify canceled or filled order."),
    "batchModify": ({"modifies": [{"oid": 1, "order": ORDER}]}, ""),
    "scheduleCancel": ({}, "Cannot set scheduled cancel time until enough volume traded."),
    "updateLeverage": ({"asset": 0, "isCross": True, "leverage": 5}, ""),
    "updateIsolatedMargin": ({"asset": 0, "isBuy": True, "ntli": 1}, "Cannot update margin for empty"),
    "topUpIsolatedOnlyMargin": ({"asset": 0, "leverage": "2"}, "Cannot update margin for empty"),
    "twapOrder": ({"twap": {"a": 0, "b": True, "s": "0.01", "r": False, "m": 5, "t": False}}, ""),
    "twapCancel": ({"a": 0, "t": 1}, ""),
    "setReferrer": ({"code": "CCXT1"}, ""),
    "registerReferrer": ({"code": "MINE"}, "Cannot generate referral code until enough volume"),
    "createSubAccount": ({"name": "sub"}, ""),
    "subAccountModify": ({"subAccountUser": USER, "name": "new"}, "Vault not registered: "),
    "subAccountTransfer": ({"subAccountUser": USER, "isDeposit": True, "usd": 1}, "Vault not registered: "),
    "subAccountSpotTransfer": (
        {"subAccountUser": USER, "isDeposit": True, "token": USDC, "amount": "1"},
        "Vault not registered: ",
    ),
    "vaultTransfer": ({"vaultAddress": USER, "isDeposit": True, "usd": 5_000_000}, "Vault not registered: "),
    "reserveRequestWeight": ({"weight": 1}, ""),
    "noop": ({}, ""),
    "setDisplayName": ({"displayName": "me"}, ""),
    "evmUserModify": ({"usingBigBlocks": True}, ""),
    "spotUser": ({"toggleSpotDusting": {"optOut": True}}, ""),
    "claimRewards": ({}, "No rewards to claim"),
    "agentSetAbstraction": ({"abstraction": "i"}, ""),
    "agentEnableDexAbstraction": ({}, ""),
    "agentSendAsset": (
        {
            "destination": USER,
            "sourceDex": "",
            "destinationDex": "spot",
            "token": USDC,
            "amount": "1",
            "fromSubAccount": "",
            "nonce": 1,
        },
        "Destination must be the account itself",
    ),
    "usdSend": ({"destination": USER, "amount": "1"}, ""),
    "spotSend": ({"destination": USER, "token": USDC, "amount": "1"}, "Insufficient balance for token"),
    "withdraw3": ({"destination": USER, "amount": "2"}, ""),
    "usdClassTransfer": ({"amount": "1", "toPerp": False}, ""),
    "sendAsset": (
        {
            "destination": USER,
            "sourceDex": "",
            "destinationDex": "spot",
            "token": USDC,
            "amount": "1",
            "fromSubAccount": "",
        },
        "",
    ),
    "approveAgent": ({"agentAddress": "0x" + "22" * 20, "agentName": "bot"}, ""),
    "approveBuilderFee": ({"maxFeeRate": "0.01%", "builder": "0x" + "33" * 20}, ""),
    "userSetAbstraction": ({"user": USER, "abstraction": "disabled"}, "Vault not registered: "),
    "userDexAbstraction": ({"user": USER, "enabled": True}, "Vault not registered: "),
}
REFUSED_FIELDS: dict[str, dict[str, Any]] = {
    "tokenDelegate": {"validator": USER, "wei": 1, "isUndelegate": False},
    "cDeposit": {"wei": 1},
    "cWithdraw": {"wei": 1},
    "linkStakingUser": {"user": USER, "isFinalize": False},
    "convertToMultiSigUser": {"signers": "{}"},
    "userPortfolioMargin": {"user": USER, "enabled": True},
    "sendToEvmWithData": {
        "token": USDC,
        "amount": "1",
        "sourceDex": "",
        "destinationRecipient": USER,
        "addressEncoding": "hex",
        "destinationChainId": 1,
        "gasLimit": 1,
        "data": "0x",
    },
}

OF_THE_VENUE = (
    "meta allPerpMetas metaAndAssetCtxs spotMeta spotMetaAndAssetCtxs allMids predictedFundings perpDexs "
    "perpsAtOpenInterestCap maxMarketOrderNtls exchangeStatus outcomeMeta liquidatable vaultSummaries "
    "validatorSummaries validatorL1Votes gossipRootIps gossipPriorityAuctionStatus perpCategories "
    "perpDeployAuctionStatus spotPairDeployAuctionStatus perpConciseAnnotations allBorrowLendReserveStates"
)
OF_A_USER = (
    "clearinghouseState spotClearinghouseState openOrders frontendOpenOrders historicalOrders userFills userFunding "
    "userNonFundingLedgerUpdates userRateLimit userFees userRole extraAgents subAccounts subAccounts2 "
    "userAbstraction userDexAbstraction portfolio referral approvedBuilders legalCheck isVip usdcRouting delegations "
    "delegatorSummary delegatorHistory delegatorRewards userVaultEquities leadingVaults userTwapSliceFills "
    "twapHistory userToMultiSigSigners borrowLendUserState spotDeployState webData2 userDetails"
)
# What is asked of /info beside the type.
INFO: dict[str, dict[str, Any]] = {
    **{kind: {} for kind in OF_THE_VENUE.split()},
    **{kind: {"user": USER} for kind in OF_A_USER.split()},
    "l2Book": {"coin": "BTC"},
    "recentTrades": {"coin": "BTC"},
    "candleSnapshot": {"req": {"coin": "BTC", "interval": "1h", "startTime": 0, "endTime": None}},
    "fundingHistory": {"coin": "BTC", "startTime": 0},
    "marginTable": {"id": 56},
    "perpDexLimits": {"dex": ""},
    "perpDexStatus": {"dex": ""},
    "perpAnnotation": {"coin": "BTC"},
    "tokenDetails": {"tokenId": "0x6d1e7cde53ba9467b783cb7c530ce054"},
    "orderStatus": {"user": USER, "oid": 1},
    "userFillsByTime": {"user": USER, "startTime": 0},
    "userTwapSliceFillsByTime": {"user": USER, "startTime": 0},
    "userBorrowLendInterest": {"user": USER, "startTime": 0},
    "activeAssetData": {"user": USER, "coin": "BTC"},
    "maxBuilderFee": {"user": USER, "builder": USER},
    "preTransferCheck": {"user": USER, "source": USER},
    "vaultDetails": {"vaultAddress": USER},
    "settledOutcome": {"outcome": 1},
    "alignedQuoteTokenInfo": {"token": 0},
    "borrowLendReserveState": {"token": 0},
}


def send(devnet: Server, wallet: LocalAccount, kind: str, fields: dict[str, Any]) -> requests.Response:
    nonce, action = next(NONCES), {"type": kind, **fields}
    if kind in USER_SIGNED:
        name, types = USER_SIGNED[kind]
        action["time" if any(field == "time" for field, _ in types) else "nonce"] = nonce
        listed = [{"name": field, "type": of} for field, of in (("hyperliquidChain", "string"), *types)]
        signed = signing.sign_user_signed_action(
            wallet, action, listed, f"HyperliquidTransaction:{name}", False
        )
    else:
        signed = signing.sign_l1_action(wallet, action, None, nonce, None, False)
    body = {"action": action, "nonce": nonce, "signature": signed}
    return requests.post(f"{devnet.url}/exchange", json=body, timeout=10)


def test_the_tables_hold_everything_that_is_known(devnet: Server) -> None:
    assert set(devnet.door.actions) == set(SERVED) | set(WHAT)
    assert set(MARKET) | set(ACCOUNT) == set(INFO)
    assert set(USER_SIGNED) <= set(devnet.door.actions)


@pytest.mark.parametrize("kind", SERVED)
def test_an_action_is_served(devnet: Server, funded: Funded, kind: str) -> None:
    fields, refusal = SERVED[kind]
    reply = send(devnet, funded(10_000), kind, fields).json()
    if refusal:
        assert reply["status"] == "err"
        assert reply["response"].startswith(refusal)
    else:
        assert reply["status"] == "ok", reply


@pytest.mark.parametrize("kind", WHAT)
def test_an_action_of_what_is_not_simulated_is_refused_in_a_sentence(
    devnet: Server, funded: Funded, kind: str
) -> None:
    reply = send(devnet, funded(100), kind, REFUSED_FIELDS.get(kind, {})).json()
    assert reply["status"] == "err"
    assert reply["response"].startswith(WHAT[kind])
    assert reply["response"].endswith("not part of this devnet.")


@pytest.mark.parametrize("kind", INFO)
def test_a_question_is_answered(devnet: Server, kind: str) -> None:
    reply = requests.post(f"{devnet.url}/info", json={"type": kind, **INFO[kind]}, timeout=10)
    assert reply.status_code == 200, reply.text
    reply.json()


@pytest.mark.parametrize("kind", [kind for kind, fields in INFO.items() if fields])
def test_a_question_without_what_it_needs_is_422(devnet: Server, kind: str) -> None:
    reply = requests.post(f"{devnet.url}/info", json={"type": kind}, timeout=10)
    assert (reply.status_code, reply.text) == (
        422,
        "Failed to deserialize the JSON body into the target type",
    )


def test_an_action_that_nobody_knows_is_422(devnet: Server, funded: Funded) -> None:
    assert send(devnet, funded(100), "buyTheMoon", {}).status_code == 422
