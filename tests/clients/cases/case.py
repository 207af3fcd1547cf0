"""A case: a named request that is sent to both services."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.clients.observing import Request

JSON: Final = {"Content-Type": "application/json"}
FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
TEXT: Final = {"Content-Type": "text/plain"}
MULTIPART: Final = {"Content-Type": "multipart/form-data; boundary=x"}


@dataclass(frozen=True)
class Case:
    """A named request; `{ann}` in a header is replaced by the access token of ann."""

    name: str
    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    times: int = 1
    """The number of times that it is sent; the last answer is compared."""

    def request(self, tokens: Mapping[str, str]) -> Request:
        """The request, with the tokens of one service."""
        headers = {name: text.format_map(tokens) for name, text in self.headers.items()}
        return Request(self.method, self.path, headers, self.body)


def by(name: str, **more: str) -> dict[str, str]:
    """The headers of a caller."""
    return {"Authorization": f"Bearer {{{name}}}", **more}


def multipart(**fields: str) -> bytes:
    """A body of multipart form data."""
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    return ("".join(parts) + "--x--\r\n").encode()


def case_of(name: str, method: str, path: str, headers: Mapping[str, str], body: Any) -> Case:
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    return Case(name, method, path, headers, content)
