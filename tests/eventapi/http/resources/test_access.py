"""Who may do what: every route of every kind, for every caller, from the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import httpx
import msgspec
import pytest

from eventapi.commands.users import EraseUser
from eventapi.resources.declaration import Access
from tests.eventapi.http.client import OPERATOR, Caller, assert_problem, items_of
from tests.eventapi.http.resources.kinds import KINDS
from tests.eventapi.http.resources.server import V2, ResourceApi

CALLERS: Final = ("anonymous", "owner", "stranger", "clerk", "boss", "reader", "writer")
UNKNOWN: Final = 999_999
TEXT: Final = {"text": "t"}
NO_BODIES: Final = {"GET", "DELETE"}
READS: Final = {"GET", "HEAD"}
CHANGES: Final = {"PUT", "PATCH", "DELETE"}


class Route(msgspec.Struct, frozen=True):
    """An operation on a resource or a collection; ``part`` is the path behind the collection."""

    collection: str
    method: str
    part: str
    bodies: bool

    @property
    def access(self) -> Access:
        return KINDS.by_collection[self.collection].access

    @property
    def is_shareable(self) -> bool:
        return KINDS.by_collection[self.collection].shareable

    def reads(self, who: str) -> bool:
        """Whether a caller may read the row of the owner, by the words of the contract."""
        rule = self.access.read
        if rule == "public":
            return True
        if who == "anonymous":
            return False
        is_shared = self.is_shareable and who in {"reader", "writer"}
        return who == "owner" or rule in {"users", who} or is_shared

    def writes(self, who: str) -> bool:
        """Whether a caller may change the row of the owner."""
        if self.is_shareable and who == "writer":
            return True
        return self.reads(who) and who == self.access.write

    def creates(self, who: str) -> bool:
        return self.access.write in {"owner", who}

    def status(self, who: str, is_live: bool) -> int:  # noqa: PLR0911 - a table
        """The status for a caller; the row lives, or was deleted."""
        is_public = self.method == "GET" and self.access.read == "public"
        if who == "anonymous" and not is_public:
            return 401
        if self.part == "":
            return (201 if self.creates(who) else 403) if self.method == "POST" else 200
        if not self.reads(who):
            return 404
        if self.part.startswith("/{}/shares"):
            return self._sharing(who, is_live)
        if self.method == "GET":
            return 200 if is_live or self.part == "/{}/history" else 404
        if not is_live and (self.part != "/{}/restore" or not self.writes(who)):
            return 404
        if not self.writes(who):
            return 403
        return 204 if self.method == "DELETE" else 200

    def _sharing(self, who: str, is_live: bool) -> int:
        """A deleted row cannot be shared; its shares can be listed and taken back."""
        if who != "owner":
            return 403
        if self.method == "PUT" and not is_live:
            return 404
        return 204 if self.method == "DELETE" else 200


class World(msgspec.Struct, frozen=True):
    """A running app and its callers."""

    api: ResourceApi
    callers: dict[str, Caller]
    routes: Sequence[Route]

    def request(self, who: str, route: Route, number: int, **how: Any) -> httpx.Response:
        part = route.part.replace("{}", str(number))
        if "shares/" in part:
            part = f"/{number}/shares/{self.callers['reader'].name}"
        how = {"json": self.body(route, number)} | how if route.bodies else how
        return self.call(who, route.method, f"/{route.collection}{part}", **how)

    def call(self, who: str, method: str, path: str, **how: Any) -> httpx.Response:
        token = None if who == "anonymous" else self.callers[who].token
        return self.api.request(method, V2 + path, token=token, **how)

    def body(self, route: Route, number: int) -> Any:
        if route.part == "/{}/restore":
            row = self.callers["owner"].get(f"/{route.collection}/{number}/history").json()
            return {"as_of": row[0]["position"] if isinstance(row, list) else 1}
        if "shares" in route.part:
            return {"can": "read"}
        return {} if route.part == "/{}/shout" else TEXT

    def row(self, collection: str, *, is_live: bool) -> int:
        """A row of the owner, shared if it can be; the owner has the role to write while it is made."""
        owner, kind = self.callers["owner"], KINDS.by_collection[collection]
        role = kind.access.write
        if role != "owner":
            self.api.grant(owner, role)
        number: int = owner.post(f"/{collection}", json=TEXT).json()["id"]
        for who, can in (("reader", "read"), ("writer", "write")) if kind.shareable else ():
            path = f"/{collection}/{number}/shares/{self.callers[who].name}"
            assert owner.put(path, json={"can": can}).status_code == 200
        if not is_live:
            assert owner.delete(f"/{collection}/{number}").status_code == 204
        if role != "owner":
            self.api.revoke(owner, role)
        return number


def routes_of(api: ResourceApi) -> Iterator[Route]:
    document = api.request("GET", f"{V2}/openapi.json")
    assert document.status_code == 200, document.text
    for path, operations in document.json()["paths"].items():
        collection, _, rest = path.removeprefix(f"{V2}/").partition("/")
        if collection not in KINDS.by_collection or collection == "items" or rest == "events":
            continue
        number, _, what = rest.partition("/")
        part = f"/{{}}{f'/{what}' if what else ''}" if number else ""
        for method, operation in operations.items():
            yield Route(collection, method.upper(), part, "requestBody" in operation)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with ResourceApi(KINDS) as api:
        roles = {"clerk": ["clerk"], "boss": ["boss"]}
        callers = {who: api.user(who, *roles.get(who, ())) for who in CALLERS if who != "anonymous"}
        yield World(api, callers, list(routes_of(api)))


def without_id(answer: httpx.Response) -> dict[str, Any]:
    problem: dict[str, Any] = answer.json()
    del problem["request_id"]
    return problem


def allowed(answer: httpx.Response) -> set[str]:
    return {*answer.headers["allow"].split(", ")}


def test_the_document_has_all_routes(world: World) -> None:
    found = {(route.method, route.part) for route in world.routes if route.collection == "plans"}
    assert found == {
        *(("GET", ""), ("POST", ""), ("GET", "/{}"), ("PUT", "/{}"), ("PATCH", "/{}")),
        *(
            ("DELETE", "/{}"),
            ("GET", "/{}/history"),
            ("POST", "/{}/restore"),
            ("POST", "/{}/shout"),
        ),
        *(("GET", "/{}/shares"), ("GET", "/{}/shares/{username}")),
        *(("PUT", "/{}/shares/{username}"), ("DELETE", "/{}/shares/{username}")),
    }


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "deleted"])
@pytest.mark.parametrize("collection", [one.collection for one in KINDS.resources[1:]])
def test_every_route_answers_every_caller_by_the_rules(
    world: World, collection: str, is_live: bool
) -> None:
    for route in (one for one in world.routes if one.collection == collection):
        row = world.row(collection, is_live=is_live)
        for who in CALLERS:
            expected = route.status(who, is_live)
            answer = world.request(who, route, row)
            where = f"{who}: {route.method} {route.part} {answer.text}"
            assert answer.status_code == expected, where
            if route.part == "" and answer.status_code == 200:
                is_listed = row in {one["id"] for one in items_of(answer)}
                assert is_listed == (is_live and route.reads(who)), where
                may_create = who != "anonymous" and route.creates(who)
                assert allowed(answer) == ({*READS, "POST"} if may_create else READS), where
            if expected == 404 and not route.reads(who):
                unknown = world.request(who, route, UNKNOWN)
                assert unknown.status_code == 404, where
                assert without_id(answer) == without_id(unknown), where
            if expected < 300 and route.method != "GET" and route.part:
                row = world.row(collection, is_live=is_live)


@pytest.mark.parametrize("collection", [one.collection for one in KINDS.resources[1:]])
def test_the_past_is_read_with_the_rights_of_now(world: World, collection: str) -> None:
    """Each position is before any share was given."""
    route = Route(collection, "GET", "/{}", bodies=False)
    for is_live in (True, False):
        row = world.row(collection, is_live=is_live)
        created = world.callers["owner"].get(f"/{collection}/{row}/history").json()[0]["position"]
        for who in CALLERS:
            denied = 401 if who == "anonymous" else 404
            one = world.call(who, "GET", f"/{collection}/{row}?as_of={created}")
            assert one.status_code == (200 if route.reads(who) else denied), who
            if route.reads(who):
                assert allowed(one) == (READS | CHANGES if route.writes(who) else READS), who
            every = world.call(who, "GET", f"/{collection}?as_of={created}&limit=1000")
            if who != "anonymous" or route.reads(who):
                is_listed = row in {one["id"] for one in items_of(every)}
                assert is_listed == route.reads(who), who


def test_a_share_that_was_taken_back_gives_no_access_to_the_past(world: World) -> None:
    owner, reader = world.callers["owner"], world.callers["reader"]
    row = world.row("plans", is_live=True)
    position = owner.get(f"/plans/{row}").json()["version"]
    path = f"/plans/{row}?as_of={position}"
    assert reader.get(path).status_code == 200
    assert row in {one["id"] for one in items_of(reader.get(f"/plans?as_of={position}&limit=1000"))}

    assert owner.delete(f"/plans/{row}/shares/{reader.name}").status_code == 204

    for denied in (path, f"/plans/{row}", f"/plans/{row}/history"):
        assert_problem(reader.get(denied), 404, "not-found")
    for query in (f"as_of={position}&", "", "sort=text&", f"sort=text&as_of={position}&"):
        assert row not in {one["id"] for one in items_of(reader.get(f"/plans?{query}limit=1000"))}


def test_a_role_counts_from_the_moment_it_is_given_until_it_is_taken(world: World) -> None:
    row, user = world.row("payslips", is_live=True), world.api.user()
    assert_problem(user.get(f"/payslips/{row}"), 404, "not-found")

    world.api.grant(user, "clerk")
    assert user.get(f"/payslips/{row}").status_code == 200
    assert row in {one["id"] for one in items_of(user.get("/payslips?sort=-id&limit=1000"))}

    world.api.revoke(user, "clerk")
    assert_problem(user.get(f"/payslips/{row}"), 404, "not-found")
    assert items_of(user.get("/payslips?sort=-id")) == []


@pytest.mark.parametrize("path", ["/posts", "/posts/1", "/posts/1/history", "/posts/events"])
def test_a_bad_token_is_refused_also_where_none_is_needed(world: World, path: str) -> None:
    for given in ("Bearer x.y.z", "Bearer ", "Basic abc", ""):
        answer = world.api.request("GET", V2 + path, headers={"authorization": given})
        assert_problem(answer, 401, "unauthenticated")


def test_rows_and_shares_of_an_erased_user_vanish(world: World) -> None:
    api = world.api
    ann, bob, eve = api.user(), api.user(), api.user()
    mine = ann.post("/plans", json=TEXT).json()["id"]
    others = bob.post("/plans", json=TEXT).json()["id"]
    public = ann.post("/posts", json=TEXT).json()["id"]
    ann.put(f"/plans/{mine}/shares/{eve.name}", json={"can": "write"})
    for user in (ann, eve):
        bob.put(f"/plans/{others}/shares/{user.name}", json={"can": "read"})
    position = eve.get(f"/plans/{mine}").json()["version"]
    key = {"idempotency-key": "once"}
    assert eve.patch(f"/plans/{mine}", json={"text": "x"}, headers=key).status_code == 200

    api.execute(EraseUser(ann.name, OPERATOR))

    for path in (f"/plans/{mine}", f"/plans/{mine}/history", f"/plans/{mine}?as_of={position}"):
        assert_problem(eve.get(path), 404, "not-found")
    again = eve.patch(f"/plans/{mine}", json={"text": "x"}, headers=key)
    assert_problem(again, 404, "not-found")
    assert [one["id"] for one in items_of(eve.get("/plans?sort=text"))] == [others]
    assert public not in {
        one["id"] for one in items_of(api.request("GET", f"{V2}/posts?limit=1000"))
    }
    assert [one["username"] for one in bob.get(f"/plans/{others}/shares").json()] == [eve.name]


@pytest.mark.parametrize("is_live", [True, False], ids=["live", "deleted"])
@pytest.mark.parametrize("collection", [one.collection for one in KINDS.resources[1:]])
def test_every_caller_gets_proofs_of_the_events_that_the_history_shows(
    world: World, collection: str, is_live: bool
) -> None:
    row = world.row(collection, is_live=is_live)
    history = Route(collection, "GET", "/{}/history", bodies=False)
    entries = world.request("owner", history, row).json()
    assert len(entries) == (1 if is_live else 2) + (2 if collection == "plans" else 0)
    for who in CALLERS:
        status = world.request(who, history, row).status_code
        assert (status == 200) == history.reads(who), who
        for entry in entries:
            answer = world.call(who, "GET", f"/log/proof/{entry['position']}")
            denied = 401 if who == "anonymous" else 404
            assert answer.status_code == (200 if history.reads(who) else denied), who


def test_proofs_end_with_the_right_to_read(world: World) -> None:
    api, owner, reader = world.api, world.callers["owner"], world.api.user()
    plan, ann = world.row("plans", is_live=True), api.user()
    share = f"/plans/{plan}/shares/{reader.name}"
    created = owner.get(f"/plans/{plan}/history").json()[0]["position"]
    posted = int(ann.post("/posts", json=TEXT).headers["event-position"])
    assert_problem(reader.get(f"/log/proof/{created}"), 404, "not-found")

    assert owner.put(share, json={"can": "read"}).status_code == 200
    assert reader.get(f"/log/proof/{created}").status_code == 200
    assert owner.delete(share).status_code == 204
    assert_problem(reader.get(f"/log/proof/{created}"), 404, "not-found")

    assert world.call("anonymous", "GET", f"/log/proof/{posted}").status_code == 200
    api.execute(EraseUser(ann.name, OPERATOR))
    assert_problem(reader.get(f"/log/proof/{posted}"), 404, "not-found")
    assert world.call("anonymous", "GET", f"/log/proof/{posted}").status_code == 401
