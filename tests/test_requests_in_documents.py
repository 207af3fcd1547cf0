"""Requests that documents name are operations of the server."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path

import pytest

from tests.eventapi.http.routes.test_batch import ShopApi
from tests.test_documents import DOCUMENTS, ROOT

_REQUEST = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE|HEAD) (/[\w./{}<>-]*)")
_OF_AN_APPLICATION = "/api/v2/projections/"
"""The beginning of paths that only the application in the text has."""

_NO_OPERATION = frozenset({"/auth/sessions/"})
"""Paths that documents name because they are refused."""


@pytest.fixture(scope="module")
def operations() -> Collection[tuple[str, str]]:
    """The method and the path of every operation, of the shop in the documents as well."""
    with ShopApi() as shop:
        document = shop.request("GET", "/openapi.json").json()
    return [
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    ]


def requests_in(text: str) -> Iterable[tuple[str, str]]:
    for method, path in _REQUEST.findall(text):
        place = path.rstrip(".")
        if place not in _NO_OPERATION and "<" not in place and ".." not in place:
            yield "GET" if method == "HEAD" else method, place


def unknown_in(text: str, operations: Collection[tuple[str, str]]) -> list[str]:
    """The requests in a text that no operation answers."""
    return [
        f"{method} {path}"
        for method, path in requests_in(text)
        if not path.startswith(_OF_AN_APPLICATION)
        and not any(
            method == known and re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path)
            for known, template in operations
        )
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_request_in_a_document_is_an_operation(
    document: Path, operations: Collection[tuple[str, str]]
) -> None:
    assert unknown_in(document.read_text(), operations) == []


def test_control_a_wrong_path_and_a_wrong_method_are_detected(
    operations: Collection[tuple[str, str]],
) -> None:
    text = "`GET /api/v2/log/proof/consistency/10`, `PUT /items` and `GET /items/7?as_of=1`."

    assert unknown_in(text, operations) == ["GET /api/v2/log/proof/consistency/10", "PUT /items"]
