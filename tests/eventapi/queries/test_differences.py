"""The differences of two moments are those of two folds, on every store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from eventapi.queries.differences import Selection, Span, differences
from eventapi.queries.history import History
from eventapi.testing.given import Happened, registered, started
from eventapi.testing.items import REGISTRY as ITEMS_ONLY
from eventapi.testing.resources import created, deleted, shared, unshared, updated
from eventapi.testing.sample_log import Written, erased_users, write
from eventapi.testing.strategies import sound_histories
from events.errors import Invalid
from events.log.memory import MemoryLog
from events.log.port import EventLog, Head
from events.sealing import Keyring
from events.vault.port import Vault
from events.vocabulary.keys import KeyCreated, KeyName, KeyRevoked, KeyUsed
from events.vocabulary.sessions import Device
from events.vocabulary.users import UserErased
from events.vocabulary.webhooks import WebhookCreated, WebhookDeleted, WebhookSecretRotated
from projections.replay import replay
from projections.state import State
from tests.eventapi.queries.compared_folds import compared_folds
from tests.events.stores import DATABASES, Memory, Store, new_store
from tests.kinds import REGISTRY, Invoice

_names = count()
VOCABULARY = REGISTRY.vocabulary
histories = sound_histories(ITEMS_ONLY, max_size=60) | sound_histories(REGISTRY)


class Audited(msgspec.Struct, frozen=True):
    """A log whose erased users have no keys any more, and its current state."""

    log: EventLog
    vault: Vault
    state: State
    keyring: Keyring

    @property
    def history(self) -> History:
        return History(self.log, self.keyring, self.vault, None, lambda: self.state.vocabulary)

    async def fold(self, position: int) -> State:
        return await replay(self.log, Keyring(), self.vault, VOCABULARY, position=position)

    async def compared(self, span: Span, *, opened: bool) -> list[dict[str, Any]]:
        before, after = await self.fold(span.start), await self.fold(span.end)
        return compared_folds(before, after, self.keyring, opened=opened)

    async def differences(
        self, span: Span, subject: str = "", *, opened: bool, limit: int = 1000
    ) -> list[dict[str, Any]]:
        """The differences of all pages."""
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            selection = Selection(subject, cursor, limit)
            page = await differences(self.history, self.state, span, selection, 0, opened=opened)
            assert len(page.items) <= limit
            found += [msgspec.to_builtins(one) for one in page.items]
            cursor = page.next_after
        for one in found:
            one["sealed"].sort()
        return found


@asynccontextmanager
async def audited(written: Written, store: Store) -> AsyncIterator[Audited]:
    """A store with a written log; the keys of erased users are destroyed."""
    log, vault = await store.open_log(), await store.open_vault()
    try:
        await vault.put(written.keys)
        if written.lines:
            last = written.records[-1]
            async with log.exclusive(5) as appender:
                await appender.append(written.lines, Head(last.position, last.hash))
        state = await replay(log, Keyring(), vault, VOCABULARY)
        await vault.destroy(list(erased_users(state)))
        keyring = Keyring()
        state = await replay(log, keyring, vault, VOCABULARY)
        yield Audited(log, vault, state, keyring)
    finally:
        await vault.close()
        await log.close()


async def check_law(
    history: Sequence[Happened], store: Store, pairs: Sequence[tuple[int, int]], limit: int
) -> None:
    written = write(history)
    end = len(written.lines)
    async with audited(written, store) as one:
        for pair in pairs:
            start, stop = sorted(position % (end + 1) for position in pair)
            span = Span(start, stop)
            for opened in (False, True):
                expected = await one.compared(span, opened=opened)
                assert await one.differences(span, opened=opened, limit=limit) == expected
            some = [found["subject"] for found in expected]
            for subject in {name.partition("/")[0] for name in some}:
                part = [found for found in expected if found["subject"].startswith(f"{subject}/")]
                assert await one.differences(span, subject, opened=True, limit=limit) == part
            for found in expected:
                assert await one.differences(span, found["subject"], opened=True) == [found]


pairs_of_positions = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=3
)


@pytest.mark.parametrize("kind", ["memory", "files", "reader"])
@given(history=histories, pairs=pairs_of_positions, limit=st.sampled_from((1, 2, 1000)))
def test_differences_equal_the_comparison_of_two_folds(
    kind: str,
    request: pytest.FixtureRequest,
    *,
    tmp_path_factory: pytest.TempPathFactory,
    history: list[Happened],
    pairs: list[tuple[int, int]],
    limit: int,
) -> None:
    store = new_store(kind, request, tmp_path_factory.mktemp(f"store{next(_names)}"))
    asyncio.run(check_law(history, store, pairs, limit))


@pytest.mark.long
@pytest.mark.parametrize("kind", DATABASES)
@settings(max_examples=15)
@given(history=histories, pairs=pairs_of_positions, limit=st.sampled_from((1, 2, 1000)))
def test_differences_in_a_database_equal_the_comparison_of_two_folds(
    kind: str,
    request: pytest.FixtureRequest,
    *,
    tmp_path_factory: pytest.TempPathFactory,
    history: list[Happened],
    pairs: list[tuple[int, int]],
    limit: int,
) -> None:
    store = new_store(kind, request, tmp_path_factory.mktemp(f"store{next(_names)}"))
    asyncio.run(check_law(history, store, pairs, limit))


ANN, BOB, EVE = registered(1, "ann"), registered(2, "bob"), registered(3, "eve")
INVOICE = created(Invoice(number="A", year=1), 1, owner=2)
KEY_USED = ("keys/k", KeyUsed(personal=Device("::1", "curl")))
KEY = ("keys/k", KeyCreated(2, ("read",), "secret hash", personal=KeyName("nightly")))
BOB_ERASED = ("users/2", UserErased())
WEBHOOK = ("webhooks/1", WebhookCreated("https://a.example/hook"))


@pytest.mark.parametrize(
    ("happened", "start", "shown"),
    [
        pytest.param([ANN], 0, {"users/1": "created"}, id="registered"),
        pytest.param(
            [ANN, BOB, INVOICE, BOB_ERASED], 0, {"users/1": "created"}, id="came and went"
        ),
        pytest.param(
            [ANN, BOB, INVOICE, BOB_ERASED],
            3,
            {"invoices/1": "erased", "users/2": "erased"},
            id="erased with the owner",
        ),
        pytest.param(
            [ANN, BOB, INVOICE, updated(Invoice, 1, paid=True), BOB_ERASED],
            3,
            {"invoices/1": "erased", "users/2": "erased"},
            id="changed and erased with the owner",
        ),
        pytest.param(
            [ANN, BOB, INVOICE, deleted(Invoice, 1), BOB_ERASED],
            3,
            {"invoices/1": "deleted", "users/2": "erased"},
            id="deleted before the owner was erased",
        ),
        pytest.param([ANN, BOB, INVOICE, deleted(Invoice, 1)], 2, {}, id="created and deleted"),
        pytest.param(
            [ANN, BOB, INVOICE, deleted(Invoice, 1), unshared(Invoice, 1, user=1)],
            4,
            {},
            id="a share of a deleted one",
        ),
        pytest.param(
            [ANN, BOB, INVOICE, deleted(Invoice, 1), unshared(Invoice, 1, user=1)],
            3,
            {"invoices/1": "deleted"},
            id="deleted, and a share of it ended",
        ),
        pytest.param(
            [ANN, BOB, INVOICE, shared(Invoice, 1, user=1, can="read")],
            3,
            {"invoices/1": "changed"},
            id="shared",
        ),
        pytest.param(
            [
                ANN,
                EVE,
                BOB,
                INVOICE,
                shared(Invoice, 1, user=3, can="read"),
                ("users/3", UserErased()),
            ],
            5,
            {"users/3": "erased"},
            id="shared with a user who was erased",
        ),
        pytest.param([ANN, BOB, KEY, KEY_USED], 3, {"keys/k": "changed"}, id="key used"),
        pytest.param(
            [ANN, BOB, KEY, KEY_USED, ("keys/k", KeyRevoked())],
            4,
            {"keys/k": "deleted"},
            id="key revoked",
        ),
        pytest.param(
            [ANN, BOB, KEY, BOB_ERASED], 3, {"users/2": "erased"}, id="key ends with the user"
        ),
        pytest.param([ANN, started("s", 1)], 1, {}, id="sessions are no entities"),
        pytest.param(
            [WEBHOOK, ("webhooks/1", WebhookSecretRotated())],
            1,
            {"webhooks/1": "changed"},
            id="webhook",
        ),
        pytest.param(
            [WEBHOOK, ("webhooks/1", WebhookSecretRotated()), ("webhooks/1", WebhookDeleted())],
            2,
            {"webhooks/1": "deleted"},
            id="webhook deleted",
        ),
    ],
)
async def test_each_change_is_named(
    happened: list[Happened], start: int, shown: dict[str, str]
) -> None:
    async with audited(write(happened), Memory()) as one:
        span = Span(start, len(happened))
        found = await one.differences(span, opened=True)
        assert found == await one.compared(span, opened=True)
        assert {each["subject"]: each["change"] for each in found} == shown
        for subject in ("invoices/1", "users/2", "users/3", "keys/k", "webhooks/1"):
            alone = await one.differences(span, subject, opened=True)
            assert alone == [each for each in found if each["subject"] == subject]


async def test_values_are_shown_only_when_opened() -> None:
    happened = [ANN, BOB, INVOICE, updated(Invoice, 1, note="paid in cash", paid=True)]
    async with audited(write(happened), Memory()) as one:
        (closed,) = await one.differences(Span(3, 4), opened=False)
        (opened,) = await one.differences(Span(3, 4), opened=True)

    assert closed == {
        "subject": "invoices/1",
        "change": "changed",
        "version": {"before": 3, "after": 4},
        "fields": {"paid": {"before": False, "after": True}},
        "sealed": ["note"],
        "readable": True,
    }
    note = {"note": {"before": "", "after": "paid in cash"}}
    assert opened == closed | {"fields": closed["fields"] | note, "sealed": []}


async def test_only_opened_entities_are_reported_as_opened() -> None:
    happened = [ANN, BOB, INVOICE, shared(Invoice, 1, user=1, can="read"), WEBHOOK]
    async with audited(write(happened), Memory()) as one:

        async def opened_of(span: Span, *, opened: bool) -> Mapping[str, str]:
            page = await differences(one.history, one.state, span, Selection(), 0, opened=opened)
            return page.opened

        assert await opened_of(Span(0, 5), opened=True) == {
            "invoices/1": "users/2",
            "users/1": "users/1",
            "users/2": "users/2",
        }
        assert await opened_of(Span(0, 5), opened=False) == {}
        assert await opened_of(Span(3, 5), opened=True) == {}


async def test_without_the_key_only_clear_values_are_compared() -> None:
    changed = updated(Invoice, 1, note="a secret", paid=True)
    async with audited(write([ANN, BOB, INVOICE, changed, BOB_ERASED]), Memory()) as one:
        (found,) = await one.differences(Span(3, 4), opened=True)

    assert found["fields"] == {"paid": {"before": False, "after": True}}
    assert (found["sealed"], found["readable"]) == ([], False)


class CountingLog(MemoryLog):
    """A log that counts the lines that were read of it."""

    lines_read = 0

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        async for lines in super().read(after, upto):
            self.lines_read += len(lines)
            yield lines


async def test_only_the_lines_between_and_those_of_the_entities_are_read() -> None:
    happened = [ANN, BOB, INVOICE]
    happened += [
        created(Invoice(number=f"B{number}", year=1), number, owner=1) for number in range(2, 500)
    ]
    happened += [updated(Invoice, 1, paid=True)]
    written = write(happened)
    end = len(happened)
    async with audited(written, Memory()) as one:
        log = CountingLog(written.lines, Head(end, written.records[-1].hash))
        counted = replace(one, log=log)
        (found,) = await counted.differences(Span(end - 1, end), opened=True)
        assert found["fields"] == {"paid": {"before": False, "after": True}}
        assert log.lines_read < 10
        (alone,) = await counted.differences(Span(3, end), "invoices/1", opened=True)
        assert alone == found | {"version": {"before": 3, "after": end}}
        assert log.lines_read < 20


@pytest.mark.parametrize(
    "subject",
    [
        "sessions",
        "sessions/s1",
        "nothing",
        "items/",
        "items/0",
        "items/x",
        "items/01",
        "/",
        "/1",
        "keys/",
    ],
)
async def test_an_unknown_subject_is_refused(subject: str) -> None:
    async with audited(write([ANN]), Memory()) as one:
        with pytest.raises(Invalid) as refused:
            await one.differences(Span(0, 1), subject, opened=True)
    assert [fault.pointer for fault in refused.value.faults] == ["/subject"]


async def test_pages_are_bounded_whatever_the_span_has() -> None:
    happened = [
        ANN,
        *(
            created(Invoice(number=f"B{number}", year=1), number, owner=1)
            for number in range(1, 300)
        ),
    ]
    async with audited(write(happened), Memory()) as one:
        span = Span(0, len(happened))
        page = await differences(
            one.history, one.state, span, Selection("", "invoices/7", 3), 0, opened=False
        )
        assert [each.subject for each in page.items] == ["invoices/8", "invoices/9", "invoices/10"]
        assert page.next_after == "invoices/10"
