"""Actions of the venue that the devnet knows and refuses, each in a sentence: what they act on is not simulated."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from bot.devnet.exchange_actions import Exchange
from bot.devnet.wire import Fields
from bot.errors import Refused

WHAT: Final = {
    "tokenDelegate": "Staking",
    "cDeposit": "Staking",
    "cWithdraw": "Staking",
    "linkStakingUser": "Staking",
    "CSignerAction": "Validating",
    "CValidatorAction": "Validating",
    "validatorL1Stream": "Validating",
    "gossipPriorityBid": "The priority auction",
    "convertToMultiSigUser": "Multi-signature accounts",
    "multiSig": "Multi-signature accounts",
    "createVault": "Vaults",
    "vaultModify": "Vaults",
    "vaultDistribute": "Vaults",
    "borrowLend": "Borrowing",
    "userPortfolioMargin": "Portfolio margin",
    "perpDeploy": "Deploying",
    "spotDeploy": "Deploying",
    "sendToEvmWithData": "The EVM",
    "finalizeEvmContract": "The EVM",
    "userOutcome": "Outcome markets",
}


def _refuse(what: str, door: Exchange, user: str, action: Fields) -> Any:  # noqa: ARG001
    verb = "are" if what.endswith("s") else "is"
    raise Refused(f"{what} {verb} not part of this devnet.")


REFUSED: Final[dict[str, Callable[[Exchange, str, Fields], Any]]] = {
    kind: partial(_refuse, what) for kind, what in WHAT.items()
}
