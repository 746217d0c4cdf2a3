"""POST /info about what the devnet does not simulate: the empty or neutral answer, in the shape that clients parse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bot.devnet.exchange_actions import Exchange
from bot.devnet.wire import Fields, Malformed
from bot.devnet.world import World

_AUCTION_S: Final = 111_600


def _auction(world: World, _: Fields) -> Any:
    """A deployment auction that nobody bids in."""
    return {
        "startTimeSeconds": world.now_ms // 1000 // _AUCTION_S * _AUCTION_S,
        "durationSeconds": _AUCTION_S,
        "startGas": "500.0",
        "currentGas": "500.0",
        "endGas": None,
    }


def _dex(answer: Any) -> Callable[[World, Fields], Any]:
    def ask(_: World, fields: Fields) -> Any:
        if fields.string("dex"):
            raise Malformed
        return answer

    return ask


def _needs(name: str, answer: Any) -> Callable[[World, Fields], Any]:
    """The same answer whatever the field says, as long as it is there."""

    def ask(_: World, fields: Fields) -> Any:
        if fields.of.get(name) is None:
            raise Malformed
        return answer

    return ask


_RESERVE: Final = {
    "borrowYearlyRate": "0.0",
    "supplyYearlyRate": "0.0",
    "balance": "0.0",
    "utilization": "0.0",
    "oraclePx": "1.0",
    "ltv": "0.0",
    "totalSupplied": "0.0",
    "totalBorrowed": "0.0",
}

NEUTRAL: Final[dict[str, Callable[[World, Fields], Any]]] = {
    "perpsAtOpenInterestCap": lambda *_: [],
    "perpDexs": lambda *_: [None],
    "perpDexLimits": _dex(None),
    "perpDexStatus": _dex({"totalNetDeposit": "0.0"}),
    "perpCategories": lambda *_: [],
    "perpAnnotation": _needs("coin", None),
    "perpConciseAnnotations": lambda *_: [],
    "outcomeMeta": lambda *_: {"outcomes": [], "questions": []},
    "settledOutcome": _needs("outcome", None),
    "liquidatable": lambda *_: [],
    "vaultSummaries": lambda *_: [],
    "vaultDetails": _needs("vaultAddress", None),
    "validatorSummaries": lambda *_: [],
    "validatorL1Votes": lambda *_: [],
    "gossipRootIps": lambda *_: [],
    "gossipPriorityAuctionStatus": lambda *_: [],
    "perpDeployAuctionStatus": _auction,
    "spotPairDeployAuctionStatus": _auction,
    "alignedQuoteTokenInfo": _needs(
        "token",
        {
            "isAligned": False,
            "firstAlignedTime": 0,
            "evmMintedSupply": "0.0",
            "dailyAmountOwed": [],
            "predictedRate": "0.0",
        },
    ),
    "borrowLendReserveState": _needs("token", _RESERVE),
    "allBorrowLendReserveStates": lambda *_: [],
}
"""Of the venue as a whole."""


def _pre_transfer_check(door: Exchange, user: str, fields: Fields) -> Any:
    fields.address("source")
    exists = door.world.exists(user)
    return {
        "fee": "0.0" if exists else "1.0",
        "isSanctioned": False,
        "userExists": exists,
        "userHasSentTx": exists and door.world.records(user).requests > 0,
    }


NEUTRAL_OF_USER: Final[dict[str, Callable[[Exchange, str, Fields], Any]]] = {
    "userVaultEquities": lambda *_: [],
    "leadingVaults": lambda *_: [],
    "userToMultiSigSigners": lambda *_: None,
    "delegations": lambda *_: [],
    "delegatorHistory": lambda *_: [],
    "delegatorRewards": lambda *_: [],
    "delegatorSummary": lambda *_: {
        "delegated": "0.0",
        "undelegated": "0.0",
        "totalPendingWithdrawal": "0.0",
        "nPendingWithdrawals": 0,
    },
    "isVip": lambda *_: False,
    "legalCheck": lambda *_: {"ipAllowed": True, "acceptedTerms": True, "userAllowed": True},
    "preTransferCheck": _pre_transfer_check,
    "usdcRouting": lambda *_: None,
    "borrowLendUserState": lambda *_: {"tokenToState": [], "health": "healthy", "healthFactor": None},
    "userBorrowLendInterest": lambda *_: [],
    "spotDeployState": lambda door, _, fields: {"states": [], "gasAuction": _auction(door.world, fields)},
    "userDetails": lambda *_: {"type": "userDetails", "txs": []},
}
"""Of one user."""
