"""A few thousand made-up requests, and the controls of who judges their answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from tests.security.fuzz import fuzz, wrong_shape, wrong_with
from tests.security.raw import Answer
from tests.security.requests import Made, Maker

FIELDS = [
    ("x-request-id", "r"),
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "default-src 'none'"),
]
PROBLEM = ("content-type", "application/problem+json")
NOT_FOUND = b'{"type":"/problems/not-found","status":404,"request_id":"r"}'
JSON = ("content-type", "application/json")

RIGHT = Answer(404, [*FIELDS, PROBLEM], NOT_FOUND)


def test_no_made_up_request_breaks_anything(tmp_path: Path) -> None:
    figures = fuzz(tmp_path, 4_000, seed=1, clients=1)
    assert figures.failures == []
    assert figures.requests == 4_000
    assert figures.broken > 40
    assert len(figures.operations) > 60
    assert figures.statuses.keys() >= {200, 201, 204, 400, 401, 404, 405, 415, 422}


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({}, ""),
        ({"status": 500}, "a failure of the server"),
        ({"fields": [*FIELDS[1:], PROBLEM]}, "not one x-request-id"),
        ({"fields": [*FIELDS, FIELDS[1], PROBLEM]}, "not one x-content-type-options"),
        ({"fields": FIELDS}, "a document that is none"),
        ({"fields": [*FIELDS, JSON]}, "a document that is none"),
        ({"body": b""}, "a document that is none"),
        ({"body": NOT_FOUND[:-1]}, "a document that is none"),
        ({"body": NOT_FOUND.replace(b'"r"', b'"s"')}, "a document that is none"),
        ({"body": NOT_FOUND.replace(b"404", b"403")}, "a document that is none"),
        ({"body": NOT_FOUND.replace(b"not-", b"no-")}, "a problem nobody knows"),
    ],
)
def test_control_an_answer_that_is_wrong_is_found(change: dict[str, object], wrong: str) -> None:
    assert wrong_with(msgspec.structs.replace(RIGHT, **change), "GET") == wrong


@pytest.mark.parametrize(
    ("path", "kind", "wrong"),
    [
        ("/items/1", JSON, ""),
        ("/items/1", PROBLEM, "a problem document in version 1"),
        ("/api/v1/items", PROBLEM, "a problem document in version 1"),
        ("/api/v2/items/1?x=1", PROBLEM, ""),
        ("/api/v2/items/1?x=1", JSON, "an error of version 1 in version 2"),
    ],
)
def test_control_an_error_of_another_version_is_found(
    path: str, kind: tuple[str, str], wrong: str
) -> None:
    answer = msgspec.structs.replace(RIGHT, fields=[*FIELDS, kind])
    made = Made(f"GET {path} HTTP/1.1\r\n\r\n".encode(), "GET", "GET /items")
    assert wrong_shape(answer, made) == wrong


def test_requests_are_the_same_from_the_same_dice() -> None:
    document: Mapping[str, Any] = {
        "paths": {
            "/items/{id}": {
                "get": {"responses": {}},
                "put": {"responses": {}, "requestBody": {"content": {}}},
            }
        }
    }
    one, same, other = (Maker(Random(seed), document, ["token"]) for seed in (1, 1, 2))
    made = [one.make() for _ in range(50)]
    assert made == [same.make() for _ in range(50)]
    assert made != [other.make() for _ in range(50)]
