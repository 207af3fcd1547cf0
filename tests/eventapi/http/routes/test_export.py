"""The export of everything about the caller: its lines, proofs, limits and ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventapi.accounts.export import EVENTS_PER_PART, MAX_EXPORTS_PER_USER
from eventapi.commands.users import DisableUser, EraseUser
from eventapi.http.authentication import Caller as Authenticated
from eventapi.http.request import ApiRequest
from eventapi.testing.given import created
from eventapi.testing.sample_log import Written, write
from events.errors import SigningSuspended
from events.messages.errors import LOG_KEY_UNCONFIRMED
from events.transparency.checkpoints import Checkpoints
from events.transparency.signed_note import Inclusion
from projections.tables.keys import ApiKey
from tests.eventapi.account_events import HIDDEN, PASSWORD_HASH, life_of_account
from tests.eventapi.accounts.exports import check, exported, records_in
from tests.eventapi.http.client import OPERATOR, Api, Caller, assert_problem, http_scope
from tests.eventapi.http.resources.kinds import KINDS
from tests.eventapi.http.resources.server import ResourceApi
from tests.eventapi.http.streams import NDJSON, StreamReader, ways_to_lose_access
from tests.eventapi.queries.test_history import CountingLog

PATH = "/auth/me/export"
MANY = 10_000


def export_of(caller: Caller) -> bytes:
    answer = caller.get(PATH)
    assert (answer.status_code, answer.headers["content-type"]) == (200, NDJSON), answer.text
    return answer.content


def vkey_of(api: Api) -> str:
    return api.request("GET", "/log/key").text.strip()


def checkpoints_in(content: bytes) -> set[str]:
    return {str(Inclusion.parse(one.proof or "").checkpoint) for one in exported(content)}


def test_an_export_may_begin_after_a_position(new_api: Api, prefix: str) -> None:
    ann = new_api.caller("ann").under(prefix)
    for _ in range(EVENTS_PER_PART + 1):
        ann.create()
    whole = export_of(ann).splitlines()
    positions = [int(msgspec.json.decode(one)["id"]) for one in records_in(export_of(ann))]

    for after in (0, positions[0], positions[3] - 1, positions[-2], positions[-1], 2**63 - 1):
        answer = ann.get(PATH, params={"after": after})
        expected = [line for at, line in zip(positions, whole, strict=True) if at > after]
        assert (answer.status_code, answer.content.splitlines()) == (200, expected)
    for wrong in ("-1", "x", "", str(2**63)):
        problem = assert_problem(ann.get(PATH, params={"after": wrong}), 422, "validation-failed")
        assert problem["errors"][0]["pointer"] == "/after"


def test_an_export_has_every_event_about_the_account_and_its_items(
    new_api: Api, prefix: str, tmp_path: Path
) -> None:
    ann, bob = new_api.caller("ann"), new_api.caller("bob")
    number = ann.create("a title")
    bob.create("bob's")
    ann.delete(f"/items/{number}")
    ann.patch("/auth/me", json={"full_name": "Ann"})
    lines = new_api.log_lines()

    content = export_of(ann.under(prefix))

    mine = [line for line in lines if b'"actor":"users/1"' in line or b'"users/1"' in line]
    assert records_in(content) == mine
    assert b"bob" not in content
    assert len(checkpoints_in(content)) == 1
    (tmp_path / "export").write_bytes(content)
    printed = check(vkey_of(new_api), tmp_path / "export")
    assert printed == f"{len(mine)} lines are proven, 0 have no proof\n"


def test_control_the_checker_finds_a_changed_line(new_api: Api, tmp_path: Path) -> None:
    ann = new_api.caller()
    ann.create()
    file = tmp_path / "export"
    file.write_bytes(export_of(ann).replace(b'"type":"item.created"', b'"type":"item.deleted"'))

    assert check(vkey_of(new_api), file).startswith("WRONG: the proof of line")


def test_an_export_shows_what_is_sealed_but_no_secret() -> None:
    written = write(life_of_account(1, "ann"))
    with Api(log=written.log, vault=asyncio.run(written.vault())) as api:
        lines = exported(export_of(Caller(api, "ann", api.login("ann").json())))

    personal = {msgspec.json.decode(one.record)["type"]: one.personal for one in lines}
    assert personal["user.registered"] == {
        "username": "ann",
        "email": "ann@old",
        "full_name": "A Name",
    }
    assert personal["key.created"] == {"name": "my key"}
    assert personal["user.totp_started"] == personal["user.totp_enabled"] == {}
    assert personal["user.password_changed"] == personal["user.password_reset"] == {}
    assert personal["user.disabled"] is None
    shown = str([one.personal for one in lines])
    assert [hidden for hidden in HIDDEN if hidden in shown] == []


def test_a_shared_resource_is_in_the_export_of_its_owner_alone() -> None:
    with ResourceApi(KINDS) as api:
        ann, bob = api.user("ann"), api.user("bob")
        number = ann.post("/plans", json={"text": "ann's"}).json()["id"]
        ann.put(f"/plans/{number}/shares/bob", json={"can": "write"})
        bob.patch(f"/plans/{number}", json={"text": "by bob"})
        ann.delete(f"/plans/{number}/shares/bob")
        ann.put(f"/plans/{number}/shares/bob", json={"can": "read"})
        ann.delete(f"/plans/{number}")
        ann.delete(f"/plans/{number}/shares/bob")

        anns, bobs = (exported(export_of(one)) for one in (ann, bob))

    kinds = [msgspec.json.decode(one.record)["type"] for one in anns]
    verbs = ("created", "shared", "updated", "unshared", "shared", "deleted", "unshared")
    assert kinds[-7:] == [f"plan.{verb}" for verb in verbs]
    assert anns[-5].personal == {"text": "by bob"}
    assert {msgspec.json.decode(one.record)["type"] for one in bobs} == {
        "user.registered",
        "session.started",
    }


def test_a_head_request_exports_nothing(new_api: Api) -> None:
    answer = new_api.caller().head(PATH)

    assert (answer.status_code, answer.headers["content-type"]) == (200, NDJSON)
    assert answer.content == b""
    assert not new_api.edge.services.exports._exports


def test_an_api_key_cannot_export(new_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    authenticate = ApiRequest.authenticate

    async def with_key(request: ApiRequest) -> Authenticated:
        caller = await authenticate(request)
        key = ApiKey("k1", caller.user.id, "my key", ("read", "write"), "", "", None, 1)
        request._caller = msgspec.structs.replace(caller, session="", key=key)
        return request._caller

    ann = new_api.caller()
    monkeypatch.setattr(ApiRequest, "authenticate", with_key)

    assert_problem(ann.get(PATH), 403, "forbidden")
    assert ann.get("/auth/me/events").status_code == 200


@pytest.mark.parametrize("command", [EraseUser, DisableUser])
def test_an_erased_or_disabled_user_can_export_nothing(new_api: Api, command: Any) -> None:
    ann = new_api.caller("ann")
    ann.create("a title")
    new_api.execute(command("ann", OPERATOR))

    assert_problem(ann.get(PATH), 401, "unauthenticated")


def test_the_next_user_of_an_erased_name_exports_only_their_own(new_api: Api) -> None:
    old = new_api.caller("phoenix")
    old.create("a title")
    assert old.erase().status_code == 204

    content = export_of(new_api.caller("phoenix"))

    assert len(records_in(content)) == 2
    assert b"a title" not in content
    assert b"users/1" not in content


@pytest.fixture(scope="module")
def many() -> Written:
    """The log of a user with many items; every third one is another user's."""
    history = [
        *life_of_account(1, "ann"),
        *life_of_account(2, "bob"),
        *(created(number, 1 + (number % 3 == 0)) for number in range(1, MANY * 3 // 2)),
    ]
    return write(history)


def api_with(written: Written) -> Api:
    log = CountingLog(list(written.lines), written.log.head)
    return Api(log=log, vault=asyncio.run(written.vault()))


class Client:
    """An ASGI client that may go away, or stop reading, after some parts."""

    def __init__(
        self, caller: Caller, most_parts: int | None = None, *, goes_away: bool = True
    ) -> None:
        self.parts: list[bytes] = []
        self._goes_away = goes_away
        self._caller = caller
        self._most_parts = most_parts

    def read(self) -> None:
        """Send the request, and read until the end or until the client goes away."""
        self._caller.api.run(asyncio.wait_for(self.read_async(), 120))

    async def read_async(self) -> None:
        gone = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message.get("body"):
                self.parts.append(message["body"])
            if len(self.parts) == self._most_parts:
                if self._goes_away:
                    gone.set()
                await asyncio.Event().wait()

        headers = {"authorization": f"Bearer {self._caller.token}"}
        await self._caller.api.edge(http_scope(PATH, headers=headers), receive, send)


@pytest.mark.long
def test_an_export_of_ten_thousand_events_is_proven_in_bounded_memory(
    many: Written, tmp_path: Path
) -> None:
    with api_with(many) as api:
        ann = Caller(api, "ann", api.login("ann").json())
        assert isinstance(api.log, CountingLog)
        before = api.log.lines_read
        client = Client(ann)
        client.read()
        read = api.log.lines_read - before
        content = b"".join(client.parts)
        (tmp_path / "export").write_bytes(content)
        printed = check(vkey_of(api), tmp_path / "export")

    count = len(records_in(content))
    assert count > MANY
    assert printed == f"{count} lines are proven, 0 have no proof\n"
    assert max(part.count(b"\n") for part in client.parts) == EVENTS_PER_PART
    # Once for the tree, once for its tiles, and once for the lines.
    assert read < 3 * api.log.head.position + MANY


def assert_nothing_is_held(api: Api) -> None:
    services = api.edge.services
    assert not services.exports._exports
    assert services.history._reads == 0
    assert not services.history._callers


def test_a_client_that_goes_away_frees_everything(many: Written) -> None:
    with api_with(many) as api:
        ann = Caller(api, "ann", api.login("ann").json())
        for _ in range(2 * MAX_EXPORTS_PER_USER):
            client = Client(ann, most_parts=2)
            client.read()
            assert len(client.parts) == 2
            assert_nothing_is_held(api)


@pytest.mark.parametrize("way", ["logged out", "erased"])
def test_an_export_is_cut_off_when_the_client_loses_access(many: Written, way: str) -> None:
    with api_with(many) as api:
        ann = Caller(api, "ann", api.login("ann").json())
        action: Callable[[], Awaitable[object]] = ways_to_lose_access(ann)[way]
        reader = StreamReader(ann, PATH, NDJSON)
        reader.read((b'"item.created"', action))

        assert (reader.status, reader.is_complete) == (200, False)
        assert reader.body.count(b"\n") < 100
        assert_nothing_is_held(api)


def test_too_many_exports_of_one_user_are_refused(many: Written) -> None:
    with api_with(many) as api:
        ann, bob = (Caller(api, name, api.login(name).json()) for name in ("ann", "bob"))
        held = [Client(ann, most_parts=1, goes_away=False) for _ in range(MAX_EXPORTS_PER_USER)]

        async def beside() -> tuple[Any, Any]:
            tasks = [asyncio.create_task(one.read_async()) for one in held]
            while not all(one.parts for one in held):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            answers = await asyncio.gather(
                api.request_async("GET", PATH, ann.token),
                api.request_async("GET", "/auth/me/events", bob.token),
            )
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return answers[0], answers[1]

        mine, theirs = api.run(beside())
        assert_problem(mine, 503, "overloaded")
        assert int(mine.headers["retry-after"]) > 0
        assert theirs.status_code == 200
        assert_nothing_is_held(api)


def test_without_a_checkpoint_nothing_is_exported(
    new_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def suspended(_: Checkpoints) -> None:
        raise SigningSuspended(LOG_KEY_UNCONFIRMED)

    ann = new_api.caller()
    monkeypatch.setattr(Checkpoints, "current", suspended)

    assert_problem(ann.get(PATH), 503, "log-unavailable")
    assert_nothing_is_held(new_api)


def test_control_the_hash_in_the_history_is_a_real_one() -> None:
    assert PASSWORD_HASH in HIDDEN
    assert PASSWORD_HASH.startswith("$argon2id$")
