"""Shares: what is written, what is answered, and who can end them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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


CHANGES: dict[str, dict[str, Any]] = {
    "PUT": {"json": {"can": "write"}},
    "DELETE": {},
}


@pytest.mark.parametrize("method", CHANGES)
@pytest.mark.parametrize(
    ("condition", "is_met"),
    [
        ({"if-match": "{tag}"}, True),
        ({"if-match": "*"}, True),
        ({"if-match": '{old}, "7", {tag}'}, True),
        ({"if-match": "{old}"}, False),
        ({"if-match": '"none"'}, False),
        ({"if-none-match": "{tag}"}, True),  # It would be about the share, which has no tag.
        ({"if-none-match": "*"}, True),
    ],
)
def test_a_change_of_a_share_is_a_conditional_request(
    api: ResourceApi, method: str, condition: dict[str, str], is_met: bool
) -> None:
    ann, bob = api.user(), api.user()
    old = ann.post("/plans", json=TEXT)
    path = f"/plans/{old.json()['id']}"
    assert ann.put(f"{path}/shares/{bob.name}", json={"can": "read"}).status_code == 200
    tags = {"old": old.headers["etag"], "tag": ann.get(path).headers["etag"]}
    headers = {name: value.format(**tags) for name, value in condition.items()}
    before = len(api.log_lines())

    how = CHANGES[method] | {"headers": headers}
    answer = ann.request(method, f"{path}/shares/{bob.name}", **how)

    if is_met:
        assert answer.is_success
        assert ann.get(path).headers["etag"] == f'"{before + 1}"'
    else:
        assert_problem(answer, 412, "precondition-failed")
        assert ann.get(f"{path}/shares").json() == [{"username": bob.name, "can": "read"}]
    assert len(api.log_lines()) == before + is_met


def test_a_share_that_changes_nothing_is_a_conditional_request(api: ResourceApi) -> None:
    ann, bob = api.user(), api.user()
    path = f"/plans/{plan_of(ann, read=bob)}"
    share = f"{path}/shares/{bob.name}"
    tag = ann.get(path).headers["etag"]

    assert ann.put(share, json={"can": "read"}, headers={"if-match": tag}).status_code == 200
    assert_problem(
        ann.put(share, json={"can": "read"}, headers={"if-match": '"1"'}),
        412,
        "precondition-failed",
    )


@pytest.mark.parametrize("method", CHANGES)
def test_the_condition_comes_after_every_other_refusal(api: ResourceApi, method: str) -> None:
    ann, bob, eve = api.user(), api.user(), api.user()
    share = f"/plans/{plan_of(ann, read=bob)}/shares"
    how = CHANGES[method] | {"headers": {"if-match": '"1"'}}

    assert_problem(eve.request(method, f"{share}/{bob.name}", **how), 404, "not-found")
    assert_problem(bob.request(method, f"{share}/{bob.name}", **how), 403, "forbidden")
    assert_problem(ann.request(method, f"{share}/unknown-user", **how), 404, "not-found")


@pytest.mark.parametrize("method", CHANGES)
def test_a_repeated_request_is_answered_whatever_its_condition_is_now(
    api: ResourceApi, method: str
) -> None:
    ann, bob = api.user(), api.user()
    path = f"/plans/{plan_of(ann, read=bob)}"
    headers = {"if-match": ann.get(path).headers["etag"], "idempotency-key": method}
    how = CHANGES[method] | {"headers": headers}

    first, again = (ann.request(method, f"{path}/shares/{bob.name}", **how) for _ in range(2))

    assert first.is_success
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["event-position"] == first.headers["event-position"]


@pytest.mark.parametrize("method", CHANGES)
def test_a_share_in_a_batch_has_the_version_of_its_condition(api: ResourceApi, method: str) -> None:
    ann, bob = api.user(), api.user()
    path = f"/plans/{plan_of(ann, read=bob)}"
    request: dict[str, Any] = {"method": method, "path": f"{path}/shares/{bob.name}"}
    request |= {"body": body} if (body := CHANGES[method].get("json")) else {}
    version = ann.get(path).json()["version"]

    refused = ann.post("/batch", json={"requests": [request | {"if_match": version - 1}]})
    done = ann.post("/batch", json={"requests": [request | {"if_match": version}]})

    problem = assert_problem(refused, 412, "precondition-failed")
    assert problem["errors"][0]["pointer"] == "/requests/0"
    assert done.status_code == 200


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


def test_the_history_has_the_end_of_a_share_of_a_deleted_resource(api: ResourceApi) -> None:
    ann, bob, eve = api.user(), api.user(), api.user()
    number = plan_of(ann, read=bob, write=eve)
    verbs = ["created", "shared", "shared", "deleted", "unshared", "unshared", "restored"]
    ann.delete(f"/plans/{number}").raise_for_status()
    for user in (bob, eve):
        ann.delete(f"/plans/{number}/shares/{user.name}").raise_for_status()
    positions = history_of(ann, number, verbs[:-1])
    ann.post(f"/plans/{number}/restore").raise_for_status()
    assert history_of(ann, number, verbs)[:-1] == positions

    for position, verb in zip(positions, verbs, strict=False):
        answer = ann.get(f"/plans/{number}?as_of={position}")
        assert answer.status_code == (404 if verb in {"deleted", "unshared"} else 200)


def history_of(caller: Caller, number: int, verbs: list[str]) -> list[int]:
    """The positions in the history of a plan, which must have these events."""
    entries = caller.get(f"/plans/{number}/history").json()
    assert [one["type"] for one in entries] == [f"plan.{verb}" for verb in verbs]
    return [one["position"] for one in entries]


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
