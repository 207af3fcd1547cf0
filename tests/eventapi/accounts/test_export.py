"""Laws of exports: exactly the lines about a user, opened without secrets, all proven."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventapi.accounts.export import (
    MAX_EXPORTS,
    MAX_EXPORTS_PER_USER,
    Export,
    ExportLimit,
    positions_about,
)
from eventapi.queries.history import History
from eventapi.testing.given import Happened, created, folded_records, registered
from eventapi.testing.histories import sound_histories
from eventapi.testing.sample_log import Written, erased_users, key_of, write
from events.errors import Overloaded
from events.record import Event, entity_number
from events.sealing import Keyring
from events.transparency.checkpoints import Checkpoints
from events.transparency.signing.memory import MemorySigning
from events.transparency.tree import Tree
from events.vault.memory import MemoryVault
from events.vocabulary.keys import KeyCreated, KeyName, KeyRevoked, KeyUsed
from events.vocabulary.resources import Created, ResourceEvent
from events.vocabulary.sessions import Device, SessionStarted
from events.vocabulary.users import (
    EmailChange,
    RecoveryHashes,
    TotpSecret,
    UserEmailChanged,
    UserErased,
    UserRegistered,
    UserTotpEnabled,
    UserTotpStarted,
)
from projections.state import State
from tests.eventapi.accounts.exports import checker, exported
from tests.eventapi.http.resources.kinds import KINDS

CHECKER = checker()


class World:
    """A log with its state, and the means to export from it."""

    def __init__(self, written: Written) -> None:
        self.written = written
        log = written.log
        self.state = folded_records(written.records, *(one.type for one in KINDS.resources))
        keyring = Keyring()
        for subject in written.keys.keys() - erased_users(self.state):
            keyring.add(subject, key_of(subject))
        self.keyring = keyring
        vocabulary = self.state.vocabulary
        self.history = History(log, keyring, MemoryVault(), None, lambda: vocabulary)
        self.checkpoints = Checkpoints(Tree(log), MemorySigning())

    async def export(self, user: int) -> bytes:
        """The export of a user."""
        positions = await positions_about(self.state, user)
        proofs = await self.checkpoints.proofs()
        export = Export(self.history, self.keyring, f"users/{user}", proofs)
        parts = [await export.part(positions[at : at + 3]) for at in range(0, len(positions), 3)]
        return b"".join(parts)


def persons_of(history: Sequence[Happened]) -> list[int]:
    """The user that each event is about: by its account, or as the owner of its resource.

    It knows nothing of the tables: it notes who each subject belongs to when that begins.
    """
    belongs: dict[str, int] = {}
    found = []
    for subject, event in history:
        if isinstance(event, SessionStarted | KeyCreated):
            belongs[subject] = event.user
        elif isinstance(event, Created):
            belongs[subject] = event.owner
        elif subject.startswith("users/"):
            belongs[subject] = entity_number(subject)
        found.append(belongs.get(subject, 0))
    return found


def account_events(user: int, number: int) -> st.SearchStrategy[list[Happened]]:
    """Some events about keys, the second factor and the address of a user."""
    subject, key = f"users/{user}", f"keys/k{number}"
    events: list[tuple[str, Event]] = [
        (key, KeyCreated(user, ("read",), "hash", personal=KeyName("key"))),
        (key, KeyUsed(personal=Device("::1"))),
        (key, KeyRevoked()),
        (subject, UserTotpStarted(personal=TotpSecret("TOTP-SECRET"))),
        (subject, UserTotpEnabled(1, personal=RecoveryHashes(["RECOVERY"]))),
        (subject, UserEmailChanged(personal=EmailChange(f"{number}@new", "old"))),
    ]
    return st.integers(1, len(events)).map(lambda size: events[:size])


@st.composite
def mixed_histories(draw: st.DrawFn) -> list[Happened]:
    """Histories of several users with resources, shares, keys and second factors."""
    found: list[Happened] = []
    waiting: list[tuple[int, Happened]] = []
    alive: list[int] = []
    for number, (subject, event) in enumerate(draw(sound_histories(KINDS))):
        found.append((subject, event))
        if isinstance(event, UserErased):
            gone = entity_number(subject)
            alive.remove(gone)
            waiting = [(user, happened) for user, happened in waiting if user != gone]
        if isinstance(event, UserRegistered):
            alive.append(entity_number(subject))
        if alive and not draw(st.integers(0, 3)):
            user = draw(st.sampled_from(alive))
            waiting += [(user, happened) for happened in draw(account_events(user, number))]
        continues = draw(st.booleans())
        if waiting and continues:
            found.append(waiting.pop(0)[1])
    return found


def secrets_of(event: Event) -> list[str]:
    """The secrets among the personal values of an event."""
    names = ("password_hash", "secret", "recovery_hashes")
    personal = None if isinstance(event, ResourceEvent) else getattr(event, "personal", None)
    return [name for name in names if hasattr(personal, name)]


@given(mixed_histories())
async def test_an_export_has_exactly_the_lines_about_its_user(history: list[Happened]) -> None:
    world = World(write(history))
    persons = persons_of(history)
    vkey = (await world.checkpoints.verifier()).vkey if history else ""
    for user in world.state.users.by_id.values():
        if user.status == "erased":
            continue
        own = [at for at, person in enumerate(persons) if person == user.id]

        lines = exported(await world.export(user.id))

        assert [bytes(one.record) for one in lines] == [world.written.lines[at] for at in own]
        for at, one in zip(own, lines, strict=True):
            event: Any = world.written.records[at].event
            personal = getattr(event, "personal", None)
            values: Any = None if personal is None else msgspec.to_builtins(personal)
            for name in secrets_of(event):
                del values[name]
            assert one.personal == values
        _check(vkey, lines)


def _check(vkey: str, lines: Sequence[Any]) -> None:
    """Check each proof by the program that was written from the documents alone."""
    key = CHECKER.Key(vkey)
    for one in lines:
        position = int(msgspec.json.decode(one.record)["id"])
        first = ["c2sp.org/tlog-proof@v1", f"index {position - 1}"]
        hashes, checkpoint = CHECKER.proof_of(one.proof.encode(), first)
        size, root = key.head_of(checkpoint)
        leaf = CHECKER.sha256(b"\0", bytes(one.record))
        assert CHECKER.included_root(position - 1, size, leaf, hashes) == root


async def test_the_state_may_move_on_while_an_export_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The export is that of the position at which it began."""
    monkeypatch.setattr("eventapi.accounts.export._RESOURCES_PER_TURN", 1)
    history = [registered(1, "ann"), *(created(number, 1) for number in range(1, 6))]
    more = [created(6, 1), ("items/1", KINDS.item.type.deleted())]
    written = write([*history, *more])
    state = folded_records(written.records[: len(history)])

    async def move_on() -> None:
        for record in written.records[len(history) :]:
            state.apply(record)

    positions, _ = await asyncio.gather(positions_about(state, 1), move_on())

    assert state.position == len(history) + 2
    assert list(positions) == list(range(1, len(history) + 1))


