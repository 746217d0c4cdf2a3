"""What a strategy answers, held to what an answer must be: a plugin's mistake may cost its own opinion, nothing more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bot.model.decision import Opinion
from bot.model.rows import same
from bot.pipeline.strategy import SignalTable, Strategy, View, what_failed


def answer(strategy: Strategy, table: SignalTable, view: View, quarantine: str = "") -> Opinion:
    """The strategy's opinion at one moment, with its last scores where its data is incomplete.

    Where it gives none that can be used (it raises, or scores are not one number within ±1 for each coin, or its
    because can't be filled), and where it is not asked because of a `quarantine`, the opinion has a `problem`.
    """
    problem = quarantine or table.problem
    if not problem:
        try:
            opinion = _whole(strategy.forecast(view), table, view)
            if opinion.because not in table.told:
                _try_out(opinion)
                table.told.add(opinion.because)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a plugin does wrong
            problem = str(error) if isinstance(error, _Unusable) else what_failed(error)
        else:
            return opinion
    nowhere = np.zeros(len(view.instruments), dtype=np.bool_)
    return Opinion(view.previous, "", {}, nowhere, problem=problem)


class _Unusable(Exception):
    """An answer that breaks a rule; the message says which."""


def _whole(opinion: object, table: SignalTable, view: View) -> Opinion:
    if not isinstance(opinion, Opinion):
        raise _Unusable(f"forecast() returned {type(opinion).__name__}, not view.opinion(scores, because)")
    previous, given = view.previous, opinion.scores
    if type(given) is not np.ndarray or given.dtype != np.float64:
        given = np.asarray(given, dtype=np.float64)
        opinion = replace(opinion, scores=given)
    shape, ready, edge = previous.shape, opinion.ready, opinion.edge
    if given.shape != shape or edge is not None or type(ready) is not np.ndarray or ready.shape != shape:
        for name, values in (("scores", given), ("ready", ready), ("edge", edge)):
            if values is not None and getattr(values, "shape", ()) != shape:
                raise _Unusable(
                    f"forecast() gave {name} of shape {np.shape(values)} for {len(previous)} coins"
                )
    if not table.all_ready[view.row]:
        given = np.where(opinion.ready, given, previous)
        opinion = replace(opinion, scores=given)
    if same(given, previous):
        return opinion
    within = np.abs(given) <= 1  # false for NaN too
    if np.count_nonzero(within) < len(given):
        worst = int(np.argmin(within))
        raise _Unusable(
            f"forecast() gave {view.instruments[worst]} a score of {given[worst]:g}, which is outside −1 … +1"
        )
    return opinion


def _try_out(opinion: Opinion) -> None:
    """Fill the because in for the last coin that has its data."""
    if not isinstance(opinion.because, str):
        raise _Unusable(f"because is {type(opinion.because).__name__}, it must be a text")
    known = np.flatnonzero(opinion.ready)
    if not len(known):
        return
    try:
        opinion.filled(int(known[-1]))
    except KeyError as error:
        named = ", ".join(opinion.values)
        raise _Unusable(f"the because-template names {error}, which is none of {named}") from None
    except Exception as error:  # noqa: BLE001 - formatting may raise anything
        what = f"{type(error).__name__}: {error}"
        raise _Unusable(f"the because-template {opinion.because!r} can't be filled ({what})") from None
