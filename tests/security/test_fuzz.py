"""A short run of the fuzzer, and controls of its checks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from tests.security.fuzz import fuzz, wrong_shape, wrong_with
from tests.security.raw import Answer
from tests.security.requests import Generated, RequestGenerator

FIELDS = [
    ("x-request-id", "r"),
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "default-src 'none'"),
]
PROBLEM = ("content-type", "application/problem+json")
NOT_FOUND = b'{"type":"/problems/not-found","status":404,"request_id":"r"}'
JSON = ("content-type", "application/json")

RIGHT = Answer(404, [*FIELDS, PROBLEM], NOT_FOUND)


def test_no_generated_request_makes_the_server_fail(tmp_path: Path) -> None:
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
        ({"fields": FIELDS}, "a malformed document"),
        ({"fields": [*FIELDS, JSON]}, "a malformed document"),
        ({"body": b""}, "a malformed document"),
        ({"body": NOT_FOUND[:-1]}, "a malformed document"),
        ({"body": NOT_FOUND.replace(b'"r"', b'"s"')}, "a malformed document"),
        ({"body": NOT_FOUND.replace(b"404", b"403")}, "a malformed document"),
        ({"body": NOT_FOUND.replace(b"not-", b"no-")}, "an unknown problem type"),
    ],
)
def test_control_a_wrong_answer_is_detected(change: dict[str, object], wrong: str) -> None:
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
def test_control_an_error_of_another_version_is_detected(
    path: str, kind: tuple[str, str], wrong: str
) -> None:
    answer = msgspec.structs.replace(RIGHT, fields=[*FIELDS, kind])
    request = Generated(f"GET {path} HTTP/1.1\r\n\r\n".encode(), "GET", "GET /items")

    assert wrong_shape(answer, request) == wrong


def test_the_same_seed_generates_the_same_requests() -> None:
    document: Mapping[str, Any] = {
        "paths": {
            "/items/{id}": {
                "get": {"responses": {}},
                "put": {"responses": {}, "requestBody": {"content": {}}},
            }
        }
    }
    one, same, other = (RequestGenerator(Random(seed), document, ["token"]) for seed in (1, 1, 2))

    requests = [one.generate() for _ in range(50)]

    assert requests == [same.generate() for _ in range(50)]
    assert requests != [other.generate() for _ in range(50)]
