"""A page from the cache is, byte for byte, the one that is made without a cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from eventapi.commands.command import Command
from eventapi.commands.resources import Delete
from eventapi.commands.users import EraseUser, GrantRole, RevokeRole
from eventapi.http.caches import Caches
from eventapi.http.lists.encoded_resources import EncodedResources
from eventapi.http.lists.pages import Pages
from eventapi.http.request import ApiRequest
from eventapi.queries.orders import Orders
from eventapi.queries.validated_cache import ValidatedCache
from eventapi.resources.registry import Registry
from events.errors import EventapiError
from tests.eventapi.http.client import OPERATOR, Caller, items_of
from tests.eventapi.http.resources.cached_texts import texts_in
from tests.eventapi.http.resources.kinds import INVOICES, KINDS, SAMPLES
from tests.eventapi.http.resources.list_model import VALUES
from tests.eventapi.http.resources.server import ResourceApi

ALL: Final = Registry(
    [one.cls for each in (KINDS, INVOICES, SAMPLES) for one in each.resources if one.kind != "item"]
)
SAMPLE: Final = {name: values[0] for name, values in VALUES.items()}
CREATED: Final[Mapping[str, tuple[Any, Any]]] = {
    "/api/v2/items": ({"title": "Alpha"}, {"title": "beta"}),
    "/api/v2/diaries": ({"text": "Alpha"}, {"text": "beta"}),
    "/api/v2/notices": ({"text": "Alpha"}, {"text": "beta"}),
    "/api/v2/posts": ({"text": "Alpha"}, {"text": "beta"}),
    "/api/v2/payslips": ({"text": "Alpha"}, {"text": "beta"}),
    "/api/v2/plans": ({"text": "Alpha"}, {"text": "beta"}),
    "/api/v2/invoices": ({"number": "A-1"}, {"cents": 7}),
    "/api/v2/samples": (SAMPLE, {"whole": 2}),
}
"""By path, what to create, and a change of it."""

ACTIONS: Final = {"invoices": "pay", "plans": "shout"}

QUERIES: Final = (
    *("", "limit=1", "limit=2&order=desc", "q=a", "q=ALPHA&limit=1", "sort=-updated_at,id&limit=2"),
    *("count=true&limit=1", "fields=id,version", "fields=id&limit=1", "owner.prefix=u"),
    "id.gt=1&fields=owner&count=true",
)
STEPS: Final = (
    *("create", "change", "act", "batch", "delete", "restore", "share", "unshare"),
    *("grant", "revoke", "elsewhere", "erase"),
)


@pytest.fixture(scope="module")
def api() -> Iterator[ResourceApi]:
    with ResourceApi(ALL) as running:
        yield running


def read(api: ResourceApi, users: Sequence[Caller], lists: Sequence[str]) -> Sequence[object]:
    """The status, the body and some headers of lists, for users and without a token."""
    found: list[object] = []
    for token in (*(me.token for me in users), None):
        for path in lists:
            answer = api.request("GET", path, token=token)
            body = answer.content if answer.status_code == 200 else b""
            headers = [answer.headers.get(name) for name in ("link", "allow", "content-type")]
            found.append((path, answer.status_code, body, headers))
    return found


def read_without_caches(
    api: ResourceApi, users: Sequence[Caller], lists: Sequence[str]
) -> Sequence[object]:
    """The same without what was cached before."""
    app = api.edge
    services = app.started
    empty = Caches(Pages(0), EncodedResources(0))
    app.started = structs.replace(services, caches=empty, orders=Orders(0))
    try:
        return read(api, users, lists)
    finally:
        app.started = services


def take(api: ResourceApi, me: Caller, other: Caller, step: str, path: str) -> None:
    """One write; whether it succeeds does not matter."""
    collection = path.rpartition("/")[2]
    state = api.run(api.edge.services.journal.state())
    number = state[collection].last_id
    place, share = f"{path}/{number}", f"{path}/{number}/shares/{other.name}"
    body, change = CREATED[path]
    creation = {"method": "POST", "path": f"/{collection}", "body": body}
    requests: dict[str, tuple[str, str, object]] = {
        "create": ("POST", path, body),
        "change": ("PATCH", place, change),
        "act": ("POST", f"{place}/{ACTIONS.get(collection, 'none')}", {}),
        "batch": ("POST", "/api/v2/batch", {"requests": [creation] * 2}),
        "delete": ("DELETE", place, None),
        "restore": ("POST", f"{place}/restore", {}),
        "share": ("PUT", share, {"can": "read"}),
        "unshare": ("DELETE", share, None),
    }
    if step in requests:
        method, where, content = requests[step]
        api.request(method, where, token=me.token, **({"json": content} if content else {}))
        return
    user = state.users.find_by_username(me.name)
    commands: dict[str, Command] = {
        "grant": GrantRole(me.name, "clerk", OPERATOR),
        "revoke": RevokeRole(me.name, "clerk", OPERATOR),
        "elsewhere": Delete(ALL.by_collection[collection], user.id if user else 0, number),
        "erase": EraseUser(me.name, OPERATOR),
    }
    with suppress(EventapiError):
        api.execute(commands[step])  # As another process does.


@given(
    st.sampled_from([*CREATED]),
    st.lists(st.sampled_from(QUERIES), min_size=2, max_size=3, unique=True),
    st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 1)), min_size=1, max_size=4),
)
def test_a_cached_page_is_the_one_without_a_cache(
    api: ResourceApi, path: str, queries: Sequence[str], steps: Sequence[tuple[str, int]]
) -> None:
    users = [api.user(), api.user()]
    lists = [f"{path}?{query}" for query in queries]
    if path == "/api/v2/items":
        lists += ["/api/v1/items", "/api/v1/items?limit=1"]
    for me in users:
        api.request("POST", path, token=me.token, json=CREATED[path][0])
    read(api, users, lists)
    for step, who in steps:
        take(api, users[who], users[1 - who], step, path)
        once, again = read(api, users, lists), read(api, users, lists)
        assert once == again == read_without_caches(api, users, lists)
    for me in users:  # Or lists of all users would grow with each example.
        take(api, me, me, "erase", path)


@pytest.mark.parametrize("collection", ["diaries", "posts"])
def test_links_of_a_cached_page_follow_the_host(api: ResourceApi, collection: str) -> None:
    me = api.user()
    for text in ("a", "b"):
        me.post(f"/{collection}", json={"text": text})
    for host in ("one.example", "two.example", "one.example"):
        page = me.get(f"/{collection}?limit=1", headers={"host": host})
        following = page.links["next"]["url"]
        assert following == page.json()["next"]
        assert following.startswith(f"http://{host}/api/v2/{collection}?")


def test_a_cached_page_has_no_values_that_its_rows_lack(api: ResourceApi) -> None:
    """Its memory is counted by its texts."""
    me = api.user()
    for _ in range(2):
        me.post("/diaries", json={"text": "long" * 1_000})
    api.edge.services.caches.drop()
    assert me.get("/diaries?fields=id&limit=1").status_code == 200
    texts = [*texts_in(api.edge.services.caches.pages)]
    assert b"fields=id&limit=1" in texts
    assert b"longlong" not in b"".join(texts)


def test_a_share_during_a_past_list_is_not_in_later_ones(
    api: ResourceApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sharing a row of another owner changes no row of the caller, so no validator."""
    me, other = api.user(), api.user()
    number = other.post("/plans", json={"text": "theirs"}).json()["id"]
    share = f"/api/v2/plans/{number}/shares/{me.name}"
    path = f"/plans?as_of={len(api.log_lines())}"
    resolve = ApiRequest.resolve_as_of

    async def share_first(request: ApiRequest, *point: Any) -> int:
        await api.request_async("PUT", share, token=other.token, json={"can": "read"})
        return await resolve(request, *point)

    with monkeypatch.context() as patched:
        patched.setattr(ApiRequest, "resolve_as_of", share_first)
        assert len(items_of(me.get(path))) == 1
    assert api.request("DELETE", share, token=other.token).status_code == 204
    assert items_of(me.get(path)) == []


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
    monkeypatch.delattr("eventapi.http.routes.listing._read_page")
    assert me.get("/diaries?text.contains=a&count=true").content == first.content
