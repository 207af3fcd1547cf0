"""A server starts on every log that verifies, and can read all of it."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventapi.bootstrap.storage import SYSTEM
from eventapi.cli import db_json, show
from eventapi.cli.failures import Failure
from eventapi.commands.command import Command
from eventapi.commands.sessions import Lifetime, StartSession
from eventapi.commands.users import DisableUser, EraseUser, GrantRole, RegisterUser
from eventapi.journal.batch import IdempotencyKey
from eventapi.journal.journal import Journal
from eventapi.journal.origin import NO_ORIGIN, Origin
from eventapi.queries.history import History
from eventapi.queries.subscriptions import EventFilter, kind_of, subject_of
from eventapi.queries.summary import summary_of
from eventapi.testing.given import at, profile
from eventapi.testing.items import ITEMS, Content, create_item, delete_item, import_item
from events.codec import link
from events.errors import EventapiError
from events.log.memory import MemoryLog
from events.log.port import Head
from events.record import GENESIS
from events.vault.memory import MemoryVault
from events.verification import checks
from events.verification.report import Report
from events.verification.scan import SEGMENT_BYTES
from events.verification.verify import verify
from events.vocabulary.sessions import Device
from projections.snapshots import Snapshots

KEY = "ab" * 32


async def _sample_log() -> tuple[list[bytes], dict[str, bytes]]:
    """Lines with every kind of member, and the keys to them."""
    log, vault = MemoryLog(), MemoryVault()
    journal = Journal(log, vault, ITEMS, SYSTEM)
    await journal.start()
    commands: list[Command] = [
        RegisterUser(profile("ann"), 'operator/j"rg'),
        RegisterUser(profile("ben"), created_at=at(1)),
        GrantRole("ann", "auditor", "operator/root"),
        StartSession(
            1, "hash of ann", "s" * 32, "a secret", Lifetime(9_000, 9_000), Device("::1", "curl")
        ),
        import_item("ann", Content("one"), at(2), 3, 5, "operator/root"),
        create_item(2, Content("two")),
        DisableUser("ben", "operator/root"),
        EraseUser("ben", "operator/root"),
    ]
    for command in commands:
        await journal.execute(command, Origin("request-1"))
    created = await journal.execute(
        create_item(1, Content("three")), NO_ORIGIN, IdempotencyKey(KEY, bytes(32))
    )
    await journal.execute(delete_item(1, int(created.record.subject[6:])))
    await journal.execute_all([create_item(1, Content("four")), create_item(1, Content("five"))])
    await journal.close()
    return [line async for run in log.read() for line in run], await vault.all()


LINES, KEYS = asyncio.run(_sample_log())
Pairs = list[tuple[str, Any]]


def bodies() -> Iterator[Pairs]:
    """The members of each line in their order, without the hash."""
    for line in LINES:
        yield list(json.loads(line).items())[:-1]


def text_of(pairs: Pairs) -> bytes:
    """A JSON object with these members, possibly duplicate, without its last brace."""
    members = (
        f"{json.dumps(name)}:{json.dumps(value, separators=(',', ':'), ensure_ascii=False)}"
        for name, value in pairs
    )
    return ("{" + ",".join(members)).encode()


def chain(texts: Sequence[bytes]) -> list[bytes]:
    lines, previous = [], GENESIS
    for body in texts:
        previous = link(previous, body)
        lines.append(body + b',"hash":"' + previous.hex().encode() + b'"}')
    return lines


def change_line(number: int, change: Callable[[Pairs], Pairs | bytes]) -> list[bytes]:
    """The log with one line changed and a valid hash chain."""
    texts = []
    for at_, pairs in enumerate(bodies()):
        new = change(pairs) if at_ == number else pairs
        texts.append(new if isinstance(new, bytes) else text_of(new))
    return chain(texts)


def with_member(name: str, value: object) -> Callable[[Pairs], Pairs]:
    return lambda pairs: [*((n, value if n == name else v) for n, v in pairs)]


def with_data(name: str, value: object) -> Callable[[Pairs], Pairs]:
    return lambda pairs: [
        *((n, {**v, name: value} if n == "data" else v) for n, v in pairs),
    ]


def insert_space(at_: int) -> Callable[[Pairs], bytes]:
    """Insert a space before one of the members."""
    return lambda pairs: text_of(pairs[:at_]) + (b", " if at_ else b" ") + text_of(pairs[at_:])[1:]


def duplicate(name: str, value: object) -> Callable[[Pairs], Pairs]:
    return lambda pairs: [(name, value), *pairs] if name == "type" else [*pairs, (name, value)]


def report_of(lines: Sequence[bytes], *, fast: bool = True, keys: bool = True) -> Report:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        segment_bytes = SEGMENT_BYTES if fast else 0
        return verify(
            path,
            vocabulary=ITEMS,
            keys=KEYS if keys else None,
            processes=1,
            segment_bytes=segment_bytes,
        )


async def _read_everything(lines: Sequence[bytes]) -> None:
    """Start on a log and do every kind of read; raises the errors of a start."""
    log, vault = MemoryLog(lines, head_of(lines)), MemoryVault()
    await vault.put(KEYS)
    journal = Journal(log, vault, ITEMS, SYSTEM)
    await journal.start()
    state = await journal.state()
    for line in lines:
        assert kind_of(line)
        assert subject_of(line)
        EventFilter.of("item.created", None, None).matches(line)
    past = History(log, journal.keyring, vault, None, lambda: ITEMS)
    await past.records(range(1, len(lines) + 1))
    await past.position(at(5), state)
    db_json.write(state)
    for user in state.users.by_id.values():
        assert all(state["items"].by_id[number].id for number in state["items"].by_owner[user.id])
    with tempfile.TemporaryDirectory() as folder:
        Snapshots(Path(folder), ITEMS).write(state, journal.keyring, SYSTEM.random_bytes)
        assert (
            Snapshots(Path(folder), ITEMS).newest(journal.keyring, position=len(lines)) is not None
        )
    state.checksum()
    summary_of(state)
    await _show(lines, vault)
    await journal.execute(
        create_item(1, Content("one more")), NO_ORIGIN, IdempotencyKey("cd" * 32, bytes(32))
    )
    await journal.close()


async def _show(lines: Sequence[bytes], vault: MemoryVault) -> None:
    keys = show._ValueOpener(vault)
    for position, line in enumerate(lines, 1):
        await show._format_line(show._parse(line, position), keys)


def head_of(lines: Sequence[bytes]) -> Head:
    return Head(len(lines), bytes.fromhex(lines[-1][-66:-2].decode()))


def read_everything(lines: Sequence[bytes]) -> None:
    asyncio.run(_read_everything(lines))


def test_the_sample_log_is_intact_and_can_be_read() -> None:
    assert chain([text_of(pairs) for pairs in bodies()]) == LINES
    assert report_of(LINES).ok
    assert report_of(LINES, fast=False).ok
    read_everything(LINES)


FIRST = {pairs[3][1]: number for number, pairs in reversed([*enumerate(bodies())])}
"""The index of the first event of each type."""
WITH_KEY = next(n for n, line in enumerate(LINES) if b"idempotencykey" in line)
MUTILATED: dict[str, list[bytes]] = {
    "month 99 beside an idempotency key": change_line(
        WITH_KEY, with_member("time", "9999-99-01T00:00:00.000000Z")
    ),
    "30 February": change_line(
        FIRST["user.erased"], with_member("time", "9999-02-30T00:00:00.000000Z")
    ),
    "second 60": change_line(
        FIRST["user.erased"], with_member("time", "9999-02-03T00:00:60.000000Z")
    ),
    "hour 24": change_line(
        FIRST["user.erased"], with_member("time", "9999-02-03T24:00:00.000000Z")
    ),
    "created_at that is not a time": change_line(
        FIRST["user.registered"], with_data("created_at", "yesterday")
    ),
    "created_at of an item that does not exist": change_line(
        FIRST["item.created"], with_data("created_at", "2026-13-01T00:00:00.000000Z")
    ),
    "expires_at that is not a time": change_line(
        FIRST["session.started"], with_data("expires_at", "never")
    ),
    "a space after the first brace": change_line(FIRST["user.disabled"], insert_space(0)),
    "a space between members": change_line(FIRST["user.disabled"], insert_space(7)),
    "a duplicate type": change_line(FIRST["user.disabled"], duplicate("type", "item.created")),
    "a duplicate requestid": change_line(FIRST["user.disabled"], duplicate("requestid", "another")),
    "duplicate data": change_line(FIRST["user.disabled"], duplicate("data", {})),
    "members in another order": change_line(
        FIRST["user.disabled"], lambda pairs: [pairs[0], pairs[2], pairs[1], *pairs[3:]]
    ),
    "subject items/x": change_line(FIRST["item.deleted"], with_member("subject", "items/x")),
    "subject of another kind": change_line(
        FIRST["item.deleted"], with_member("subject", "users/1")
    ),
    "subject with a leading zero": change_line(
        FIRST["item.deleted"], with_member("subject", "items/06")
    ),
    "subject beyond 64 bits": change_line(
        FIRST["item.deleted"], with_member("subject", "items/9999999999999999999")
    ),
    "subject without a name": change_line(
        FIRST["session.started"], with_member("subject", "sessions/")
    ),
    "a number as seal": change_line(FIRST["item.created"], with_data("sealed", 5)),
    "clear values as seal": change_line(FIRST["item.created"], with_data("sealed", {"title": "x"})),
    "a seal without a user": change_line(FIRST["user.disabled"], with_data("sealed", "AAAA")),
    "an owner beyond 64 bits": change_line(FIRST["item.created"], with_data("owner", 2**70)),
    "a negative owner": change_line(FIRST["item.created"], with_data("owner", -1)),
    "an idempotency key that is not a hash": change_line(
        WITH_KEY, with_member("idempotencykey", "key")
    ),
    "a request hash that is not sealed": change_line(WITH_KEY, with_member("requesthash", "")),
    "sealed for the key of the log": change_line(WITH_KEY, with_member("sealedfor", "log")),
    "remaining that is not a number": change_line(len(LINES) - 2, with_member("remaining", "x")),
    "a source that is not a UUID": chain(
        [text_of(with_member("source", "urn:uuid:x")(pairs)) for pairs in bodies()]
    ),
    "an empty actor": change_line(FIRST["user.disabled"], with_member("actor", "")),
}


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "exact"])
@pytest.mark.parametrize("lines", MUTILATED.values(), ids=MUTILATED.keys())
def test_a_malformed_line_is_found_at_its_position(lines: list[bytes], fast: bool) -> None:
    """With and without keys.

    A number too large or a seal of another type looks like a newer version.
    """
    report = report_of(lines, fast=fast, keys=False)
    assert not report.ok
    wrong = next(n for n, (a, b) in enumerate(zip(lines, LINES, strict=True), 1) if a != b)
    assert report.findings[0].kind in {"damaged", "unknown-event"}
    assert report.findings[0].position == wrong
    assert not report_of(lines, fast=fast).ok


@pytest.mark.parametrize("lines", MUTILATED.values(), ids=MUTILATED.keys())
def test_a_start_reads_a_malformed_log_or_refuses_it_with_an_error(lines: list[bytes]) -> None:
    with suppress(EventapiError):
        read_everything(lines)


@pytest.mark.parametrize("lines", MUTILATED.values(), ids=MUTILATED.keys())
async def test_the_lines_of_a_malformed_log_can_be_shown(lines: list[bytes]) -> None:
    vault = MemoryVault()
    await vault.put(KEYS)
    with suppress(Failure):
        await _show(lines, vault)


def test_an_unknown_extension_is_well_formed() -> None:
    lines = change_line(
        FIRST["user.disabled"],
        lambda pairs: [*pairs[:7], ("traceparent", '00-1 \\ü"'), *pairs[7:]],
    )
    assert report_of(lines).ok
    assert report_of(lines, fast=False).ok
    read_everything(lines)


# The law

numbers = st.integers(0, len(LINES) - 1)
values: st.SearchStrategy[object] = st.sampled_from(
    (5, -1, 2**63, 2**64, True, None, "", "x", [], {}, "users/1", "users/ 1", "users/9", "items/x")
) | st.sampled_from(
    (
        *("items/1", "items/3", "items/03", "sessions/x", "٣", "log", "A" * 64, "a" * 64, "urn:x"),
        *("9999-99-01T00:00:00.000000Z", "9999-01-01T00:00:00.000000Z"),
        "0001-01-01T00:00:00.000000Z",
    )
)
envelope = st.sampled_from(
    (
        *("specversion", "id", "source", "type", "subject", "time", "actor", "requestid"),
        *("remaining", "behind", "idempotencykey", "requesthash", "data", "traceparent"),
        "sealedfor",
    )
)
in_data = st.sampled_from(
    ["sealed", "created_at", "owner", "user", "role", "expires_at", "refresh_hash", "x"]
)


def without(name: str) -> Callable[[Pairs], Pairs]:
    return lambda pairs: [(n, v) for n, v in pairs if n != name]


def insert_member(name: str, value: object, at_: int) -> Callable[[Pairs], Pairs]:
    return lambda pairs: [*pairs[:at_], (name, value), *pairs[at_:]]


def without_data(name: str) -> Callable[[Pairs], Pairs]:
    return lambda pairs: [
        (n, {m: v for m, v in value.items() if m != name} if n == "data" else value)
        for n, value in pairs
    ]


changes = st.one_of(
    st.builds(with_member, envelope, values),
    st.builds(with_data, in_data, values),
    st.builds(without, envelope),
    st.builds(without_data, in_data),
    st.builds(insert_member, envelope, values, st.integers(0, 9)),
    st.builds(insert_space, st.integers(0, 7)),
    st.permutations(range(8)).map(
        lambda order: lambda pairs: [*(pairs[at_] for at_ in order), *pairs[8:]]
    ),
)


@given(numbers, changes)
@example(FIRST["item.deleted"], with_member("subject", "items/x"))
@example(WITH_KEY, with_member("time", "0001-01-01T00:00:00.000000Z"))
def test_law_a_server_starts_on_an_intact_log_and_can_read_it(
    number: int, change: Callable[[Pairs], Pairs | bytes]
) -> None:
    lines = change_line(number, change)
    report = report_of(lines)
    assert report == report_of(lines, fast=False)
    if report.ok:
        read_everything(lines)


def test_control_the_law_fails_without_the_check_of_well_formedness(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checks, "check_well_formed", lambda *_: None)
    lines = MUTILATED["subject items/x"]
    assert report_of(lines).ok
    with pytest.raises(EventapiError):
        read_everything(lines)
