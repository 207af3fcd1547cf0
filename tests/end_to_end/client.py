"""A small HTTP/1.1 client: one keep-alive connection, and no doubt about what became of a request.

A general client would retry, pool or follow; here it must be known whether a request was sent,
and how the connection ended.
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
    """The connection ended before the answer was whole: the request may have been carried out."""


class Answer(msgspec.Struct, frozen=True):
    """A whole answer; the names of ``headers`` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def number(self, name: str) -> int:
        """A header that is a number, perhaps in quotes; 0 where it is missing."""
        return int(self.headers.get(name, "0").strip('"'))

    def json(self) -> Any:
        """The decoded body."""
        return msgspec.json.decode(self.body)


class Connection:
    """A connection to the worker that accepted it, whose process is ``worker``."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.worker = 0

    @classmethod
    async def open(
        cls, port: int, *, ask_who: bool = True, tls: ssl.SSLContext | None = None
    ) -> Self:
        """Connect and, unless that would disturb, ask who is there.

        Raises `OSError` and `BrokenError`.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        connection = cls(reader, writer)
        if not ask_who:
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
        """Send a request, and wait for all of its answer; raises `BrokenError`."""
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
            # Python 3.11's TimeoutError is an OSError too: no answer in time is no answer.
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
        """Let go of the connection."""
        self._writer.close()
