"""HTTP/1.1 on a socket: uvicorn's protocol on httptools, with deadlines, limits and good manners.

What cannot be parsed, or does not come in time, becomes a request with a ``refusal`` in its scope:
so it is answered in its turn, by the edge, as every other one. See docs/decisions/transport.md.
"""

from __future__ import annotations

import asyncio
import resource
from contextlib import suppress
from math import inf
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import is_ssl

from eventapi.http.head import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    MAX_TARGET_BYTES,
    malformed,
    too_large,
    too_long,
)
from eventapi.http.problems import ProblemError
from eventapi.server.connections import MAX_CONNECTIONS
from eventapi.server.cycle import BufferedTransport, Cycle, Flow
from eventapi.server.unfinished import UnfinishedRequests
from events.errors import Overloaded

HEAD_SECONDS = 10.0
"""From the first byte of a request, or from connecting, to the end of its header."""

BODY_SECONDS = 20.0
"""From the first byte of a request to the end of its body, and longer at `MIN_RATE`."""

MIN_RATE = 1_024
"""Bytes a second; who sends a body, or takes an answer, more slowly is let go."""

TAKE_SECONDS = 20.0
"""How often it is looked at whether a client takes its answer at `MIN_RATE`."""

LINGER_SECONDS = 3.0
"""How long is read on, after the last answer, so that the client can read that first."""

MAX_UNTAKEN_BYTES = 128 * 1_048_576
"""Of answers that one process keeps for clients that do not take them."""

_RESERVED_DESCRIPTORS = 64
"""Of those that a process may have, what is kept for files: the log, the vault, a snapshot."""

_HEAD_BYTES = MAX_TARGET_BYTES + MAX_HEADER_BYTES + 4 * MAX_HEADERS + 64
"""As much as a head within the limits can have; the exact limits are `inspect`'s."""

_PIECE_BYTES = 2_048
"""As much as is parsed before it is asked whether to go on: few requests fit into it."""

_DRAIN_BYTES = 262_144
"""As much of a body as is thrown away after its answer, for the sake of the connection."""

_ALLOW = (b"allow", b"DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")


_BETWEEN, _HEAD, _BODY = range(3)
"""What the parser is in the middle of; an Enum's members take longer to look up."""


_untaken: dict[ProblemProtocol, None] = {}
"""Connections with an answer that is not taken yet, in the order in which they stopped taking."""


_unfinished = UnfinishedRequests()

_FIELD_BYTES = 160
"""As much as a header field takes in memory besides its own bytes."""


def _let_go_of_the_slowest() -> None:
    """Keep within bounds what is kept for those who do not take it."""
    unsent = {one: one.transport.get_write_buffer_size() for one in _untaken}
    total = sum(unsent.values())
    for one, size in unsent.items():
        if total <= MAX_UNTAKEN_BYTES:
            return
        del _untaken[one]
        one.transport.abort()
        total -= size


