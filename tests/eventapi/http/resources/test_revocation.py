"""After the answer to a revocation, no content reaches the user who lost the access."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import httpx
import pytest

from eventapi.commands.users import EraseUser, RevokeRole
from eventapi.http.routes import events
from eventapi.queries.history import RECORDS_PER_READ, History
from events.record import Record
from tests.eventapi.http.client import OPERATOR, Caller, assert_problem
from tests.eventapi.http.resources.kinds import KINDS
from tests.eventapi.http.resources.server import V2, ResourceApi
from tests.eventapi.http.resources.test_streams import Follower, plan_of, write
from tests.eventapi.http.streams import StreamReader

TEXT = {"text": "t"}


@pytest.fixture(scope="module")
def api() -> Iterator[ResourceApi]:
    with ResourceApi(KINDS) as running:
        yield running


class Gate:
    """Holds every read of the log, after the records are read, until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self._opened, self._is_closed = asyncio.Event(), asyncio.Event(), False
        read = History.slices

        async def held(history: History, positions: Sequence[int]) -> AsyncIterator[list[Record]]:
            async for records in read(history, positions):
                if self._is_closed:
                    self.reached.set()
                    await self._opened.wait()
                yield records

        monkeypatch.setattr(History, "slices", held)

    def close(self) -> None:
        self._is_closed = True

    def open(self) -> None:
        self._is_closed = False
        self._opened.set()


async def unshare(ann: Caller, bob: Caller, number: int) -> None:
    await write(ann, "DELETE", f"/plans/{number}/shares/{bob.name}")


async def erase_owner(ann: Caller, _: Caller, __: int) -> None:
    assert isinstance(ann.api, ResourceApi)
    await ann.api.execute_async(EraseUser(ann.name, OPERATOR))


@pytest.mark.parametrize("few", [0, 1_000], ids=["by resource", "by line"])
@pytest.mark.parametrize("revoke", [unshare, erase_owner])
@pytest.mark.parametrize("live", [False, True], ids=["past", "live"])
def test_events_that_were_read_before_a_revocation_are_not_sent_after_it(
    api: ResourceApi, monkeypatch: pytest.MonkeyPatch, few: int, revoke: Any, live: bool
) -> None:
    monkeypatch.setattr(events, "_FEW", few)
    ann, bob, eve = api.user(), api.user(), api.user()

    async def scenario() -> None:
        number, other = await plan_of(ann, bob), await plan_of(eve, bob)
        await write(ann, "PATCH", f"/plans/{number}", {"text": "private"})
        headers = {} if live else {"last-event-id": "0"}
        gate = Gate(monkeypatch)
        if not live:
            gate.close()
        async with Follower(api, bob.token, "plans", **headers) as stream:
            if live:
                gate.close()
                await write(ann, "PATCH", f"/plans/{number}", {"text": "private"})
            await asyncio.wait_for(gate.reached.wait(), 10)
            before = stream.body
            await revoke(ann, bob, number)
            gate.open()
            if revoke is unshare:
                await stream.ended()
                assert stream.body == before
            else:  # The stream has shares of other owners, so it goes on.
                await write(eve, "PATCH", f"/plans/{other}", {"text": "shared"})
                await stream.arrived(b"shared")
                assert f'"plan":{number},' not in stream.body.decode()
            assert b"private" not in stream.body

    api.run(scenario())


