"""The table of recorded failed logins: which windows it keeps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, msgpack

from eventapi.testing.given import Happened, at, folded_records, records_of
from events.vocabulary.security import LoginFailed
from projections.tables.failed_logins import WINDOWS_KEPT, FailedLogins

numbers = st.lists(st.integers(0, 15), max_size=30)


def folded(windows: list[int]) -> FailedLogins:
    history: list[Happened] = [
        (f"security/{number:032x}", LoginFailed(at(600 * window), 1, "ab"))
        for number, window in enumerate(windows)
    ]
    return folded_records(records_of(history)).failed_logins


@given(numbers)
def test_the_events_of_the_newest_windows_are_known_and_no_others(windows: list[int]) -> None:
    """An event of an older window is never forgotten and then written again."""
    table = folded(windows)
    newest = sorted(set(windows))[-WINDOWS_KEPT:]
    assert table.windows == tuple(at(600 * window) for window in newest)
    for number, window in enumerate(windows):
        key = (at(600 * window), f"security/{number:032x}", "ab")
        assert table.has(*key)
        assert (key in table.recorded) <= (window in newest)


@given(numbers, st.integers(0, 15))
def test_an_unknown_event_of_a_kept_or_newer_window_is_not_in_the_log(
    windows: list[int], window: int
) -> None:
    table = folded(windows)
    newest = sorted(set(windows))[-WINDOWS_KEPT:]
    is_old = len(newest) == WINDOWS_KEPT and window < newest[0]
    assert table.has(at(600 * window), "users/1", "ab") is is_old


@given(numbers)
def test_a_snapshot_has_all_of_it(windows: list[int]) -> None:
    table, loaded = folded(windows), FailedLogins()
    loaded.load_shared(Raw(msgpack.encode(table.export_shared())))
    assert (loaded.windows, loaded.recorded) == (table.windows, table.recorded)
