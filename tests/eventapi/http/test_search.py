"""Searching: folded in every form, in slices, and without a slip when the state moves meanwhile."""

from __future__ import annotations

import asyncio
import unicodedata
from typing import Any

import pytest

from eventapi.commands.items import CreateItem
from eventapi.http.routes import search
from eventapi.http.routes.search import CasefoldedTexts, folded, matching
from events.vocabulary.items import Content
from projections.tables.items import Item
from tests.eventapi.http.client import Api, Caller, elsewhere


def item(number: int, title: str, description: str | None = None) -> Item:
    return Item(number, title, description, 1, "", "", number)


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
def test_a_search_finds_a_text_in_every_form(
    ann: Caller, prefix: str, text: str, part: str, forms: str
) -> None:
    """What one device types composed, another types decomposed."""
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
        page = me.get("/items", params={"q": q, "after": number - 1}).json()
        items = page if isinstance(page, list) else page["items"]
        assert [one["id"] for one in items] == [number]


def test_a_search_never_matches_across_title_and_description() -> None:
    items = [item(1, "ab", "cd"), item(2, "abcd")]
    found = asyncio.run(matching(items, "bc", 10, CasefoldedTexts()))
    assert [one.id for one in found] == [2]


def test_a_long_search_lets_others_have_their_turn() -> None:
    items = [item(number, "title", "\U0001f600" * 5000) for number in range(200)]

    async def turns() -> int:
        searching = asyncio.create_task(matching(items, "nothing", 10, CasefoldedTexts()))
        count = 0
        while not searching.done():
            await asyncio.sleep(0)
            count += 1
        return count

    assert asyncio.run(turns()) > 20


def test_control_a_short_search_takes_one_turn() -> None:
    items = [item(number, "title") for number in range(100)]

    async def found() -> bool:
        searching = asyncio.create_task(matching(items, "title", 1000, CasefoldedTexts()))
        await asyncio.sleep(0)
        return searching.done()

    assert asyncio.run(found())


def test_texts_are_folded_once_and_no_more_than_a_bound_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = 0

    def counted(text: str) -> str:
        nonlocal count
        count += 1
        return folded(text)

    monkeypatch.setattr(search, "casefold_key", counted)
    items = [item(number, "title", "\U0001f600" * 1000) for number in range(1, 11)]
    texts = CasefoldedTexts()
    for _ in range(3):
        expected = "title\0" + "\U0001f600" * 1000
        assert [texts.of(one) for one in items] == [expected] * 10
    assert count == 10
    monkeypatch.setattr(search, "_CACHED_CHARACTERS", 2500)
    small = CasefoldedTexts()
    for one in items:
        small.of(one)
        assert small._characters <= 2500
        assert len(small._by_version) <= 2


def test_another_version_of_an_item_is_folded_anew() -> None:
    texts = CasefoldedTexts()
    old = Item(1, "title", "É" * 500, 1, "", "", 7)
    new = Item(1, "title", "Ü" * 500, 1, "", "", 8)
    assert "é" in texts.of(old)
    assert "ü" in texts.of(new)


def test_a_search_shows_one_moment_while_items_come_and_go(new_api: Api) -> None:
    """No item that was there throughout is left out or shown twice, and none fails the search."""
    ann = new_api.caller()
    text = "\U0001f600" * 4000
    elsewhere(new_api, *(CreateItem(1, Content(f"find {n}", text)) for n in range(120)))

    async def run() -> list[int]:
        searching = asyncio.create_task(
            new_api.ask("GET", "/items?q=find&limit=1000", token=ann.token)
        )
        for number in range(1, 40):
            await new_api.ask("DELETE", f"/items/{number}", token=ann.token)
            await new_api.ask("POST", "/items", token=ann.token, json={"title": "find it"})
        return [one["id"] for one in (await searching).json()]

    found = new_api.run(run())
    assert len(found) == len(set(found))
    assert set(range(40, 121)) <= set(found)
