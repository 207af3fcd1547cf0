"""A minimal HTTP/1.1 client: one keep-alive connection, no retries, no redirects.

Tests need to know whether each request was sent and how its connection ended. General clients hide
that.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from typing import Any, Self

import msgspec

REQUEST_SECONDS = 20.0


class BrokenError(Exception):
    """The connection broke before the response; the request may have taken effect."""


class Answer(msgspec.Struct, frozen=True):
    """A complete response; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def number(self, name: str) -> int:
        """The value of a numeric header, with or without quotes; 0 if it is missing."""
        return int(self.headers.get(name, "0").strip('"'))

    def json(self) -> Any:
        """The decoded body."""
        return msgspec.json.decode(self.body)


class Connection:
    """A connection to a worker; ``worker`` is its process id, 0 if not requested."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.worker = 0

    @classmethod
    async def open(
        cls, port: int, *, identify: bool = True, tls: ssl.SSLContext | None = None
    ) -> Self:
        """Connect and, with ``identify``, request the id of the worker process.

        Raises `OSError` and `BrokenError`.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        connection = cls(reader, writer)
        if not identify:
            return connection
        answer = await connection.request("GET", "/health")
        if answer.status != 200:
            connection.close()
            raise BrokenError(f"health is {answer.status}")
        connection.worker = answer.json()["process"]
        return connection

    async def request(
        self,
        method: str,
        path: str,
        content: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request and return the complete response; raises `BrokenError`."""
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        body = b""
        if content is not None:
            body = json.dumps(content).encode()
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                self._writer.write("\r\n".join((*lines, "", "")).encode() + body)
                return await self._answer()
        except (OSError, EOFError) as error:
            # TimeoutError is an OSError: a late response counts as none.
            self.close()
            raise BrokenError(f"{method} {path}: {error!r}") from error

    async def _answer(self) -> Answer:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head[:-4].split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in pairs}
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(first.split()[1]), headers, body)

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()
