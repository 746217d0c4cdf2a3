"""What a decision was made from, in the form in which the journal keeps it."""

from __future__ import annotations

from bot.journal.inputs import ByHand, Inputs, digest
from bot.pipeline.snapshot import Snapshot


def inputs_of(snapshot: Snapshot, by_hand: ByHand | None = None) -> Inputs:
    """All that the journal has to keep of a snapshot beside the market's rows."""
    panel = snapshot.market.prepared.panel
    guards = (snapshot.guards or {}).items()
    return Inputs(
        account=snapshot.account,
        memory=snapshot.memory,
        state=snapshot.state,
        guards={name: (guard.stop_loss, guard.take_profit) for name, guard in guards},
        quarantined=dict(snapshot.quarantined or {}),
        rows=panel.rows,
        market_digest=digest(panel),
        by_hand=by_hand,
    )
