"""Streams of a collection: whose changes they have, where they resume, and when they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx
import msgspec
import pytest

from eventapi.commands.users import EraseUser, RevokeRole
from eventapi.http.routes import events
from tests.eventapi.http.client import OPERATOR, Caller, http_scope
from tests.eventapi.http.resources.kinds import KINDS
from tests.eventapi.http.resources.server import V2, ResourceApi
from tests.eventapi.http.streams import STREAM_OPENED

WAIT_SECONDS = 10
TEXT = {"text": "t"}


@pytest.fixture(scope="module")
def api() -> Iterator[ResourceApi]:
    with ResourceApi(KINDS) as running:
        yield running


class Event(msgspec.Struct, frozen=True):
    """One event of a stream."""

    id: int
    type: str
    data: dict[str, Any]


class Follower:
    """A client of a stream; use it in an ``async with`` statement."""

    def __init__(
        self, api: ResourceApi, token: str | None, collection: str, **headers: str
    ) -> None:
        given = {"accept": "text/event-stream"} | headers
        if token is not None:
            given["authorization"] = f"Bearer {token}"
        self._scope = http_scope(f"{V2}/{collection}/events", headers=given)
        self._api = api
        self._disconnected = asyncio.Event()
        self.status = 0
        self.body = b""

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._read())
        await self._until(lambda: STREAM_OPENED in self.body or self._task.done())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._disconnected.set()
        await asyncio.wait_for(self._task, WAIT_SECONDS)

    async def _read(self) -> None:
        async def receive() -> dict[str, Any]:
            await self._disconnected.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            self.status = message.get("status", self.status)
            self.body += message.get("body", b"")

        await self._api.edge(self._scope, receive, send)

    async def _until(self, is_true: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not is_true():  # noqa: ASYNC110 - the stream has no event to wait for
                await asyncio.sleep(0.005)

    @property
    def events(self) -> list[Event]:
        blocks = [block for block in self.body.decode().split("\n\n") if "data: " in block]
        rows = [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]
        decode = msgspec.json.decode
        return [Event(int(row["id"]), row["event"], decode(row["data"])) for row in rows]

    async def get(self, count: int) -> list[Event]:
        """The events, once there are so many of them."""
        await self._until(lambda: len(self.events) >= count)
        return self.events

    async def arrived(self, content: bytes) -> None:
        """Wait until the stream has these bytes."""
        await self._until(lambda: content in self.body)

    async def ended(self) -> None:
        """Wait until the server ends the stream."""
        await asyncio.wait_for(asyncio.shield(self._task), WAIT_SECONDS)

    @property
    def is_open(self) -> bool:
        return not self._task.done()


async def write(caller: Caller, method: str, path: str, body: Any = None) -> Any:
    how = {} if body is None else {"json": body}
    answer: httpx.Response = await caller.api.request_async(method, V2 + path, caller.token, **how)
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


async def plan_of(owner: Caller, *readers: Caller, can: str = "read") -> int:
    number: int = (await write(owner, "POST", "/plans", TEXT))["id"]
    for one in readers:
        await write(owner, "PUT", f"/plans/{number}/shares/{one.name}", {"can": can})
    return number


def test_a_stream_has_own_and_shared_changes_only(api: ResourceApi) -> None:
    ann, bob, eve = api.user(), api.user(), api.user()

    async def scenario() -> None:
        async with (
            Follower(api, ann.token, "plans") as of_ann,
            Follower(api, bob.token, "plans") as of_bob,
            Follower(api, eve.token, "plans") as of_eve,
        ):
            shared = await plan_of(ann, bob, can="write")
            await plan_of(eve)
            await write(bob, "PATCH", f"/plans/{shared}", {"text": "new"})
            await write(bob, "POST", f"/plans/{shared}/shout")
            await write(ann, "DELETE", f"/plans/{shared}")
            await write(ann, "POST", f"/plans/{shared}/restore")
            everything = ["created", "shared", "updated", "shout", "deleted", "restored"]
            of_owner = await of_ann.get(6)
            await of_bob.arrived(b"plan.restored")

            assert [one.type for one in of_owner] == [f"plan.{verb}" for verb in everything]
            # The line before the share arrives as well if both are read at once.
            assert of_bob.events[-5:] == of_owner[1:]
            assert of_owner[2].data["changes"] == {"text": "new"}
            assert {one.data["plan"] for one in of_owner} == {shared}
            assert [one.type for one in await of_eve.get(1)] == ["plan.created"]

    api.run(scenario())


@pytest.mark.parametrize(
    ("collection", "roles"), [("notices", ()), ("payslips", ("clerk",)), ("posts", None)]
)
def test_who_may_read_all_gets_all_changes(
    api: ResourceApi, collection: str, roles: tuple[str, ...] | None
) -> None:
    """Without roles the caller has no token."""
    owner = api.user()
    token = None if roles is None else api.user(None, *roles).token

    async def scenario() -> None:
        async with Follower(api, token, collection) as stream:
            one = await write(owner, "POST", f"/{collection}", TEXT)
            await write(owner, "DELETE", f"/{collection}/{one['id']}")
            created, deleted = await stream.get(2)
            assert (created.id, created.data["changes"]) == (one["version"], TEXT)
            assert deleted.type.endswith(".deleted")

    api.run(scenario())


@pytest.mark.parametrize("few", [0, 1_000], ids=["by resource", "by line"])
def test_a_stream_resumes_behind_the_last_event(
    api: ResourceApi, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_FEW", few)
    ann, bob = api.user(), api.user()

    async def scenario() -> None:
        shared = await plan_of(ann, bob)
        await plan_of(ann)
        last = (await write(ann, "PATCH", f"/plans/{shared}", {"text": "1"}))["version"]
        await write(ann, "PATCH", f"/plans/{shared}", {"text": "2"})
        await write(ann, "DELETE", f"/plans/{shared}")
        async with Follower(api, bob.token, "plans", **{"last-event-id": str(last)}) as stream:
            await stream.get(2)
            await asyncio.sleep(0.1)
            assert [one.type for one in stream.events] == ["plan.updated", "plan.deleted"]
            assert stream.events[0].data["changes"] == {"text": "2"}
        async with Follower(api, bob.token, "plans", **{"last-event-id": "0"}) as stream:
            first, *_ = await stream.get(5)
            assert (first.type, first.data["plan"]) == ("plan.created", shared)
            assert {one.data["plan"] for one in stream.events} == {shared}

    api.run(scenario())


@pytest.mark.parametrize("few", [0, 1_000], ids=["by resource", "by line"])
def test_a_resumed_stream_has_the_end_of_a_share_of_a_deleted_resource(
    api: ResourceApi, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_FEW", few)
    ann, bob = api.user(), api.user()

    async def scenario() -> None:
        number = await plan_of(ann, bob)
        await write(ann, "DELETE", f"/plans/{number}")
        await write(ann, "DELETE", f"/plans/{number}/shares/{bob.name}")
        async with Follower(api, ann.token, "plans", **{"last-event-id": "0"}) as stream:
            verbs = ["created", "shared", "deleted", "unshared"]
            assert [one.type for one in await stream.get(4)] == [f"plan.{one}" for one in verbs]

    api.run(scenario())


def test_a_stream_ends_with_the_share(api: ResourceApi) -> None:
    ann, bob, eve = api.user(), api.user(), api.user()

    async def scenario() -> None:
        number = await plan_of(ann, bob, eve)
        async with (
            Follower(api, ann.token, "plans") as of_ann,
            Follower(api, bob.token, "plans") as of_bob,
            Follower(api, eve.token, "plans") as of_eve,
        ):
            await write(ann, "DELETE", f"/plans/{number}/shares/{bob.name}")
            await write(ann, "PATCH", f"/plans/{number}", {"text": "private"})
            await of_bob.ended()
            assert of_bob.events == []
            assert [one.type for one in await of_eve.get(2)] == ["plan.unshared", "plan.updated"]
            assert of_ann.is_open
            assert of_eve.is_open
        async with Follower(api, bob.token, "plans", **{"last-event-id": "0"}) as again:
            await asyncio.sleep(0.2)
            assert again.events == []
            assert again.is_open

    api.run(scenario())


def test_a_stream_ends_with_the_role(api: ResourceApi) -> None:
    owner, clerk = api.user(), api.user(None, "clerk")

    async def scenario() -> None:
        async with Follower(api, clerk.token, "payslips") as stream:
            await write(owner, "POST", "/payslips", TEXT)
            await stream.get(1)
            await api.execute_async(RevokeRole(clerk.name, "clerk", OPERATOR))
            await write(owner, "POST", "/payslips", {"text": "private"})
            await stream.ended()
            assert b"private" not in stream.body

    api.run(scenario())


def test_an_erasure_ends_the_shares_and_the_streams_of_a_user(api: ResourceApi) -> None:
    ann, bob, eve = api.user(), api.user(), api.user()

    async def scenario() -> None:
        number = await plan_of(ann, bob, eve)
        async with (
            Follower(api, bob.token, "plans") as of_bob,
            Follower(api, eve.token, "plans") as of_eve,
        ):
            await api.execute_async(EraseUser(bob.name, OPERATOR))
            await write(ann, "PATCH", f"/plans/{number}", {"text": "private"})
            await of_bob.ended()
            assert b"private" not in of_bob.body
            await of_eve.get(1)
            await api.execute_async(EraseUser(ann.name, OPERATOR))
            await asyncio.sleep(0.2)
            assert of_eve.is_open
        async with Follower(api, eve.token, "plans", **{"last-event-id": "0"}) as again:
            await asyncio.sleep(0.2)
            assert again.events == []

    api.run(scenario())


@asynccontextmanager
async def anonymous(api: ResourceApi, count: int) -> AsyncIterator[list[Follower]]:
    streams = [Follower(api, None, "posts") for _ in range(count)]
    entering: list[Awaitable[Follower]] = [stream.__aenter__() for stream in streams]
    await asyncio.gather(*entering)
    try:
        yield streams
    finally:
        await asyncio.gather(*(stream.__aexit__() for stream in streams))


def test_streams_without_a_token_have_a_bound_of_their_own(
    api: ResourceApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MAX_STREAMS", 2)
    monkeypatch.setattr(events, "MAX_ANONYMOUS_STREAMS", 5)
    user = api.user()

    async def scenario() -> None:
        async with anonymous(api, 6) as streams:
            refused = [stream for stream in streams if stream.status == 503]
            assert [stream.status for stream in streams].count(200) == 5
            assert [b"more than 5 streams" in stream.body for stream in refused] == [True]
            async with Follower(api, user.token, "posts") as own:
                assert own.status == 200
        async with Follower(api, None, "posts") as later:
            assert later.status == 200

    api.run(scenario())


def test_a_stream_without_a_token_is_only_of_public_kinds(api: ResourceApi) -> None:
    async def scenario() -> None:
        for collection in ("plans", "notices", "payslips", "items"):
            async with Follower(api, None, collection) as stream:
                assert stream.status == 401

    api.run(scenario())
