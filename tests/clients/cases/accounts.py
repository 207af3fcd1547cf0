"""Requests that register, log in, and carry tokens of every kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.clients.cases.case import FORM, JSON, MULTIPART, TEXT, Case, by, case_of, multipart
from tests.clients.services import PASSWORD


def registrations() -> list[Case]:
    number = iter(range(1000))

    def case(name: str, change: dict[str, Any], headers: Mapping[str, str] = JSON) -> Case:
        user = f"new-{next(number)}"
        body = {"username": user, "email": f"{user}@example.com", "password": PASSWORD} | change
        sent = {member: value for member, value in body.items() if value is not ...}
        return case_of(f"register {name}", "POST", "/auth/register", headers, sent)

    return [
        case("a user", {}),
        case("with a full name", {"full_name": "John Doe"}),
        case("with null as full name", {"full_name": None}),
        case("with an empty full name", {"full_name": ""}),
        case("with a member that is not known", {"confirm_password": PASSWORD, "remember": True}),
        case("a name that is taken", {"username": "ann"}),
        case("a name that is taken in another case", {"username": "ANN"}),
        case("an address that is taken", {"email": "ann@example.com"}),
        case("without a name", {"username": ...}),
        case("without any member", {"username": ..., "email": ..., "password": ...}),
        case("with a short name", {"username": "ab"}),
        case("with a long name", {"username": "a" * 33}),
        case("with a space in the name", {"username": "a b c"}),
        case("with a name that begins with -", {"username": "--help"}),
        case("with a number as name", {"username": 5}),
        case("with null as name", {"username": None}),
        case("with a bad address", {"email": "nobody"}),
        case("with an undeliverable address", {"email": "a..b@example.com"}),
        case("with an address with capitals in the domain", {"email": "cap@EXAMPLE.com"}),
        case("with an address of a local network", {"email": "someone@company.local"}),
        case("with an address for tests", {"email": "someone@company.test"}),
        case("with an address beyond ASCII", {"email": "jörg@exämple.de"}),
        case("with a newline after the name", {"username": "newline\n"}),
        case("with a name beyond ASCII", {"username": "jörg"}),
        case("with blanks as full name", {"full_name": "  "}),
        case("with an address that is too long", {"email": "a" * 250 + "@example.com"}),
        case("with a short password", {"password": "short"}),
        case("with a number as password", {"password": 12345678}),
        case("with more than bcrypt reads as password", {"username": "long", "password": "p" * 73}),
        case("with a very long password", {"password": "p" * 1025}),
        case("with a long full name", {"full_name": "n" * 101}),
        case("with a control character in the full name", {"full_name": "a\u0007b"}),
        case("with a newline in the full name", {"full_name": "a\nb"}),
        case("with an invisible full name", {"full_name": "\u200b"}),
        case("with an object as full name", {"full_name": {}}),
        case("with faults everywhere", {"username": "a", "email": "b", "password": "c"}),
        case("without a Content-Type", {}, {}),
        case("declared as text", {}, TEXT),
        case("declared as another JSON", {}, {"Content-Type": "application/vnd.api+json"}),
        case("declared as JSON in UTF-8", {}, {"Content-Type": "application/json; charset=UTF-8"}),
        case_of("register with a form", "POST", "/auth/register", FORM, b"username=abc"),
        case_of("register without a body", "POST", "/auth/register", JSON, None),
        case_of("register with a list", "POST", "/auth/register", JSON, [1]),
    ]


def logins() -> list[Case]:
    ann = {"username": "ann", "password": PASSWORD}

    def case(name: str, body: Any, headers: Mapping[str, str] = JSON) -> Case:
        return case_of(f"log in {name}", "POST", "/auth/login", headers, body)

    form = b"username=ann&password=correct+horse"
    return [
        case("with JSON", ann),
        case("with a form", b"grant_type=password&" + form, FORM),
        case("with a form without a grant type", form, FORM),
        case(
            "with a form with a scope and a client",
            form + b"&scope=&client_id=a&client_secret=b",
            FORM,
        ),
        case("with a form with a member that is not known", form + b"&remember=1", FORM),
        case("with multipart form data", multipart(**ann), MULTIPART),
        case(
            "with multipart form data and more", multipart(**ann, grant_type="password"), MULTIPART
        ),
        case("without a Content-Type", ann, {}),
        case("with JSON declared as text", ann, TEXT),
        case("with a member that is not known", ann | {"remember": True}),
        case("with the name in another case", ann | {"username": "BOB"}),
        case("with a wrong password", ann | {"password": "wrong password"}),
        case("with a short password", ann | {"password": "wrong"}),
        case("with a password without its end", {"username": "long", "password": "p" * 72}),
        case("with an empty password", ann | {"password": ""}),
        case("with an empty name", ann | {"username": ""}),
        case("with a name that is not allowed", ann | {"username": "a b\u0000" * 100}),
        case("with an address as name", ann | {"username": "ann@example.com"}),
        case("with a very long password", ann | {"password": "p" * 2000}),
        case("as an unknown user", ann | {"username": "nobody"}),
        case("with a wrong password in a form", b"username=ann&password=wrong", FORM),
        case("as a disabled user", ann | {"username": "dan"}),
        case("as a disabled user with a wrong password", {"username": "dan", "password": "wrong"}),
        case("without a password", {"username": "ann"}),
        case("without a password in a form", b"username=ann", FORM),
        case("with an empty form", b"", FORM),
        case("without anything", {}),
        case("with a number as password", ann | {"password": 5}),
        case("with null as password", ann | {"password": None}),
        case("with a list", [1]),
        case_of("log in with a query", "POST", "/auth/login?next=/", JSON, ann),
        case("without a body", None),
        case("with malformed JSON", b'{"username": "ann", '),
        case(
            "with a name twice in JSON",
            b'{"username": "bob", "username": "ann", "password": "correct horse"}',
        ),
        case("with a name twice in a form", b"username=bob&" + form, FORM),
        case("with a byte order mark", b"\xef\xbb\xbf" + json.dumps(ann).encode()),
    ]


def callers() -> list[Case]:
    places = {
        "GET /auth/me": None,
        "GET /items": None,
        "GET /items/1": None,
        "POST /items": {"title": "t"},
        "PUT /items/1": {"title": "t"},
        "DELETE /items/1": None,
    }
    callers: dict[str, Mapping[str, str]] = {
        "without a token": {},
        "with a token that is none": {"Authorization": "Bearer nonsense"},
        "with a token of another key": {"Authorization": "Bearer {forged}"},
        "with a token that has expired": {"Authorization": "Bearer {expired}"},
        "with a token without a type": {"Authorization": "Bearer {typeless}"},
        "with a token of an unknown user": {"Authorization": "Bearer {nobody}"},
        "with a token of no algorithm": {"Authorization": "Bearer {none}"},
        "with a token of the replaced service": {"Authorization": "Bearer {predecessor}"},
        "of a disabled user": {"Authorization": "Bearer {dan}"},
        "with another scheme": {"Authorization": "Basic YW5uOnBhc3M="},
        "with an empty header": {"Authorization": ""},
        "with the scheme alone": {"Authorization": "Bearer"},
        "with the scheme in lower case": {"Authorization": "bearer {ann}"},
        "with a blank at the end": {"Authorization": "Bearer {ann} "},
        "with the scheme in upper case": {"Authorization": "BEARER {ann}"},
        "with two spaces": {"Authorization": "Bearer  {ann}"},
    }
    cases = [
        case_of(
            f"{place} {name}",
            place.split()[0],
            place.split()[1],
            {**headers, **(JSON if body else {})},
            body,
        )
        for place, body in places.items()
        for name, headers in callers.items()
        if name in {"without a token", "with a token that is none"} or place == "GET /auth/me"
    ]
    return [
        *cases,
        case_of("POST /items without a token and with a fault", "POST", "/items", JSON, {}),
        case_of(
            "POST /items with a bad token and malformed JSON",
            "POST",
            "/items",
            {"Authorization": "Bearer x", **JSON},
            b"{",
        ),
        case_of("who I am", "GET", "/auth/me", by("bob"), None),
        case_of("a token in the query", "GET", "/items?access_token=x", {}, None),
    ]
