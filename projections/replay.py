"""Fold a log into a State, and read models that are behind a State."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from events.codec import decode, open_seal
from events.errors import DamagedLog, UnknownEvent
from events.io.garbage import pause_gc
from events.log.check import ends_at, follow_chain
from events.log.port import EventLog, Head
from events.messages.server_log import SNAPSHOT_OF_OTHER_LOG
from events.record import START, Record, all_timestamps_valid
from events.sealing import Keyring, damage_of
from events.vault.port import Vault
from events.vocabulary.schemas import SchemaDeclared
from events.vocabulary.users import UserErased
from events.vocabulary.vocabulary import Vocabulary, is_undeclared
from events.well_formed import data_timestamps
from projections.read_models import ReadModels
from projections.snapshots import Snapshots
from projections.state import State

logger = logging.getLogger("projections.replay")

LINES_PER_TURN: Final = 64
"""Lines that read models fold before other tasks run."""

Progress = Callable[[int], None]
"""Called from time to time with the position that the replay has reached."""

Belongs = Callable[[EventLog, State, Progress | None], Awaitable[bool]]
"""Whether the state of a snapshot is of a log; raises `DamagedLog`."""


async def open_records(
    lines: Sequence[bytes], state: State, keyring: Keyring, vault: Vault
) -> list[Record]:
    """Decode lines that follow a state, and open all seals whose keys exist.

    Raises `DamagedLog`, `UnknownEvent` and `VaultUnavailable`.
    """
    vocabulary = state.vocabulary
    records = decode(lines, keyring, vocabulary, state.last)
    closed = [record for record in records if record.sealedfor and record.sealedfor not in keyring]
    if closed:
        for subject, key in (await vault.get({record.sealedfor for record in closed})).items():
            keyring.add(subject, key)
        for record in closed:
            line = lines[record.position - state.position - 1]
            try:
                open_seal(record, line, keyring, vocabulary)
            except ValueError as error:
                start = record.end - len(line) - 1
                raise damage_of(error, record.sealedfor, record.position, start) from None
    _check_times(records, lines)
    _check_declared(records, state)
    return records


def _check_declared(records: Sequence[Record], state: State) -> None:
    """Raise `UnknownEvent` for a resource of a kind that the log has not declared."""
    declared = {*state.resources.schemas}
    for record in records:
        event = record.event
        if isinstance(event, SchemaDeclared):
            declared.add(event.kind)
        elif is_undeclared(event, declared):
            raise UnknownEvent(f"position {record.position}: event type {event.type!r} is unknown")


def _check_times(records: Sequence[Record], lines: Sequence[bytes]) -> None:
    """Raise `DamagedLog` for an invalid time, because tables and responses parse it."""
    times = [record.time for record in records]
    if all_timestamps_valid(times + data_timestamps(record.event for record in records)):
        return
    for record, line in zip(records, lines, strict=True):
        if not all_timestamps_valid([record.time, *data_timestamps([record.event])]):
            reason = "it has a time that does not exist, or is not of the log's form"
            start = record.end - len(line) - 1
            raise DamagedLog(reason, position=record.position, offset=start)


def apply_all(records: Sequence[Record], state: State, keyring: Keyring) -> None:
    """Apply records that are new to the state, and drop the keys of erased users."""
    if not records:
        return
    apply = state.apply
    record, start = records[0], state.last.end
    try:
        for record in records[max(state.position + 1 - records[0].position, 0) :]:
            apply(record)
            if type(record.event) is UserErased:
                keyring.pop(record.subject, None)
    except (ValueError, OverflowError) as error:
        start = next((one.end for one in records if one.position == record.position - 1), start)
        raise DamagedLog(str(error), position=record.position, offset=start) from error


async def replay(
    log: EventLog,
    keyring: Keyring,
    vault: Vault,
    vocabulary: Vocabulary,
    *,
    position: int | None = None,
    time: str | None = None,
    snapshots: Snapshots | None = None,
    belongs_to: Belongs | None = None,
    progress: Progress | None = None,
    defer_read_models: bool = False,
) -> State:
    """Fold the log: all of it, up to a position, or up to a time.

    ``time`` has the form of a record's. The keyring gets the keys of the users in the state. With
    ``snapshots`` the fold starts from the newest usable one; the hash chain of the lines below it
    is still checked, unless ``belongs_to`` checks less. Read models that it does not have are
    folded from zero; with ``defer_read_models`` that is left to the caller: see `fold_read_models`.
    """
    with pause_gc():
        state = State.empty(vocabulary)
        if snapshots is not None:
            # Read the position before the keys: a snapshot with users of a later position would
            # be used without their keys.
            upto = log.position if position is None else min(position, log.position)
            keys = await _all_keys(vault)
            found = await asyncio.to_thread(snapshots.newest, keys, position=upto, time=time)
            if found is None:
                pass
            elif await (belongs_to or _belongs_to)(log, found, progress):
                state = found
                _forget_unused_keys(keys, state)
                keyring.update(keys)
            else:
                logger.warning(SNAPSHOT_OF_OTHER_LOG.fill(position=found.position))
        loaded = False
        async for lines in log.read(state.position, position):
            if not loaded:
                # Read the keys only after the read has fixed its end: until the first line of a
                # user is published, the key with that number may be left over from a failed write.
                keyring.update(await _all_keys(vault))
                loaded = True
            records = await open_records(lines, state, keyring, vault)
            if time is not None and records[-1].time > time:
                apply_all([record for record in records if record.time <= time], state, keyring)
                break
            apply_all(records, state, keyring)
            if progress is not None:
                progress(state.position)
    _forget_unused_keys(keyring, state)
    if not defer_read_models:
        await fold_read_models(log, state, vocabulary)
    return state


async def fold_read_models(log: EventLog, state: State, vocabulary: Vocabulary) -> None:
    """Fold the read models that are behind a state; the state may move on.

    They are folded from zero. ``vocabulary`` is that of the first record. No key is needed. Raises
    the errors of `EventLog.read`.
    """
    models = ReadModels(state.read_models.behind)
    last = START
    while models.current and last.position < state.position:
        async for lines in log.read(last.position, state.position):
            for start in range(0, len(lines), LINES_PER_TURN):
                turn = lines[start : start + LINES_PER_TURN]
                for record in decode(turn, Keyring(), vocabulary, last):
                    models.apply(record, state.owner_of(record))
                    if isinstance(record.event, SchemaDeclared):
                        collection = record.subject.partition("/")[2]
                        vocabulary = vocabulary.after(record.event, collection)
                    last = record
                await asyncio.sleep(0)
    # Nothing was awaited since the positions were compared, so the state has not moved.
    state.read_models.adopt(models)


def check_head(head: Head, state: State) -> None:
    """Raise `DamagedLog` unless a state ends at the head of its log."""
    if head.hash != state.last.hash:
        raise DamagedLog(
            "the log is not the one that its mark speaks of",
            position=state.position,
            offset=state.last.end,
        )


async def has_last_line(log: EventLog, state: State, _: Progress | None) -> bool:
    """Whether a log has the last line of a snapshot: the cheap check, as `Belongs`.

    The hash of that line covers all lines before it, so the state is the one of the intact log.
    Whether the lines before it are still intact is not checked.
    """
    return await ends_at(log, Head(state.position, state.last.hash))


async def _belongs_to(log: EventLog, state: State, progress: Progress | None) -> bool:
    """Whether a snapshot is of this log.

    Raises `DamagedLog` if the hash chain up to the snapshot is broken.
    """
    reached = START
    async for reached, _ in follow_chain(log, START, state.position):
        if progress is not None:
            progress(reached.position)
    return reached.hash == state.last.hash


async def _all_keys(vault: Vault) -> Keyring:
    keyring = Keyring()
    for subject, key in (await vault.all()).items():
        keyring.add(subject, key)
    return keyring


def _forget_unused_keys(keyring: Keyring, state: State) -> None:
    for subject in keyring.keys() - {user.subject for user in state.users.by_id.values()}:
        del keyring[subject]
