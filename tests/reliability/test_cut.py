"""A slice of the cuts of a journal's log, and whether they bite. All of them: `python -m tests.reliability.cut`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bot.venues.hyperliquid.books import Books
from tests.reliability import cut


@pytest.mark.slow
@pytest.mark.parametrize("moved", [True, False])
def test_a_log_cut_anywhere_comes_to_the_venues_books_or_is_refused(tmp_path: Path, moved: bool) -> None:
    shown = cut.run(tmp_path, 1, every=12, moved=moved)
    assert shown["wrong"] == 0, shown["examples"]
    assert shown["went on"] > 10
    assert shown.get("refused", 0) == 0 if moved else shown["refused"] > 0


def test_a_start_that_passes_over_a_fill_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right, again, restarted = Books.take_fills, cut.start_again, list[bool]()

    def take_fills(books: Books, told: Sequence[Any]) -> Any:
        return right(books, told[:-1] if restarted else told)

    def start_again(*given: Any) -> Any:
        restarted.append(True)
        return again(*given)

    monkeypatch.setattr(Books, "take_fills", take_fills)
    monkeypatch.setattr(cut, "start_again", start_again)
    assert cut.run(tmp_path, 1, every=30)["wrong"] > 0