def test_a_stream_sends_nothing_between_a_revocation_and_its_end(
    api: ResourceApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow client: parts that wait for it are not sent after the revocation."""
    monkeypatch.setattr(events, "_AT_ONCE", 1)
    ann, bob = api.user(), api.user()

    async def scenario() -> None:
        number = await plan_of(ann, bob)
        for turn in range(20):
            await write(ann, "PATCH", f"/plans/{number}", {"text": f"text {turn}"})
        stream = Follower(api, bob.token, "plans", **{"last-event-id": "0"})
        seen: list[int] = []
        send = api.edge

        async def slow(scope: Any, receive: Any, forward: Any) -> None:
            async def held(message: Any) -> None:
                if b"text 5" in message.get("body", b""):
                    await unshare(ann, bob, number)
                    seen.append(len(stream.body))
                await forward(message)

            await send(scope, receive, held)

        monkeypatch.setattr(api, "edge", slow)
        async with stream:
            await stream.ended()
        assert b"text 5" in stream.body
        assert b"text 6" not in stream.body
        assert seen

    api.run(scenario())


WRITES: list[tuple[str, str, Any]] = [
    ("PATCH", "", {"text": "secret"}),
    ("PUT", "", {"text": "secret"}),
    ("POST", "/shout", {}),
    ("POST", "/restore", "as_of"),
    ("DELETE", "", None),
]


@pytest.mark.parametrize("revoke", [unshare, erase_owner])
def test_a_slow_history_ends_with_the_access(api: ResourceApi, revoke: Any) -> None:
    ann, bob = api.user(), api.user()
    number = api.run(plan_of(ann, bob))
    for turn in range(3 * RECORDS_PER_READ):
        ann.patch(f"/plans/{number}", json={"text": f"text {turn};"})
    reader = StreamReader(bob, f"{V2}/plans/{number}/history", "application/json")

    reader.read((b"text 1;", lambda: revoke(ann, bob, number)))

    assert b"text 1;" in reader.body
    assert b"text 30;" not in reader.body
    assert not reader.is_complete


def without_id(answer: httpx.Response) -> dict[str, Any]:
    return assert_problem(answer, 404, "not-found") | {"request_id": ""}


@pytest.mark.parametrize(("method", "part", "body"), WRITES)
def test_a_repeated_request_is_not_answered_after_a_revocation(
    api: ResourceApi, method: str, part: str, body: Any
) -> None:
    ann, bob = api.user(), api.user()
    key = {"idempotency-key": "once"}
    row = ann.post("/plans", json={"text": "secret"}).json()
    path = f"/plans/{row['id']}"
    ann.put(f"{path}/shares/{bob.name}", json={"can": "write"})
    body = {"as_of": row["version"]} if body == "as_of" else body
    how = {"headers": key} | ({} if body is None else {"json": body})
    first = bob.request(method, path + part, **how)
    assert first.status_code < 300, first.text
    assert bob.request(method, path + part, **how).content == first.content

    assert ann.delete(f"{path}/shares/{bob.name}").status_code == 204

    unknown = bob.request(method, f"/plans/999999{part}", **how | {"headers": {}})
    assert without_id(bob.request(method, path + part, **how)) == without_id(unknown)
    # The owner gives the access back, and the answer is the first one again.
    ann.put(f"{path}/shares/{bob.name}", json={"can": "read"})
    if method != "DELETE":
        assert bob.request(method, path + part, **how).content == first.content


@pytest.mark.parametrize("revoke", ["unshare", "erase"])
def test_a_repeated_batch_is_not_answered_after_a_revocation(api: ResourceApi, revoke: str) -> None:
    ann, bob = api.user(), api.user()
    key = {"idempotency-key": "once"}
    number = ann.post("/plans", json={"text": "secret"}).json()["id"]
    ann.put(f"/plans/{number}/shares/{bob.name}", json={"can": "write"})
    own = {"method": "POST", "path": "/plans", "body": {"text": "own"}}
    other = {"method": "PATCH", "path": f"/plans/{number}", "body": {"text": "secret"}}
    how: dict[str, Any] = {"json": {"requests": [own, other]}, "headers": key}
    assert bob.post("/batch", **how).status_code == 200

    if revoke == "erase":
        assert ann.erase().status_code == 204
    else:
        ann.delete(f"/plans/{number}/shares/{bob.name}")

    unknown = {"requests": [own, other | {"path": "/plans/999999"}]}
    expected = without_id(bob.post("/batch", json=unknown))
    assert without_id(bob.post("/batch", **how)) == expected


def test_a_repeated_request_is_not_answered_after_an_erasure_or_without_the_role(
    api: ResourceApi,
) -> None:
    ann, bob, boss = api.user(), api.user(), api.user(None, "boss", "clerk")
    key = {"idempotency-key": "once"}
    number = ann.post("/plans", json={"text": "secret"}).json()["id"]
    ann.put(f"/plans/{number}/shares/{bob.name}", json={"can": "write"})
    how: dict[str, Any] = {"json": {"text": "secret"}, "headers": key}
    assert bob.patch(f"/plans/{number}", **how).status_code == 200
    order = boss.post("/orders", **how)
    api.execute(RevokeRole(boss.name, "boss", OPERATOR))
    assert boss.post("/orders", **how).content == order.content  # Every user reads orders.

    assert ann.erase().status_code == 204

    unknown = bob.patch("/plans/999999", json={"text": "secret"})
    assert without_id(bob.patch(f"/plans/{number}", **how)) == without_id(unknown)
