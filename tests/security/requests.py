"""Generates requests from the OpenAPI document, with hostile values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any
from urllib.parse import quote, quote_from_bytes

import msgspec

from tests.openapi import served

_SLOW = frozenset({"register", "login", "password", "forgot", "verification"})
"""Last segments of paths whose requests hash a password, or wait for a fixed time."""

_RARE_SHARE = 0.03
_BROKEN_SHARE = 0.02

_TEXTS = (
    *("", " ", "a", "title", "ann@example.org", "null", "true", "0", "-1", "1e999", "NaN"),
    *(
        "\x00",
        "a\x00b",
        "\ud800",
        "\u202e",
        "\ufeff",
        "\r\nX-Injected: 1",
        "İı",
        "𝒜",
        "e\u0301" * 9,
    ),
    *("' OR 1=1 --", "{{7*7}}", "${jndi:ldap://x}", "<script>alert(1)</script>", "%00", "%n%s"),
    *(
        "../../etc/passwd",
        "..%2f..%2f",
        "\\",
        "//",
        "?",
        "#",
        ";",
        "a" * 255,
        "é" * 3_000,
        "9" * 400,
    ),
)
_NUMBERS = (0, 1, 2, -1, 0.5, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**30, 1e308, 5e-324)
_EXTRA = ("id", "owner_id", "role", "roles", "is_admin", "version", "__proto__", "hashed_password")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get")
_KINDS = (
    *("application/json", "application/x-www-form-urlencoded", "application/merge-patch+json"),
    *(
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        ";",
        "*/*",
    ),
)
_FIELDS = (
    *("Accept", "Accept-Encoding", "If-Match", "If-None-Match", "Idempotency-Key", "Origin"),
    *("Range", "Cookie", "Content-Encoding", "X-Forwarded-For", "X-Request-ID", "User-Agent"),
    *("Upgrade", "Connection", "Expect", "Transfer-Encoding", "Content-Length", "Trailer"),
    *("X-HTTP-Method-Override", "Forwarded", "Access-Control-Request-Method", "Referer", "TE"),
)
_SCHEMES = ("Bearer", "bearer", "Basic", "Digest", "", "Bearer Bearer")


class Generated(msgspec.Struct, frozen=True):
    """The bytes of a request; ``whole`` is whether they are framed correctly."""

    data: bytes
    method: str
    operation: str
    whole: bool = True


class Operation(msgspec.Struct, frozen=True):
    """An operation of the document with its query parameters and body schema."""

    method: str
    path: str
    query: Sequence[str]
    body: Any

    @property
    def is_rare(self) -> bool:
        """Whether it takes long, or ends the session that other requests need."""
        end = self.path.rsplit("/", 1)[-1]
        ends = "/auth/" in self.path and (self.method == "DELETE" or end == "logout")
        return ends or end in _SLOW


def operations(document: Mapping[str, Any]) -> list[Operation]:
    """Every operation of an OpenAPI document."""
    found = []
    for path, methods in served(document).items():
        if path.endswith("/items/events"):
            continue  # Its answer does not end.
        for method, described in methods.items():
            parameters = described.get("parameters", ())
            query = [one["name"] for one in parameters if one["in"] == "query"]
            content = described.get("requestBody", {}).get("content", {})
            schemas = [kind["schema"] for kind in content.values()]
            found.append(Operation(method.upper(), path, query, schemas[0] if schemas else None))
    return found


class RequestGenerator:
    """Generates requests; the same seed yields the same requests."""

    def __init__(
        self, dice: Random, document: Mapping[str, Any], authorizations: Sequence[str]
    ) -> None:
        self._dice = dice
        self._document = document
        self._operations = operations(document)
        self.authorizations = list(authorizations)

    def generate(self) -> Generated:
        """Generate the next request."""
        dice = self._dice
        operation = dice.choice(self._operations)
        while operation.is_rare and dice.random() > _RARE_SHARE:
            operation = dice.choice(self._operations)
        method = operation.method if dice.random() < 0.95 else dice.choice(_METHODS)
        target = self._target(operation)
        body = self._body(operation.body)
        fields = ["Host: test", *self._fields()]
        if body or dice.random() < 0.05:
            kind = _KINDS[0] if dice.random() < 0.9 else dice.choice(_KINDS)
            fields.append(f"Content-Type: {kind}")
        if dice.random() < 0.1:
            fields.append("Transfer-Encoding: chunked")
            body = self._chunked(body)
        elif body or method in {"POST", "PUT", "PATCH"}:
            fields.append(f"Content-Length: {len(body)}")
        head = "\r\n".join((f"{method} {target} HTTP/1.1", *fields, "", "")).encode()
        made = Generated(head + body, method, f"{operation.method} {operation.path}")
        return self._break(made) if dice.random() < _BROKEN_SHARE else made

    # The head

    def _target(self, operation: Operation) -> str:
        dice = self._dice
        path = "/".join(
            self._segment() if part.startswith("{") else part for part in operation.path.split("/")
        )
        if dice.random() < 0.03:
            path += dice.choice(("/", "//", "/..", "/%2e%2e/", ";x", "%00", "/items/1", "%zz"))
        names = [name for name in operation.query if dice.random() < 0.4]
        if dice.random() < 0.05:
            names.append(dice.choice((*_EXTRA, "limit", "[]", "")))
        if not names:
            return path
        return path + "?" + "&".join(f"{quote(name)}={self._query_value()}" for name in names)

    def _segment(self) -> str:
        if self._dice.random() < 0.7:
            return str(self._dice.randint(1, 60))
        return quote(self._text(), safe="", errors="surrogatepass")

    def _query_value(self) -> str:
        dice = self._dice
        if dice.random() < 0.4:
            return str(dice.choice((0, 1, 2, 10, 100, 1000)))
        if dice.random() < 0.1:
            return quote_from_bytes(dice.randbytes(dice.randint(1, 20)))
        return quote(self._text(), safe="", errors="surrogatepass")

    def _fields(self) -> list[str]:
        dice = self._dice
        fields = []
        chance = dice.random()
        if chance < 0.85:
            fields.append(f"Authorization: Bearer {dice.choice(self.authorizations)}")
        elif chance < 0.95:
            token = dice.choice((*self.authorizations, "x", "a.b.c", "e30.e30.", ""))
            fields.append(f"Authorization: {dice.choice(_SCHEMES)} {token[: dice.randint(0, 400)]}")
        while dice.random() < 0.2:
            fields.append(f"{dice.choice(_FIELDS)}: {self._field_value()}")
        return fields

    def _field_value(self) -> str:
        dice = self._dice
        chosen = (
            *('"1"', '"2"', "*", 'W/"1"', '"1", "2"', "1", "bytes=0-", "gzip", "https://a.example"),
            *(
                f"key-{dice.randint(1, 500)}",
                '"' + "k" * dice.randint(1, 300) + '"',
                "text/html;q=0",
            ),
        )
        if dice.random() < 0.7:
            return dice.choice(chosen)
        text = self._text().encode(errors="replace").decode("latin-1")
        return "".join(letter for letter in text if letter.isprintable()).strip() or "x"

    # The body

    def _body(self, schema: Any) -> bytes:
        dice = self._dice
        if schema is None and dice.random() < 0.97:
            return b""
        chance = dice.random()
        if chance < 0.02:
            return dice.randbytes(dice.randint(0, 60))
        if chance < 0.03:
            return b'{"title":' * dice.choice((1, 50, 3_000))
        value = self._value(schema or {}, 0) if chance < 0.95 else self._any(0)
        written = json.dumps(value, ensure_ascii=dice.random() < 0.5)
        body = written.encode(errors="surrogatepass")
        return body[: dice.randint(0, len(body))] if dice.random() < 0.02 else body

    def _value(self, schema: Mapping[str, Any], depth: int) -> Any:
        """A value that follows a schema in most cases."""
        dice = self._dice
        while "$ref" in schema:
            schema = self._document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
        if dice.random() < 0.08:
            return self._any(depth)
        if "anyOf" in schema:
            return self._value(dice.choice(schema["anyOf"]), depth)
        if "properties" in schema:
            made = {
                name: self._value(inner, depth + 1)
                for name, inner in schema["properties"].items()
                if dice.random() < 0.85
            }
            if dice.random() < 0.1:
                made[dice.choice(_EXTRA)] = self._any(depth + 1)
            return made
        if schema.get("type") == "string":
            return f"text {dice.randint(1, 999)}" if dice.random() < 0.7 else self._text()
        return self._any(depth)

    def _any(self, depth: int) -> Any:
        dice = self._dice
        chance = dice.random()
        if chance < 0.45 or depth > 4:
            return self._text()
        if chance < 0.7:
            return dice.choice(_NUMBERS)
        if chance < 0.8:
            return dice.choice((None, True, False))
        if chance < 0.9:
            return [self._any(depth + 1) for _ in range(dice.randint(0, 4))]
        return {self._text(): self._any(depth + 1) for _ in range(dice.randint(0, 4))}

    def _text(self) -> str:
        dice = self._dice
        if dice.random() < 0.8:
            return dice.choice(_TEXTS)
        return "".join(
            chr(dice.choice((dice.randint(0, 0x2FF), dice.randint(0, 0x10FFFF)))) for _ in range(5)
        )

    def _chunked(self, body: bytes) -> bytes:
        size = self._dice.randint(1, 50)
        parts = [body[at : at + size] for at in range(0, len(body), size)]
        return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"

    def _break(self, made: Generated) -> Generated:
        """The request with some of its bytes changed, repeated or removed."""
        dice = self._dice
        data = bytearray(made.data)
        for _ in range(dice.randint(1, 3)):
            at = dice.randrange(len(data) + 1)
            end = min(at + dice.randint(0, 8), len(data))
            data[at:end] = dice.choice(
                (
                    b"",
                    b"\r\n",
                    b"\n",
                    b"\x00",
                    b" ",
                    b":",
                    bytes(data[at:end]) * 2,
                    dice.randbytes(4),
                )
            )
        return msgspec.structs.replace(made, data=bytes(data), whole=False)
