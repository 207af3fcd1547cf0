"""Requests that create, list, read, replace and delete items."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from typing import Any, Final

from tests.clients.cases.case import FORM, JSON, TEXT, Case, by, case_of


def _creation(name: str, body: Any, headers: Mapping[str, str] = JSON) -> Case:
    return case_of(f"create {name}", "POST", "/items", by("ann", **headers), body)


def creations() -> list[Case]:
    """JSON bodies with every fault of a value."""
    case = _creation
    return [
        case("an item", {"title": "First"}),
        case("with a description", {"title": "First", "description": "My first item"}),
        case("with null as description", {"title": "First", "description": None}),
        case("with CR LF", {"title": "First", "description": "one\r\ntwo\ttabbed"}),
        case("with characters of all planes", {"title": "日本 🎉 é", "description": "\u2028"}),
        case("with a member that is not known", {"title": "First", "done": True}),
        case(
            "with all members of an item",
            {"id": 5, "title": "t", "owner": "bob", "created_at": "x"},
        ),
        case("without a title", {"description": "x"}),
        case("without anything", {}),
        case("with an empty title", {"title": ""}),
        case("with a title of blanks", {"title": "   "}),
        case("with an invisible title", {"title": "\u200b"}),
        case("with a newline in the title", {"title": "a\nb"}),
        case("with a tab in the title", {"title": "a\tb"}),
        case("with a NUL in the title", {"title": "a\u0000b"}),
        case("with a direction override in the title", {"title": "a\u202eb"}),
        case("with a long title", {"title": "t" * 201}),
        case("with the longest title", {"title": "t" * 200}),
        case("with the longest title of emoji", {"title": "🎉" * 200}),
        case("with a line separator in the title", {"title": "a\u2028b"}),
        case("with a zero-width joiner in the title", {"title": "👩\u200d🚀"}),
        case("with a number as title", {"title": 5}),
        case("with true as title", {"title": True}),
        case("with null as title", {"title": None}),
        case("with a list as title", {"title": ["t"]}),
        case("with an object as title", {"title": {"a": 1}}),
        case("with a long description", {"title": "t", "description": "d" * 5001}),
        case(
            "with a control character in the description", {"title": "t", "description": "\u0007"}
        ),
        case("with a number as description", {"title": "t", "description": 5}),
        case("with faults everywhere", {"title": 5, "description": 5}),
    ]


def odd_bodies() -> list[Case]:
    """Bodies that are declared as another type, or are not JSON."""
    case = _creation
    deep = b'{"title": "t", "description": ' + b"[" * 40 + b"]" * 40 + b"}"
    return [
        case("without a Content-Type", {"title": "First"}, {}),
        case("declared as text", {"title": "First"}, TEXT),
        case(
            "declared as another JSON",
            {"title": "First"},
            {"Content-Type": "application/vnd.api+json"},
        ),
        case(
            "declared as JSON in Latin-1",
            {"title": "First"},
            {"Content-Type": "application/json; charset=latin-1"},
        ),
        case("with a form", b"title=First", FORM),
        case("without a body", None),
        case("with an empty body", b""),
        case("with null", b"null"),
        case("with a list", [{"title": "First"}]),
        case("with a string", b'"title"'),
        case("with malformed JSON", b'{"title": "First"'),
        case("with a comma too many", b'{"title": "First",}'),
        case("with bytes that are not UTF-8", b'{"title": "\xff"}'),
        case("with a lone surrogate", b'{"title": "\\ud800"}'),
        case("with NaN", b'{"title": "First", "description": NaN}'),
        case("with NaN in a member that is not known", b'{"title": "First", "x": NaN}'),
        case("with a title twice", b'{"title": "First", "title": "Second"}'),
        case("with a deep body", deep),
        case("with a deep member that is not known", deep.replace(b"description", b"x")),
        case("with a member that is not known twice", b'{"title": "First", "x": 1, "x": 2}'),
        case("with a huge number in a member", b'{"title": "First", "x": 1e999}'),
        case("with a long number in a member", b'{"title": "First", "x": ' + b"9" * 40 + b"}"),
        case("in UTF-16", '{"title": "First"}'.encode("utf-16")),
        case(
            "compressed", gzip.compress(b'{"title": "First"}'), JSON | {"Content-Encoding": "gzip"}
        ),
        case("with a large body", {"title": "t", "x": "x" * 70_000}),
        case("with a byte order mark", b'\xef\xbb\xbf{"title": "First"}'),
        case_of("create with a query", "POST", "/items?x=1", by("ann", **JSON), {"title": "First"}),
    ]


PUT: Final = {"title": "Changed", "description": "changed"}


def items() -> list[Case]:
    """Requests for existing items."""
    return [
        case_of("list", "GET", "/items", by("bob"), None),
        case_of("list many", "GET", "/items", by("gil"), None),
        case_of("list none", "GET", "/items", by("eve"), None),
        case_of("list with a query that is not known", "GET", "/items?page=2", by("bob"), None),
        case_of("list with a cache buster", "GET", "/items?_=1700000000", by("bob"), None),
        case_of("list with skip and limit", "GET", "/items?skip=0&limit=1", by("bob"), None),
        case_of("list with a limit", "GET", "/items?limit=1", by("ann"), None),
        case_of("list with a limit that is no number", "GET", "/items?limit=x", by("bob"), None),
        case_of(
            "list with Accept: text/html", "GET", "/items", by("bob", Accept="text/html"), None
        ),
        case_of("list with a body", "GET", "/items", by("bob", **JSON), {"x": 1}),
        case_of("read", "GET", "/items/3", by("bob"), None),
        case_of(
            "read with a query that is not known", "GET", "/items/3?fields=title", by("bob"), None
        ),
        case_of(
            "read with a condition", "GET", "/items/3", by("bob", **{"If-None-Match": "*"}), None
        ),
        case_of(
            "replace with a condition",
            "PUT",
            "/items/3",
            by("bob", **JSON, **{"If-Match": '"x"'}),
            PUT,
        ),
        case_of(
            "replace with a bad key",
            "PUT",
            "/items/3",
            by("bob", **JSON, **{"Idempotency-Key": ""}),
            PUT,
        ),
        case_of(
            "read with a position",
            "GET",
            "/items/3",
            by("bob", **{"Min-Event-Position": "x"}),
            None,
        ),
        case_of("replace", "PUT", "/items/3", by("bob", **JSON), PUT),
        case_of(
            "replace without a description", "PUT", "/items/3", by("bob", **JSON), {"title": "t"}
        ),
        case_of(
            "replace without a title", "PUT", "/items/3", by("bob", **JSON), {"description": "d"}
        ),
        case_of(
            "replace with all members of an item",
            "PUT",
            "/items/3",
            by("bob", **JSON),
            {"id": 3, **PUT, "owner": "bob", "created_at": "2025-10-13T12:30:00"},
        ),
        case_of("replace with malformed JSON", "PUT", "/items/3", by("bob", **JSON), b"{"),
        case_of("replace without a body", "PUT", "/items/3", by("bob"), None),
        case_of(
            "replace what is not there with a fault", "PUT", "/items/999", by("bob", **JSON), {}
        ),
        case_of("delete with a body", "DELETE", "/items/2", by("ann", **JSON), {"x": 1}),
        case_of("delete again", "DELETE", "/items/2", by("ann"), None),
    ]


def numbers() -> list[Case]:
    """Requests for items by ids of every form."""
    forms = {
        "of another user": "1",
        "that is not there": "999",
        "zero": "0",
        "negative": "-1",
        "a word": "abc",
        "a fraction": "1.5",
        "a fraction of a whole number": "4.0",
        "with a plus": "+4",
        "with zeros": "004",
        "with an underscore": "1_0",
        "with a space": "%204",
        "beyond 64 bits": "9" * 20,
        "of other digits": "%D9%A4",
    }
    cases = []
    for name, number in forms.items():
        path = f"/items/{number}"
        cases.append(case_of(f"read an id {name}", "GET", path, by("cyd"), None))
        cases.append(case_of(f"replace an id {name}", "PUT", path, by("cyd", **JSON), PUT))
    cases += [
        case_of(f"delete an id {name}", "DELETE", f"/items/{forms[name]}", by("cyd"), None)
        for name in ("of another user", "that is not there", "a word")
    ]
    return cases