def _most_connections() -> int:
    """As many as there are descriptors for, and some for files."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, max(descriptors - _RESERVED_DESCRIPTORS, 1))


class ProblemProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.url = b""
        self._stage = _BETWEEN
        self._upgrading = False  # The parser leaves off behind a head.
        self._restarting = False
        self._running: Cycle | None = None
        self._held = b""  # Read, and not parsed while requests before it wait.
        self._over = False  # Nothing more is parsed.
        self._ending = False  # Nothing more is answered.
        self._problem: ProblemError | None = None
        self._steps = 0  # Messages begun and parts of bodies seen.
        self._silent = 0  # Bytes parsed since the last step.
        self._got = 0  # Bytes of this body.
        self._is_new = False
        self._since = 0.0  # The start of what is waited for.
        self._timer: asyncio.TimerHandle | None = None
        self._alarm = inf
        self._unsent = 0
        self._unsent_since = 0.0
        self._at_end = False  # The client has said that it sends nothing more.
        self._is_counted = False  # Among the unfinished.
        self._is_lost = False
        self._is_ssl = False

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow: FlowControl = Flow(transport)
        self._outlet: Any = BufferedTransport(self.transport, self.end)
        self._is_ssl = is_ssl(transport)
        self._since = self.loop.time()
        if len(self.connections) > (self.limit_concurrency or _most_connections()):
            self._refuse(Overloaded("there are too many connections"))
        else:
            self._wake(self._since + HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._over = self._ending = True
        if self._timer is not None:
            self._timer.cancel()
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()
        self.pipeline.clear()
        self._held = b""
        _untaken.pop(self, None)
        self._count_no_more()
        super().connection_lost(exc)
        self._is_lost = True
        self._drop_references()

    def _drop_references(self) -> None:
        """Break the cycles that would keep a closed connection until the garbage collector runs."""
        self.scope = self.headers = None  # type: ignore[assignment]
        self.url = b""
        if self._running is None:
            self.cycle = self._outlet = None  # type: ignore[assignment]

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio has it
        """Answer what is under way before closing, although nothing more comes."""
        if self._stage != _BETWEEN or self._running is None or self._is_ssl:
            return False
        self._at_end = True
        return True

    def end(self) -> None:
        """Close, once what was answered has gone out.

        A socket that is closed with input unread is reset, and the client may never see its answer:
        so what it still sends is read for a while, and thrown away (RFC 9112, section 9.6).
        """
        if self._ending:
            return
        now = self.loop.time()
        whole = self._stage == _BETWEEN and not (self._over or self._held or self.pipeline)
        self._over = self._ending = True
        self._since = self._unsent_since = now
        self._unsent = self.transport.get_write_buffer_size()
        self.pipeline.clear()
        self._held = b""
        self._count_no_more()
        if whole:
            self.transport.close()
        else:
            self._release()
            if self.transport.can_write_eof() and not self.transport.is_closing():
                self.transport.write_eof()
        self._wake(now + LINGER_SECONDS)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent = self.transport.get_write_buffer_size()
        self._unsent_since = self.loop.time()
        self._wake(self._unsent_since + TAKE_SECONDS)
        _untaken[self] = None
        _let_go_of_the_slowest()

    def resume_writing(self) -> None:
        super().resume_writing()
        _untaken.pop(self, None)

    # What comes in

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        if self.pipeline or self._held:
            self._held += data
            self._hold()
            self._count()
        else:
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        """Parse until the end, an error, or too many requests that wait."""
        at, end = 0, len(data)
        while at < end and not self._over:
            piece = data[at : at + _PIECE_BYTES]  # Of bytes this is no copy where it is all.
            steps = self._steps
            try:
                at += self._feed(piece)
            except httptools.HttpParserError:
                self._refuse(self._problem or malformed("what came is no HTTP/1.1 request"))
                return
            self._silent = self._silent + len(piece) if steps == self._steps else 0
            if self._silent > _HEAD_BYTES or (
                self._stage != _BETWEEN and len(self.headers) > MAX_HEADERS
            ):
                self._refuse(self._too_much())
            elif self.pipeline:
                self._held = data[at:]
                self._hold()
                self._count()
                return
        if self._stage != _BETWEEN:
            if self._is_new:
                self._is_new = False
                self._since = self.loop.time()
            self._wake(self._due())
            if not self._over:
                self._count()
        elif self._is_counted:
            self._count_no_more()

    def _count(self) -> None:
        """Count what is held of a request that is not whole; over the bound, the oldest go."""
        size = len(self._held)
        if self._stage == _HEAD:
            size += self._silent + _FIELD_BYTES * len(self.headers)
        elif self._stage == _BODY and not self.cycle.response_complete:
            size += self._got
        self._is_counted = True
        _unfinished.put(self, size)

    def _count_no_more(self) -> None:
        if self._is_counted:
            self._is_counted = False
            _unfinished.drop(self)

    def shed(self) -> None:
        """Refuse an unfinished request, because the process holds too much of such ones."""
        self._is_counted = False
        self._held = b""
        if self._stage == _HEAD:
            self.headers.clear()
            self.url = b""
        elif self._stage == _BODY:
            self.cycle.body.clear()
        detail = "the server holds too much of unfinished requests; send it again, at once"
        self._refuse(ProblemError("request-timeout", detail))
        self.parser = None  # type: ignore[assignment]  # It holds a part of the head as well.

    def _feed(self, piece: bytes) -> int:
        """Parse a piece up to its end, or to that of a head that asks for another protocol."""
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            self._restart()
            return int(upgrade.args[0])
        return len(piece)

    def _too_much(self) -> ProblemError:
        if self._stage != _HEAD:
            return malformed("there is too much between the parts of the body")
        return too_long() if len(self.url) > MAX_TARGET_BYTES else too_large()

    def _restart(self) -> None:
        """Have the body parsed of a request that asks for another protocol.

        That may be ignored (RFC 9110, section 7.8), but the parser goes no further than the head:
        what comes next would be taken for a request. So another parser is told of such a body.
        """
        framing = b"content-length: 0"
        for name, value in self.cycle.scope["headers"]:
            if name in {b"content-length", b"transfer-encoding"}:
                framing = name + b": " + value
        self.parser = httptools.HttpRequestParser(self)
        self._restarting, self._upgrading = True, False
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n")
        self._restarting = False

    def _hold(self) -> None:
        self.flow.pause_reading()
        self.flow.hold = True  # type: ignore[attr-defined]  # a Flow

    def _release(self) -> None:
        self.flow.hold = False  # type: ignore[attr-defined]  # a Flow
        self.flow.resume_reading()

    def on_message_begin(self) -> None:
        if self._restarting:
            return
        super().on_message_begin()
        self._stage = _HEAD
        self._steps += 1
        self._is_new = True

    def on_headers_complete(self) -> None:
        if self._restarting:
            return
        version = self.parser.get_http_version()
        method = self.parser.get_method()
        scope: Any = self.scope
        scope["method"] = method.decode("ascii")
        scope["http_version"] = version
        if version not in {"1.1", "1.0"}:
            raise self._wrong(malformed(f"HTTP/{version} is not spoken here"))
        if method == b"CONNECT":
            raise self._wrong(ProblemError("method-not-allowed", "this is no proxy", [_ALLOW]))
        if b"#" in self.url:
            raise self._wrong(malformed("a target has no fragment"))
        self._take_target()
        # What comes behind the body is no part of the head (RFC 9110, section 6.5.1).
        self.headers = []
        self._stage = _BODY
        self._upgrading = self.parser.should_upgrade()
        keep_alive = version == "1.1" and self.parser.should_keep_alive()
        self._enqueue(keep_alive, self.expect_100_continue and version == "1.1")

    def _take_target(self) -> None:
        """Put the target into the scope; raises `httptools.HttpParserInvalidURLError`."""
        target = httptools.parse_url(self.url)
        raw_path = target.path or b"/"
        path = raw_path.decode("ascii")
        self.scope |= {
            "path": self.root_path + (unquote(path) if "%" in path else path),
            "raw_path": self.root_path.encode("ascii") + raw_path,
            "query_string": target.query or b"",
        }

    def _wrong(self, problem: ProblemError) -> ProblemError:
        """The problem, which the parser is to stop at; it does not hand on what is raised."""
        self._problem = problem
        return problem

    def on_body(self, body: bytes) -> None:
        self._steps += 1
        self._got += len(body)
        cycle = self.cycle
        if cycle.response_complete:
            if self._got > _DRAIN_BYTES:
                self.end()
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self._upgrading:
            return
        self._stage = _BETWEEN
        self._got = 0
        if self.cycle.response_complete:
            self._since = self.loop.time()
        else:
            self.cycle.more_body = False
            self.cycle.message_event.set()

    # What is answered

    def _enqueue(self, keep_alive: bool, expects: bool = False) -> None:
        self.cycle = cycle = Cycle(
            self.scope,
            self._outlet,
            self.flow,
            self.logger,
            self.access_logger,
            False,  # We keep an access log of our own.
            self.server_state.default_headers,
            asyncio.Event(),
            expects,
            # Who was not told to go on may send the body or not (RFC 9110, section 10.1.1).
            keep_alive and not expects,
            self.on_response_complete,
        )
        if expects:
            cycle.keep_alive_after_100 = keep_alive
        if self._running is None:
            self._running = cycle
            self._start_asgi_task(cycle, self.app)
        else:
            self.pipeline.appendleft((cycle, self.app))

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        self._running = None
        if self._ending:
            if self._is_lost:
                self._drop_references()
            return
        if self.pipeline or self._held or self.flow.read_paused:
            self._go_on()
        if self._at_end and self._running is None:
            self.end()
        elif self._running is None:
            if self._stage != _BODY:
                self._since = self.loop.time()
            if self._stage != _BETWEEN or self._alarm == inf:
                self._wake(self._due())

    def _go_on(self) -> None:
        """Take the next request of those that came together."""
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._running = cycle  # type: ignore[assignment]  # of ours
            self._start_asgi_task(cycle, app)
        if not self.pipeline:
            held, self._held = self._held, b""
            if held:
                self._parse(held)
            if not self.pipeline:
                self._release()

    def _refuse(self, problem: Exception) -> None:
        """Answer what cannot be taken, after all that came before it, and then nothing more."""
        self._over = True
        self._count_no_more()
        if self._stage == _BODY:
            cycle = self.cycle
            if cycle.response_complete:
                self.end()
                return
            cycle.scope["refusal"] = problem  # type: ignore[typeddict-unknown-key]  # ours
            cycle.error = problem  # type: ignore[attr-defined]  # a Cycle
            cycle.keep_alive = False
            cycle.message_event.set()
            return
        if self._stage == _BETWEEN:
            super().on_message_begin()
        scope: Any = self.scope
        scope |= {"path": "", "raw_path": b"", "query_string": b"", "refusal": problem}
        scope.setdefault("method", "-")
        with suppress(httptools.HttpParserError, UnicodeDecodeError):
            self._take_target()  # It says of which version the answer has the form.
        self._enqueue(keep_alive=False)

    # Deadlines

    def _due(self) -> float:
        """When what is under way must be done; while an answer is, that is not the client's."""
        if self._stage == _BODY:
            return self._since + BODY_SECONDS + self._got / MIN_RATE
        if self._running is not None:
            return inf
        if self._stage == _HEAD or self.cycle is None:
            return self._since + HEAD_SECONDS
        return self._since + self.timeout_keep_alive

    def _wake(self, due: float) -> None:
        """Look after the connection at that time at the latest."""
        if due < self._alarm:
            if self._timer is not None:
                self._timer.cancel()
            self._alarm = due
            self._timer = self.loop.call_at(due, self._look)

    def _look(self) -> None:
        self._alarm, self._timer = inf, None
        now = self.loop.time()
        if self._ending or self.flow.write_paused:
            self._look_after_sending(now)
            return
        due = self._due()
        if self.flow.read_paused and due <= now:
            due = now + BODY_SECONDS  # It is not the client who is slow.
        if due > now:
            self._wake(due)
        elif self._stage == _BETWEEN or self._over:
            self.end()
        else:
            self._refuse(ProblemError("request-timeout", "the request did not come in time"))

    def _look_after_sending(self, now: float) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent:
            wait = self._unsent_since + TAKE_SECONDS
            if now >= wait:
                if self._unsent - unsent < TAKE_SECONDS * MIN_RATE:
                    self.transport.abort()
                    return
                self._unsent, self._unsent_since = unsent, now
                wait = now + TAKE_SECONDS
            self._wake(wait)
        elif not self._ending:
            self._wake(max(self._due(), now + 1))
        elif self.transport.is_closing():
            self.transport.abort()
        else:
            self.transport.close()
            self._wake(now + LINGER_SECONDS)