async def test_an_event_after_the_checkpoint_has_no_proof() -> None:
    world = World(write([registered(1, "ann"), created(1, 1)]))
    proofs = await World(write([registered(1, "ann")])).checkpoints.proofs()

    for given_proofs, proven in ((proofs, [True, False]), (None, [False, False])):
        export = Export(world.history, world.keyring, "users/1", given_proofs)
        lines = exported(await export.part([1, 2]))
        assert [one.proof is not None for one in lines] == proven


def test_the_number_of_exports_is_limited_for_a_user_and_for_all() -> None:
    limit = ExportLimit()

    def admitted(*users: int) -> list[Any]:
        contexts = [limit.admit(user) for user in users]
        for context in contexts:
            context.__enter__()
        return contexts

    contexts = admitted(*[1] * MAX_EXPORTS_PER_USER)
    with pytest.raises(Overloaded), limit.admit(1):
        pass
    contexts += admitted(*range(2, 2 + MAX_EXPORTS - MAX_EXPORTS_PER_USER))
    with pytest.raises(Overloaded), limit.admit(999):
        pass
    for context in contexts:
        context.__exit__(None, None, None)
    with limit.admit(1):
        assert limit._exports.total() == 1
    assert not limit._exports


def test_control_a_state_without_events_has_nothing_to_export() -> None:
    state = State.empty(KINDS.vocabulary)

    assert list(asyncio.run(positions_about(state, 1))) == []
