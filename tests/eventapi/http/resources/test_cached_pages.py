"""A page from the cache is, byte for byte, the one that is made without a cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from eventapi.commands.users import EraseUser
from eventapi.http.encoded_resources import EncodedResources
from eventapi.http.routes.listing_pages import Pages
from eventapi.queries.validated_cache import ValidatedCache
from eventapi.resources.registry import Registry
from events.errors import NotFound
from tests.eventapi.http.client import OPERATOR, Caller
from tests.eventapi.http.resources.kinds import INVOICES, KINDS, SAMPLES
from tests.eventapi.http.resources.list_model import VALUES
from tests.eventapi.http.resources.server import ResourceApi

ALL: Final = Registry(
    [one.cls for each in (KINDS, INVOICES, SAMPLES) for one in each.resources if one.kind != "item"]
)
SAMPLE: Final = {name: values[0] for name, values in VALUES.items()}
CREATED: Final = {
    "/api/v1/items": ({"title": "Alpha"}, {"title": "beta"}),
    "/api/v2/diaries": ({"text": "Alpha"}, {"text": "beta"}),
    "/api/v2/notices": ({"text": "Alpha"}, {"text": "beta"}),
    "/api/v2/posts": ({"text": "Alpha"}, {"text": "beta"}),
    "/api/v2/plans": ({"text": "Alpha"}, {"text": "beta"}),
    "/api/v2/invoices": ({"number": "A-1"}, {"cents": 7}),
    "/api/v2/samples": (SAMPLE, {"whole": 2}),
}
"""By path, what to create, and a change of it."""

QUERIES: Final = ("", "limit=1", "limit=2&order=desc", "q=a", "q=ALPHA&limit=1")
QUERIES_OF_V2: Final = (
    *("sort=-updated_at,id&limit=2", "count=true&limit=1", "fields=id,version"),
    *("owner.prefix=u", "id.gt=1&fields=owner&count=true", "as_of=3"),
)
STEPS: Final = ("create", "change", "delete", "restore", "share", "unshare", "erase")
steps = st.tuples(st.sampled_from(STEPS), st.integers(0, 1), st.sampled_from([*CREATED]))


@pytest.fixture(scope="module")
def api() -> Iterator[ResourceApi]:
    with ResourceApi(ALL) as running:
        yield running


def read(api: ResourceApi, token: str | None, collection: str) -> Sequence[object]:
    """The status, the body and the links of every list of a collection, for one caller."""
    found: list[object] = []
    for path in sorted({collection, collection.replace("v1", "v2")}):
        for query in (*QUERIES, *(QUERIES_OF_V2 if path.startswith("/api/v2") else ())):
            answer = api.request("GET", f"{path}?{query}", token=token)
            assert answer.status_code in {200, 401, 404, 422}, answer.text
            body = answer.content if answer.status_code == 200 else b""
            headers = [answer.headers.get(name) for name in ("link", "allow", "content-type")]
            found.append((path, query, answer.status_code, body, headers))
    return found


def read_without_caches(api: ResourceApi, token: str | None, collection: str) -> Sequence[object]:
    """The same without any cache of pages or resources."""
    app = api.edge
    services = app.started
    app.started = structs.replace(services, pages=Pages(0), encoded=EncodedResources(0))
    try:
        return read(api, token, collection)
    finally:
        app.started = services


def take(api: ResourceApi, me: Caller, other: Caller, step: str, path: str) -> None:
    """One write; whether it succeeds does not matter."""
    token, (body, change) = me.token, CREATED[path]
    listed = api.request("GET", f"{path}?limit=1000", token=token)
    content = listed.json() if listed.status_code == 200 else []
    rows = content if isinstance(content, list) else content["items"]
    place = f"{path}/{rows[-1]['id'] if rows else 1}"
    if step == "create":
        api.request("POST", path, token=token, json=body)
    elif step == "change":
        api.request("PATCH", place, token=token, json=change)
    elif step == "delete":
        api.request("DELETE", place, token=token)
    elif step == "restore":
        api.request("POST", f"{place}/restore", token=token, json={"as_of": 4})
    elif step == "share":
        share = f"{place}/shares/{other.name}"
        api.request("PUT", share, token=token, json={"can": "read"})
    elif step == "unshare":
        api.request("DELETE", f"{place}/shares/{other.name}", token=token)
    else:
        with suppress(NotFound):  # Erased before.
            api.execute(EraseUser(me.name, OPERATOR))


@given(st.lists(steps, min_size=1, max_size=3))
def test_a_cached_page_is_the_one_without_a_cache(
    api: ResourceApi, taken: Sequence[tuple[str, int, str]]
) -> None:
    users = [api.user(), api.user()]
    for path, (body, _) in CREATED.items():
        for me in users:
            api.request("POST", path, token=me.token, json=body)
    for step, who, path in taken:
        for token in (*(me.token for me in users), None):
            read(api, token, path)
        take(api, users[who], users[1 - who], step, path)
        for token in (*(me.token for me in users), None):
            once, again = read(api, token, path), read(api, token, path)
            assert once == again == read_without_caches(api, token, path)


def test_control_without_its_validator_the_cache_sends_a_stale_page(
    api: ResourceApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = api.user()
    me.post("/diaries", json={"text": "a"})
    first = me.get("/diaries").json()
    find = ValidatedCache.find

    def find_anything(cache: ValidatedCache[object, object], key: object, _: object) -> object:
        entry = cache._entries.get(key)
        return None if entry is None else find(cache, key, entry[0])

    with monkeypatch.context() as patched:
        patched.setattr(ValidatedCache, "find", find_anything)
        me.post("/diaries", json={"text": "b"})
        assert me.get("/diaries").json() == first
    assert len(me.get("/diaries").json()["items"]) == 2


def test_a_second_list_comes_from_the_cache(
    api: ResourceApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = api.user()
    me.post("/diaries", json={"text": "a"})
    first = me.get("/diaries?text.contains=a&count=true")
    monkeypatch.delattr("eventapi.http.routes.listing._page")
    assert me.get("/diaries?text.contains=a&count=true").content == first.content
