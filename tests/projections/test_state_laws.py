"""The laws of the fold, for any history."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventapi.testing.given import Happened, folded_records, records_of, registered
from eventapi.testing.items import ITEM, ITEMS, empty_state
from eventapi.testing.sample_log import write
from eventapi.testing.strategies import sound_histories, wild_histories
from events.codec import decode
from events.record import Event
from events.sealing import Keyring
from events.vocabulary.resources import ResourceEvent
from events.vocabulary.schemas import SchemaDeclared
from events.vocabulary.signing_keys import LogResumed
from events.vocabulary.vocabulary import CORE
from projections.state import State
from projections.tables.resources import _ON
from tests.kinds import KINDS


def sums(state: State) -> tuple[str, str]:
    """Both sums of a state."""
    return state.digest(), state.checksum()


def test_the_fold_knows_every_event_of_the_vocabulary() -> None:
    assert set(empty_state()._apply) == set(CORE)
    events = set(KINDS.events) - set(CORE)
    assert {event.verb for event in events if issubclass(event, ResourceEvent)} == set(_ON)


@given(wild_histories())
def test_the_fold_never_raises_on_a_known_event(history: list[Happened]) -> None:
    """Not on unknown numbers, double deletions or values whose key is gone."""
    state = folded_records(records_of(history))
    assert state.position == len(history)
    sums(state)


@given(wild_histories(), st.integers(0, 30))
def test_staged_state_does_not_change_its_base(history: list[Happened], cut: int) -> None:
    records = records_of(history)
    base = folded_records(records[:cut])
    before = sums(base)
    draft = base.stage()
    assert sums(draft) == before
    for record in records[cut:]:
        draft.apply(record)
    assert sums(base) == before


@given(wild_histories(), st.integers(0, 30), st.integers(1, 3))
def test_staged_state_of_any_depth_folds_like_its_base(
    history: list[Happened], cut: int, depth: int
) -> None:
    records = records_of(history)
    base = folded_records(records[:cut])
    draft = base
    for _ in range(depth):
        draft = draft.stage()
    in_draft = [draft.apply(record) for record in records[cut:]]
    in_base = [base.apply(record) for record in records[cut:]]
    assert in_draft == in_base
    assert sums(draft) == sums(base)


@given(sound_histories())
def test_every_prefix_folds_to_the_state_that_was_live_then(history: list[Happened]) -> None:
    records = records_of(history)
    live = empty_state()
    for count, record in enumerate(records, 1):
        live.apply(record)
        assert sums(folded_records(records[:count])) == sums(live)


@given(sound_histories())
def test_indexes_agree_with_the_tables(history: list[Happened]) -> None:
    state = folded_records(records_of(history))
    users = [user for user in state.users.by_id.values() if user.status != "erased"]
    assert state.users.ids_by_name == {user.username.casefold(): user.id for user in users}
    addresses = [(user.email, user.id) for user in users]
    addresses += [(user.pending_email, user.id) for user in users if user.pending_email]
    assert state.users.ids_by_email == {address.casefold(): user for address, user in addresses}
    for owner in range(6):
        theirs = [item.id for item in state["items"].by_id.values() if item.owner == owner]
        assert list(state["items"].by_owner[owner]) == sorted(theirs)
        logged_in = {one.id for one in state.sessions.by_id.values() if one.user == owner}
        assert state.sessions.ids_by_user.get(owner, frozenset()) == logged_in
    assert not set(state["items"].by_id) & set(state["items"].deleted)


@given(sound_histories())
def test_the_digest_needs_no_key(history: list[Happened]) -> None:
    """With the log alone, the digest is the same as with all keys."""
    written = write(history)
    blind = folded_records(decode(written.lines, Keyring(), ITEMS))
    assert blind.digest() == folded_records(written.records).digest()


def test_the_checksum_needs_every_key() -> None:
    """The control: the two sums are not the same thing."""
    written = write([registered(1, "ann")])
    blind = folded_records(decode(written.lines, Keyring(), ITEMS))
    assert blind.checksum() != folded_records(written.records).checksum()


@given(sound_histories())
def test_every_event_changes_the_digest(history: list[Happened]) -> None:
    """The control: a digest that never changed would pass every other test here."""
    state = empty_state()
    for record in records_of(history):
        before = state.digest()
        state.apply(record)
        is_digested = not record.event.type.startswith(("security.", "audit."))
        assert (state.digest() != before) is is_digested


@pytest.mark.long
def test_sound_histories_are_rich() -> None:
    """The control: laws about histories are empty if the histories are."""
    lengths: list[int] = []
    kinds: set[type[Event]] = set()

    @settings(max_examples=300, database=None, derandomize=True)
    @given(sound_histories())
    def look(history: list[Happened]) -> None:
        lengths.append(len(history))
        kinds.update(type(event) for _, event in history)

    look()
    # The others change nothing, or no command writes them about items.
    others = {LogResumed, SchemaDeclared, ITEM.type.shared, ITEM.type.unshared}
    assert kinds == set(ITEMS.events) - others
    assert sum(lengths) / len(lengths) > 5
