"""``POST /batch``: several writes in one request, all or none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventapi.configuration.settings import Settings
from eventapi.resources import Resource
from eventapi.resources.registry import Registry
from tests.eventapi.http.client import Api, Caller, quiet_settings
from tests.shop import Invoice, Line

V2 = "/api/v2"
INVOICE = {"number": "A1", "cents": 500}

Request = dict[str, Any]


class ShopApi(Api):
    """An app that serves declared resources as well."""

    def __init__(
        self,
        config: Settings | None = None,
        classes: Sequence[type[Resource]] = (Invoice,),
        **storage: Any,
    ) -> None:
        super().__init__(config, registry=Registry(classes), **storage)


@pytest.fixture(scope="module")
def shop() -> Iterator[ShopApi]:
    with ShopApi() as running:
        yield running


@pytest.fixture
def ann(shop: ShopApi) -> Caller:
    return shop.caller(prefix=V2)


@pytest.fixture
def bob(shop: ShopApi) -> Caller:
    return shop.caller(prefix=V2)


def write(method: str, path: str, body: Any = ..., **members: Any) -> Request:
    """A request of a batch; without a body if that is left out."""
    return {"method": method, "path": path, **members} | ({} if body is ... else {"body": body})


def batch(caller: Caller, *requests: Request, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return caller.post("/batch", json={"requests": list(requests)}, headers=named)


def done(answer: httpx.Response) -> list[dict[str, Any]]:
    """The answers to the requests of a batch that was accepted."""
    assert answer.status_code == 200, answer.text
    responses: list[dict[str, Any]] = answer.json()["responses"]
    return responses


def refused(answer: httpx.Response) -> tuple[int, str, list[str]]:
    """Status, slug and pointers of a refusal."""
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    pointers = [one["pointer"] for one in problem.get("errors", [])]
    return answer.status_code, problem["type"].removeprefix("/problems/"), pointers


def position(caller: Caller) -> int:
    return len(caller.api.log_lines())


def test_every_kind_of_write_gets_the_answer_of_its_single_request(
    ann: Caller, bob: Caller
) -> None:
    item = ann.post("/items", json={"title": "before"}).json()
    old = ann.post("/items", json={"title": "old"}).json()
    ann.delete(f"/items/{old['id']}")
    before = position(ann)

    answer = batch(
        ann,
        write("POST", "/invoices", INVOICE),
        write("PATCH", "/invoices/$0", {"note": "soon"}),
        write("POST", "/invoices/$0/pay", {"note": "cash"}),
        write("PUT", f"/invoices/$0/shares/{bob.name}", {"can": "read"}),
        write("PUT", f"{V2}/items/{item['id']}", {"title": "after"}, if_match=item["version"]),
        write("POST", f"/items/{old['id']}/restore"),
        write("DELETE", f"/items/{old['id']}"),
    )

    answers = done(answer)
    invoice = ann.get("/invoices").json()["items"][0]
    assert [one["status"] for one in answers] == [201, 200, 200, 200, 200, 200, 204]
    assert [one["version"] for one in answers] == list(range(before + 2, before + 9))
    assert answer.headers["event-position"] == str(before + 8)
    assert answers[0]["location"] == f"http://test{V2}/invoices/{invoice['id']}"
    assert answers[2]["body"] | {"version": invoice["version"]} == invoice
    assert answers[3]["body"] == {"username": bob.name, "can": "read"}
    assert answers[4]["body"] == ann.get(f"/items/{item['id']}").json()
    assert answers[5]["body"]["title"] == "old"
    assert answers[6]["body"] is None
    assert bob.get(f"/invoices/{invoice['id']}").json() == invoice


def test_a_text_that_looks_like_a_reference_stays_a_text(ann: Caller) -> None:
    answers = done(
        batch(
            ann,
            write("POST", "/items", {"title": "$0"}),
            write("POST", "/items", {"title": "$0", "description": "$99"}),
        )
    )
    assert [one["body"]["title"] for one in answers] == ["$0", "$0"]
    assert answers[1]["body"]["description"] == "$99"


def test_a_reference_in_a_body_is_the_number_of_the_new_resource(ann: Caller) -> None:
    answers = done(
        batch(
            ann,
            write("POST", "/items", {"title": "first"}),
            write("POST", "/invoices", {"number": "A7", "cents": "$0"}),
            write("PATCH", "/invoices/$1", {"cents": "$0"}),
        )
    )
    number = answers[0]["body"]["id"]
    assert [one["body"]["cents"] for one in answers[1:]] == [number, number]


ITEM = write("POST", "/items", {"title": "an item"})


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (write("DELETE", "/items/999999"), (404, "not-found", ["/requests/1"])),
        (write("DELETE", "/items/first"), (404, "not-found", ["/requests/1"])),
        (write("DELETE", "/items/$0", if_match=1), (412, "precondition-failed", ["/requests/1"])),
        (
            write("POST", "/invoices", {"number": "x", "cents": -1}),
            (422, "validation-failed", ["/requests/1/body/number", "/requests/1/body/cents"]),
        ),
        (write("POST", "/items"), (422, "validation-failed", ["/requests/1/body"])),
        (write("DELETE", "/items/1", {}), (422, "validation-failed", ["/requests/1/body"])),
        (write("POST", "/items/1", {}), (422, "validation-failed", ["/requests/1/method"])),
        (write("GET", "/items/1"), (422, "validation-failed", ["/requests/1/method"])),
        (write("POST", "/auth/logout"), (422, "validation-failed", ["/requests/1/path"])),
        (write("POST", "items", {}), (422, "validation-failed", ["/requests/1/path"])),
        (write("DELETE", "/items/1?x=1"), (422, "validation-failed", ["/requests/1/path"])),
        (write("DELETE", "/items/1?"), (422, "validation-failed", ["/requests/1/path"])),
        (write("POST", "/items?x=1", {}), (422, "validation-failed", ["/requests/1/path"])),
        (write("DELETE", "/items/1#x"), (422, "validation-failed", ["/requests/1/path"])),
        (write("DELETE", "/items/1%3Fx=1"), (404, "not-found", ["/requests/1"])),
        (
            write("POST", "/items", {"title": "t"}, if_match=1),
            (422, "validation-failed", ["/requests/1/if_match"]),
        ),
        (
            write("POST", "/items", {"title": ""}, if_match="*"),
            (422, "validation-failed", ["/requests/1/if_match", "/requests/1/body/title"]),
        ),
        (write("DELETE", "/items/$1"), (422, "validation-failed", ["/requests/1/path"])),
        (write("DELETE", "/items/$01"), (404, "not-found", ["/requests/1"])),
        (write("DELETE", "/invoices/$0"), (422, "validation-failed", ["/requests/1/path"])),
        (write("POST", "/items/$0/restore"), (422, "validation-failed", ["/requests/1/path"])),
        (
            write("POST", "/invoices", {"number": "A1", "cents": "$1"}),
            (422, "validation-failed", ["/requests/1/body/cents"]),
        ),
        (
            write("PUT", "/invoices/1/shares/bob", {"can": "read"}),
            (404, "not-found", ["/requests/1"]),
        ),
        (write("DELETE", "/items/1", more=1), (422, "validation-failed", ["/requests/1/more"])),
    ],
)
def test_a_refused_request_refuses_the_batch_and_is_pointed_to(
    ann: Caller, request_: Request, expected: tuple[int, str, list[str]]
) -> None:
    before = position(ann)
    status, slug, pointers = refused(batch(ann, ITEM, request_))
    assert (status, slug) == expected[:2]
    assert pointers[0] == "/requests/1"
    assert sorted(pointers) == sorted({"/requests/1", *expected[2]})
    assert position(ann) == before
    assert ann.get("/items").json()["items"] == []


def test_faults_of_all_requests_are_reported_together(ann: Caller) -> None:
    answer = batch(
        ann,
        write("POST", "/items", {"title": ""}),
        ITEM,
        write("PATCH", "/items/$1", {"nothing": 1}),
        write("DELETE", "/nothing/1"),
    )
    places = {0: "/body/title", 2: "/body/nothing", 3: "/path"}
    pointers = [f"/requests/{one}{part}" for one, at in places.items() for part in ("", at)]
    assert refused(answer) == (422, "validation-failed", pointers)


def test_rules_about_several_resources_hold_within_a_batch(ann: Caller, bob: Caller) -> None:
    twice = [write("POST", "/invoices", {**INVOICE, "number": "B1"})] * 2
    assert refused(batch(ann, *twice)) == (
        409,
        "not-unique",
        ["/requests/1", "/requests/1/body/number"],
    )
    paid = [*twice[:1], *[write("POST", "/invoices/$0/pay")] * 2]
    assert refused(batch(ann, *paid)) == (409, "action-refused", ["/requests/2"])
    share = write("PUT", f"/invoices/$0/shares/{bob.name}", {"can": "read"})
    invoice = done(batch(ann, *twice[:1], share))[0]["body"]
    change = write("PATCH", f"/invoices/{invoice['id']}", {"note": "mine"})
    assert refused(batch(bob, ITEM, change)) == (403, "forbidden", ["/requests/1"])


@pytest.mark.parametrize("if_match", [1, '"1"', 'W/"1"', "1"])
def test_if_match_is_a_version_or_the_text_of_the_header(ann: Caller, if_match: Any) -> None:
    item = ann.post("/items", json={"title": "one"}).json()
    own = if_match if isinstance(if_match, int) else if_match.replace("1", str(item["version"]))
    own = item["version"] if own == 1 else own
    path = f"/items/{item['id']}"
    assert batch(ann, write("PATCH", path, {"title": "x"}, if_match=if_match)).status_code == 412
    if if_match != "1":  # No tag; as in the header, it matches nothing.
        done(batch(ann, write("PATCH", path, {"title": "two"}, if_match=own)))
    done(batch(ann, write("PATCH", path, {"title": "three"}, if_match="*")))


@pytest.mark.parametrize("count", [0, 101])
def test_a_batch_has_1_to_100_requests(ann: Caller, count: int) -> None:
    assert refused(batch(ann, *[ITEM] * count)) == (422, "validation-failed", ["/requests"])
    assert len(done(batch(ann, *[ITEM] * 100))) == 100


def test_a_repeated_batch_gets_the_same_answer_also_from_another_process(shop: ShopApi) -> None:
    ann, bob = shop.caller(prefix=V2), shop.caller(prefix=V2)
    requests = [
        write("POST", "/invoices", {**INVOICE, "number": "C1"}),
        write("POST", "/items", {"title": "soon deleted"}),
        write("PUT", f"/invoices/$0/shares/{bob.name}", {"can": "read"}),
        write("POST", "/invoices/$0/pay"),
        write("DELETE", "/items/$1"),
    ]
    first = batch(ann, *requests, idempotency_key="a-key")
    invoice = done(first)[0]["body"]["id"]
    ann.patch(f"/invoices/{invoice}", json={"note": "later"})
    before = position(ann)
    with ShopApi(log=shop.log, vault=shop.vault) as other:
        for caller in (ann, msgspec.structs.replace(ann, api=other)):
            again = batch(caller, *requests, idempotency_key="a-key")
            assert again.json() == first.json()
            assert again.headers["event-position"] == first.headers["event-position"]
    assert position(ann) == before
    other_batch = batch(ann, *requests[:2], idempotency_key="a-key")
    assert refused(other_batch)[:2] == (422, "idempotency-key-reused")


def test_a_refused_batch_leaves_its_key_free(ann: Caller) -> None:
    gone = write("DELETE", "/items/999999")
    assert batch(ann, ITEM, gone, idempotency_key="free").status_code == 404
    assert len(done(batch(ann, ITEM, idempotency_key="free"))) == 1


def test_a_batch_needs_a_token_and_version_2(shop: ShopApi, ann: Caller) -> None:
    body = {"requests": [ITEM]}
    assert shop.request("POST", f"{V2}/batch", json=body).status_code == 401
    for prefix in ("", "/api/v1"):
        assert ann.under(prefix).post("/batch", json=body).status_code == 404
    assert ann.get("/batch").status_code == 405


def test_quotas_count_each_resource_of_a_batch() -> None:
    config = msgspec.structs.replace(quiet_settings(), user_quota_items=3)
    with ShopApi(config) as limited:
        ann = limited.caller(prefix=V2)
        assert refused(batch(ann, *[ITEM] * 4)) == (409, "quota-exceeded", ["/requests/3"])
        assert len(done(batch(ann, *[ITEM] * 3))) == 3


def test_rate_limits_count_each_request_of_a_batch() -> None:
    config = msgspec.structs.replace(quiet_settings(), rate_limit="10/minute")
    with ShopApi(config) as limited:
        ann = limited.caller(prefix=V2)
        answer = batch(ann, *[ITEM] * 7)
        assert answer.headers["ratelimit"].startswith('"caller";r=3;')
        before = position(ann)
        assert batch(ann, *[ITEM] * 4).status_code == 429
        assert position(ann) == before


def test_the_document_describes_batches_of_version_2_only(shop: ShopApi) -> None:
    document = shop.request("GET", f"{V2}/openapi.json").json()
    operation = document["paths"][f"{V2}/batch"]["post"]
    assert operation["operationId"] == "run_batch"
    assert {"200", "403", "404", "409", "412", "422", "429"} <= operation["responses"].keys()
    joint = shop.request("GET", "/openapi.json").json()
    assert [path for path in joint["paths"] if "batch" in path] == [f"{V2}/batch"]


def test_the_document_has_nested_values_with_limits_and_without() -> None:
    with ShopApi(classes=[Invoice, Line]) as shop:
        schemas = shop.request("GET", "/openapi.json").json()["components"]["schemas"]
    body, view = (schemas[name]["properties"]["taxes"] for name in ("LineBody", "LineV2"))
    assert body["items"]["$ref"].rpartition("/")[2] == "TaxInput"
    assert view["items"]["$ref"].rpartition("/")[2] == "Tax"
    assert schemas["TaxInput"]["properties"]["name"]["maxLength"] == 5_000
    assert "maxLength" not in schemas["Tax"]["properties"]["name"]


# The same writes one by one, and in a batch

Step = tuple[str, int, str]
"""A verb, the place of an earlier creation, and a title."""

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["create", "create", "patch", "put", "delete", "bad"]),
        st.integers(0, 3),
        st.sampled_from(["a", "b", ""]),
    ),
    min_size=1,
    max_size=8,
)


def requests_of(steps: list[Step], numbers: list[str]) -> list[Request]:
    """The requests of some steps; ``numbers`` are those of the creations, by their place."""
    found: list[Request] = []
    created: list[int] = []
    for verb, place, title in steps:
        if verb == "create" or not created:
            created.append(len(found))
            found.append(write("POST", "/items", {"title": f"t{title}"}))
            continue
        number = numbers[created[place % len(created)]]
        bodies = {"patch": {"title": f"p{title}"}, "put": {"title": f"u{title}"}}
        method = "DELETE" if verb in {"delete", "bad"} else verb.upper()
        path = "/items/999999999" if verb == "bad" else f"/items/{number}"
        found.append(write(method, path, bodies.get(verb, ...)))
    return found


def seen(caller: Caller) -> list[tuple[str, bool]]:
    items = caller.get("/items").json()["items"]
    return [(item["title"], item["updated_at"] == item["created_at"]) for item in items]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=STEPS)
def test_a_batch_does_what_its_requests_do_one_by_one(shop: ShopApi, steps: list[Step]) -> None:
    one, other = shop.caller(prefix=V2), shop.caller(prefix=V2)
    numbers: list[str] = ["0"] * len(steps)
    statuses = []
    for place in range(len(steps)):
        request = requests_of(steps, numbers)[place]
        how = {"json": request["body"]} if "body" in request else {}
        answer = one.request(request["method"], request["path"], **how)
        statuses.append(answer.status_code)
        if answer.status_code >= 400:
            break
        if answer.status_code == 201:
            numbers[place] = str(answer.json()["id"])

    answer = batch(other, *requests_of(steps, [f"${place}" for place in range(len(steps))]))

    if statuses[-1] < 400:
        assert [response["status"] for response in done(answer)] == statuses
        titles = [title for title, _ in seen(one)]
        assert [title for title, _ in seen(other)] == titles
    else:
        pointer = f"/requests/{len(statuses) - 1}"
        assert refused(answer) == (statuses[-1], "not-found", [pointer])
        assert seen(other) == []
