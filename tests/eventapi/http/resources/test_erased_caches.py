"""Once a process has applied an erasure, none of its caches has a value of the user."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import pytest

from eventapi.commands.users import EraseUser
from eventapi.http.caches import Caches
from eventapi.http.lists.parsing import Listing
from eventapi.http.request import ApiRequest
from eventapi.http.routes import selecting
from events.vocabulary.resources import Entity
from tests.eventapi.http.client import OPERATOR, Caller
from tests.eventapi.http.resources.cached_texts import texts_in
from tests.eventapi.http.resources.kinds import KINDS
from tests.eventapi.http.resources.server import ResourceApi

SECRET: Final = "geheimnis"
TEXT: Final = f"{SECRET} {'ä' * 200}"
"""A text that is long enough to be casefolded only once."""

LISTS: Final = ("", "q=geheimnis", "text.contains=geheimnis&fields=id", "limit=1&sort=text")


@pytest.fixture
def api() -> Iterator[ResourceApi]:
    with ResourceApi(KINDS) as running:
        yield running


@pytest.fixture
def me(api: ResourceApi) -> Caller:
    """A user whose values every cache has."""
    me, reader = api.user(), api.user()
    for _ in range(2):
        me.post("/posts", json={"text": TEXT})
    for query in LISTS:
        for caller in (me, reader):
            assert caller.get(f"/posts?{query}").status_code == 200
    return me


def caches_with_values(api: ResourceApi) -> Sequence[str]:
    """The names of the caches in which a value of the user is found."""
    caches: Caches = api.edge.services.caches
    return [
        name
        for name in caches.__struct_fields__
        if any(SECRET.encode() in text for text in texts_in(getattr(caches, name)))
    ]


def erase_here(me: Caller) -> None:
    assert me.erase().status_code == 204


def erase_in_another_process(me: Caller) -> None:
    me.api.execute(EraseUser(me.name, OPERATOR))
    me.api.run(me.api.edge.services.journal.state())  # As the task `run_catch_up` does.


ERASURES: Final = (erase_here, erase_in_another_process)


@pytest.mark.parametrize("erase", ERASURES)
def test_no_cache_has_a_value_of_an_erased_user(
    api: ResourceApi, me: Caller, erase: Callable[[Caller], None]
) -> None:
    erase(me)
    assert caches_with_values(api) == []


@pytest.mark.parametrize("erase", ERASURES)
def test_control_without_the_journals_call_the_values_stay(
    api: ResourceApi, me: Caller, erase: Callable[[Caller], None]
) -> None:
    api.edge.services.journal.on_erasure = lambda: None
    erase(me)
    assert caches_with_values(api) == [*Caches.__struct_fields__]


@pytest.mark.parametrize("query", ["text.contains=geheimnis", "q=geheimnis"])
def test_a_list_during_an_erasure_caches_nothing_of_the_user(
    api: ResourceApi, me: Caller, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    reader = api.user()
    select = selecting.filter_entities

    async def erase_meanwhile(
        request: ApiRequest, listing: Listing, entities: Sequence[Entity]
    ) -> list[Entity]:
        await api.execute_async(EraseUser(me.name, OPERATOR))
        await api.edge.services.journal.state()
        return await select(request, listing, entities)

    monkeypatch.setattr("eventapi.http.routes.listing.filter_entities", erase_meanwhile)
    found: Any = reader.get(f"/posts?{query}&limit=50").json()
    assert [row["text"] for row in found["items"]] == [TEXT, TEXT]
    assert caches_with_values(api) == []
