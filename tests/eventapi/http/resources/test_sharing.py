"""Shares: what is written, what is answered, and who can end them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.eventapi.http.client import Caller, assert_problem, quiet_settings
from tests.eventapi.http.resources.kinds import KINDS
from tests.eventapi.http.resources.server import ResourceApi

TEXT = {"text": "t"}


@pytest.fixture(scope="module")
def api() -> Iterator[ResourceApi]:
    with ResourceApi(KINDS) as running:
        yield running


def plan_of(owner: Caller, **shares: Caller) -> int:
    """A plan that is shared; the names of ``shares`` are the rights."""
    number: int = owner.post("/plans", json=TEXT).json()["id"]
    for can, user in shares.items():
        answer = owner.put(f"/plans/{number}/shares/{user.name}", json={"can": can})
        assert answer.status_code == 200, answer.text
    return number


def test_a_share_that_changes_nothing_is_not_written(api: ResourceApi) -> None:
    ann, bob = api.user(), api.user()
    number = plan_of(ann, read=bob)
    path, before = f"/plans/{number}/shares/{bob.name}", len(api.log_lines())
    tag = ann.get(f"/plans/{number}").headers["etag"]

    again = ann.put(path, json={"can": "read"})

    assert (again.status_code, again.json()) == (200, {"username": bob.name, "can": "read"})
    assert int(again.headers["event-position"]) == before == len(api.log_lines())
    assert ann.get(f"/plans/{number}").headers["etag"] == tag
    assert ann.put(path, json={"can": "write"}).status_code == 200
    assert ann.put(path, json={"can": "read"}).status_code == 200
    assert len(api.log_lines()) == before + 2


def test_a_repeated_share_does_not_undo_a_later_revocation(api: ResourceApi) -> None:
    """A key is stored in a line, so with one the share is written although it changes nothing."""
    ann, bob = api.user(), api.user()
    number = plan_of(ann, read=bob)
    path, key = f"/plans/{number}/shares/{bob.name}", {"idempotency-key": "share"}
    first = ann.put(path, json={"can": "read"}, headers=key)
    assert ann.delete(path).status_code == 204

    again = ann.put(path, json={"can": "read"}, headers=key)

    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["event-position"] == first.headers["event-position"]
    assert ann.get(f"/plans/{number}/shares").json() == []
    assert_problem(bob.get(f"/plans/{number}"), 404, "not-found")


def test_a_share_that_changes_nothing_is_refused_as_any_other(api: ResourceApi) -> None:
    ann, bob, eve = api.user(), api.user(), api.user()
    number = plan_of(ann, read=bob)
    path = f"/plans/{number}/shares/{bob.name}"
    assert_problem(bob.put(path, json={"can": "read"}), 403, "forbidden")
    assert_problem(eve.put(path, json={"can": "read"}), 404, "not-found")
    assert ann.delete(f"/plans/{number}").status_code == 204
    assert_problem(ann.put(path, json={"can": "read"}), 404, "not-found")


def test_shares_count_for_the_quota_of_their_owner() -> None:
    with ResourceApi(KINDS, settings=quiet_settings(user_quota_bytes=2_000)) as api:
        ann, bob = api.user(), api.user()
        number = plan_of(ann, read=bob)
        path = f"/plans/{number}/shares/{bob.name}"
        for turn in range(20):
            answer = ann.put(path, json={"can": ("write", "read")[turn % 2]})
            if answer.status_code != 200:
                break
        assert_problem(answer, 409, "quota-exceeded")
        can = ann.get(path).json()["can"]
        assert ann.put(path, json={"can": can}).status_code == 200
        batch = [{"method": "PUT", "path": path, "body": {"can": "write"}}]
        refused = ann.post("/batch", json={"requests": batch})
        assert_problem(refused, 409, "quota-exceeded")
        assert ann.delete(path).status_code == 204


def test_the_answer_has_the_username_as_it_was_registered(api: ResourceApi) -> None:
    ann, bob = api.user(), api.user("Robert-B")
    number = plan_of(ann)
    path = f"/plans/{number}/shares/rOBERT-b"
    batch = [{"method": "PUT", "path": path, "body": {"can": "write"}}]

    for can, how in (("read", {}), ("read", {"headers": {"idempotency-key": "name"}})):
        for _ in range(2):
            answer = ann.put(path, json={"can": can}, **how)
            assert answer.json() == {"username": bob.name, "can": can}
            assert answer.json() == ann.get(path).json()
    responses = ann.post("/batch", json={"requests": batch}).json()["responses"]
    assert responses[0]["body"] == {"username": bob.name, "can": "write"}


def test_the_owner_lists_and_ends_shares_of_a_deleted_resource(api: ResourceApi) -> None:
    ann, bob, eve, stranger = api.user(), api.user(), api.user(), api.user()
    number = plan_of(ann, read=bob, write=eve)
    position = ann.get(f"/plans/{number}").json()["version"]
    shares = f"/plans/{number}/shares"
    assert ann.delete(f"/plans/{number}").status_code == 204
    for path in (f"/plans/{number}/history", f"/plans/{number}?as_of={position}"):
        assert eve.get(path).status_code == 200
    assert [one["username"] for one in ann.get(shares).json()] == sorted([bob.name, eve.name])
    assert ann.get(f"{shares}/{eve.name}").json()["can"] == "write"
    assert_problem(eve.get(shares), 403, "forbidden")
    assert_problem(eve.delete(f"{shares}/{bob.name}"), 403, "forbidden")
    assert_problem(stranger.get(shares), 404, "not-found")
    assert_problem(stranger.delete(f"{shares}/{bob.name}"), 404, "not-found")

    assert ann.delete(f"{shares}/{eve.name}").status_code == 204

    assert_problem(ann.delete(f"{shares}/{eve.name}"), 404, "not-found")
    for path in (f"/plans/{number}/history", f"/plans/{number}?as_of={position}"):
        assert_problem(eve.get(path), 404, "not-found")
    assert_problem(eve.post(f"/plans/{number}/restore"), 404, "not-found")
    batch = [{"method": "DELETE", "path": f"{shares}/{bob.name}"}]
    assert ann.post("/batch", json={"requests": batch}).status_code == 200
    assert ann.get(shares).json() == []
    assert ann.post(f"/plans/{number}/restore").json()["text"] == "t"
    assert_problem(eve.get(f"/plans/{number}"), 404, "not-found")


@pytest.mark.parametrize("collection", ["notices", "posts", "payslips", "orders"])
def test_resources_of_an_erased_owner_are_unknown_to_all_others(
    api: ResourceApi, collection: str
) -> None:
    """Also for readers of all resources, and at positions before the erasure."""
    owner, reader = api.user(None, "boss"), api.user(None, "clerk")
    live, deleted = (owner.post(f"/{collection}", json=TEXT).json() for _ in range(2))
    assert owner.delete(f"/{collection}/{deleted['id']}").status_code == 204
    assert reader.get(f"/{collection}/{deleted['id']}/history").status_code == 200
    assert owner.erase().status_code == 204

    for one in (live, deleted):
        for rest in ("", "/history", f"?as_of={deleted['version']}"):
            answer = reader.get(f"/{collection}/{one['id']}{rest}")
            unknown = reader.get(f"/{collection}/999999{rest}")
            assert answer.status_code == 404, rest
            assert answer.json() | {"request_id": ""} == unknown.json() | {"request_id": ""}
        past = reader.get(f"/{collection}?as_of={deleted['version']}&limit=1000").json()
        assert one["id"] not in {row["id"] for row in past["items"]}
