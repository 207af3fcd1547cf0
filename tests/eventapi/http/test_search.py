"""Searches: any Unicode form, cooperative, consistent while items change."""

from __future__ import annotations

import asyncio
import unicodedata
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from eventapi.http.lists import search
from eventapi.http.lists.parsing import parse_listing
from eventapi.http.lists.search import CasefoldedTexts, casefold_text, matching
from eventapi.http.routes.selecting import filter_entities
from eventapi.http.schemas.resources import shape_of
from eventapi.http.schemas.responses import V2
from eventapi.resources import Resource
from eventapi.resources.declared import declare
from eventapi.testing.items import Content, Item, create_item
from events.vocabulary.resources import Entity
from tests.eventapi.http.client import Api, Caller, items_of
from tests.eventapi.http.turns import turns_during

TEXTS = ("title", "description")


def item(number: int, title: str, description: str | None = None) -> Entity:
    found: Entity = Item(number, title, description, 1, "", "", number)
    return found


def start_search(items: list[Entity], query: str, limit: int) -> asyncio.Task[list[Entity]]:
    return asyncio.create_task(matching(items, TEXTS, query, limit, CasefoldedTexts()))


@pytest.mark.parametrize("forms", ["NFC NFC", "NFC NFD", "NFD NFC", "NFD NFD"])
@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("Café Ångström", "CAFÉ"),
        ("Straße", "STRASSE"),
        ("ÜBERGRÖSSE", "übergrö"),
        ("한글", "한"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
    ],
)
def test_a_search_finds_a_text_in_every_unicode_form(
    ann: Caller, prefix: str, text: str, part: str, forms: str
) -> None:
    """Devices differ in whether they type composed or decomposed characters."""
    stored: Any
    typed: Any
    stored, typed = forms.split()
    me = ann.under(prefix)
    for title, description in ((text, None), ("other", text), ("x" * 190, f"{text} " * 100)):
        number = me.create(
            unicodedata.normalize(stored, title),
            None if description is None else unicodedata.normalize(stored, description),
        )
        q = unicodedata.normalize(typed, part)
        page = me.get("/items", params={"q": q, "after": number - 1})
        assert [one["id"] for one in items_of(page)] == [number]


async def test_a_search_never_matches_across_title_and_description() -> None:
    items = [item(1, "ab", "cd"), item(2, "abcd")]

    found = await matching(items, TEXTS, "bc", 10, CasefoldedTexts())

    assert [one.id for one in found] == [2]


async def test_a_long_search_yields_to_the_event_loop() -> None:
    items = [item(number, "title", "\U0001f600" * 5000) for number in range(200)]

    search_task, yields = start_search(items, "nothing", 10), 0
    while not search_task.done():
        await asyncio.sleep(0)
        yields += 1

    assert yields > 20


class Diary(Resource):
    """A kind with long lists."""

    words: list[str] = msgspec.field(default_factory=list)


def yields_of_filter(query: bytes, words: int = 3) -> int:
    """How often other requests run while 1,000 rows with lists are filtered."""
    kind = declare(Diary)
    rows = [kind.type.entity(number, ["a"] * words, 1, "", "", number) for number in range(1_000)]
    users = SimpleNamespace(by_id={})
    request: Any = SimpleNamespace(reader=SimpleNamespace(state=SimpleNamespace(users=users)))
    return turns_during(filter_entities(request, parse_listing(shape_of(kind, V2), query), rows))


def test_a_filter_of_long_lists_yields_to_the_event_loop() -> None:
    assert yields_of_filter(b"id.ge=0&words.contains=a", words=5_000) >= 80


@pytest.mark.parametrize("filtered", [b"owner.contains=a", b"words.contains=a"])
def test_a_filter_of_short_values_does_not_yield_often(filtered: bytes) -> None:
    assert yields_of_filter(b"id.ge=0&" + filtered) <= 2


async def test_control_a_short_search_does_not_yield() -> None:
    items = [item(number, "title") for number in range(100)]

    search_task = start_search(items, "title", 1000)
    await asyncio.sleep(0)

    assert search_task.done()


def test_folded_texts_are_cached_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = 0

    def counted(text: str) -> str:
        nonlocal count
        count += 1
        return casefold_text(text)

    monkeypatch.setattr(search, "casefold_text", counted)
    items = [item(number, "title", "\U0001f600" * 1000) for number in range(1, 11)]
    texts = CasefoldedTexts()
    for _ in range(3):
        expected = "title\0" + "\U0001f600" * 1000
        assert [texts.of(one, TEXTS) for one in items] == [expected] * 10
    assert count == 10

    monkeypatch.setattr(search, "_CACHED_CHARACTERS", 2500)
    small = CasefoldedTexts()
    for one in items:
        small.of(one, TEXTS)
        assert small._characters <= 2500
        assert len(small._by_version) <= 2


def test_each_version_of_an_item_is_folded_separately() -> None:
    texts = CasefoldedTexts()
    old: Entity = Item(1, "title", "É" * 500, 1, "", "", 7)
    new: Entity = Item(1, "title", "Ü" * 500, 1, "", "", 8)

    assert "é" in texts.of(old, TEXTS)
    assert "ü" in texts.of(new, TEXTS)


def test_a_search_is_consistent_while_items_are_created_and_deleted(new_api: Api) -> None:
    """It finds each item that existed throughout once, and changes do not fail it."""
    ann = new_api.caller()
    text = "\U0001f600" * 4000
    new_api.execute(*(create_item(1, Content(f"find {n}", text)) for n in range(120)))

    async def search_during_changes() -> list[int]:
        search_task = asyncio.create_task(
            new_api.request_async("GET", "/items?q=find&limit=1000", token=ann.token)
        )
        for number in range(1, 40):
            await new_api.request_async("DELETE", f"/items/{number}", token=ann.token)
            await new_api.request_async(
                "POST", "/items", token=ann.token, json={"title": "find it"}
            )
        return [one["id"] for one in (await search_task).json()]

    found = new_api.run(search_during_changes())

    assert len(found) == len(set(found))
    assert set(range(40, 121)) <= set(found)
