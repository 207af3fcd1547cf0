"""HTTP/1.1 on a socket: uvicorn's protocol with deadlines and limits.

A request that cannot be parsed or arrives too late gets a ``refusal`` in its scope, and the edge
raises it. So it is answered in its turn, like every other request. The states of a connection are
drawn in `eventapi.server.states`; the reasons are in docs/decisions/transport.md.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from math import inf
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.utils import is_ssl

from eventapi.http.head import malformed
from eventapi.http.problems import ProblemError
from eventapi.server.connections import max_connections
from eventapi.server.cycle import BufferedTransport, Cycle, Flow
from eventapi.server.deadlines import BODY_SECONDS, LINGER_SECONDS, Deadlines
from eventapi.server.parsing import BETWEEN, BODY, HEAD, ParsingProtocol
from eventapi.server.states import Phase
from eventapi.server.unfinished import UnfinishedRequests
from eventapi.server.write_budget import UnreadAnswer, WriteBudget
from events.errors import Overloaded

_DRAIN_BYTES = 262_144
"""Bytes of a body that are discarded after its answer, to keep the connection."""

_FIELD_BYTES = 160
"""Memory of a header field besides its own bytes."""

_OPEN, _REFUSING, _CLOSING, _LOST = Phase

_unfinished = UnfinishedRequests()
_write_budget = WriteBudget()


class ProblemProtocol(ParsingProtocol):
    """One connection."""

    flow: Flow

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._phase = _OPEN
        self._running: Cycle | None = None
        self._unparsed = b""  # Input that waits until the queued requests are answered.
        self._deadlines = Deadlines(self.loop)
        self._unread = UnreadAnswer()
        self._client_has_closed = False  # Its side of the connection.
        self._is_counted = False  # Among the unfinished requests.
        self._is_ssl = False

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = Flow(transport)
        self._outlet: Any = BufferedTransport(self.transport, self.finish)
        self._is_ssl = is_ssl(transport)
        self._deadlines.restart()
        if len(self.connections) > (self.limit_concurrency or max_connections()):
            self._refuse(Overloaded("there are too many connections"))
        else:
            self._wake(self._deadlines.head_due())

    def connection_lost(self, exc: Exception | None) -> None:
        self._phase = _LOST
        self._deadlines.cancel()
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()
        self.pipeline.clear()
        self._unparsed = b""
        _write_budget.discard(self)
        self._uncount()
        super().connection_lost(exc)
        self._drop_references()

    def _drop_references(self) -> None:
        """Break reference cycles, so that the memory is freed without the collector."""
        self.scope = self.headers = None  # type: ignore[assignment]
        self.url = b""
        if self._running is None:
            self.cycle = self._outlet = None  # type: ignore[assignment]

    def eof_received(self) -> bool:  # type: ignore[override]  # as asyncio has it
        """Answer the requests in progress before closing, although no more input arrives."""
        if self.stage is not BETWEEN or self._running is None or self._is_ssl:
            return False
        self._client_has_closed = True
        return True

    def finish(self) -> None:
        """Close the connection once the last answer is sent.

        Closing a socket with unread input resets it, and the client may lose its answer. So input
        is read and discarded for a while (RFC 9112, section 9.6).
        """
        if self._phase is _CLOSING or self._phase is _LOST:
            return
        now = self.loop.time()
        is_idle = (
            self._phase is _OPEN and self.stage is BETWEEN and not (self._unparsed or self.pipeline)
        )
        self._phase = _CLOSING
        self._deadlines.since = now
        self._unread.restart(self.transport, now)
        self.pipeline.clear()
        self._unparsed = b""
        self._uncount()
        if is_idle:
            self.transport.close()
        else:
            self.flow.release_reading()
            if self.transport.can_write_eof() and not self.transport.is_closing():
                self.transport.write_eof()
        self._wake(now + LINGER_SECONDS)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wake(self._unread.restart(self.transport, self.loop.time()))
        _write_budget.add(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        _write_budget.discard(self)

    # Input

    def data_received(self, data: bytes) -> None:
        if self._phase is not _OPEN:
            return
        if self.pipeline or self._unparsed:
            self._unparsed += data
            self.flow.hold_reading()
            self._count()
        else:
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        """Parse until the end, an error, or a request that has to wait for others."""
        at, end = 0, len(data)
        while at < end and self._phase is _OPEN:
            try:
                at = self.feed(data, at)
            except httptools.HttpParserError:
                self._refuse(self.problem or malformed("the input is not an HTTP/1.1 request"))
                return
            if problem := self.flood():
                self._refuse(problem)
            elif self.pipeline:
                self._unparsed = data[at:]
                self.flow.hold_reading()
                self._count()
                return
        if self.stage is not BETWEEN:
            if self.begins_request:
                self.begins_request = False
                self._deadlines.restart()
            self._wake(self._due())
            if self._phase is _OPEN:
                self._count()
        elif self._is_counted:
            self._uncount()

    def receive(self, body: bytes) -> None:
        cycle = self.cycle
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def discard(self) -> None:
        if self.body_bytes > _DRAIN_BYTES:
            self.finish()

    def complete(self) -> None:
        if self.cycle.response_complete:
            self._deadlines.restart()
        else:
            self.cycle.more_body = False
            self.cycle.message_event.set()

    # Unfinished requests

    def _count(self) -> None:
        """Report the memory of an unfinished request; over the bound, some are shed."""
        size = len(self._unparsed)
        if self.stage is HEAD:
            size += self.stalled_bytes + _FIELD_BYTES * len(self.headers)
        elif self.stage is BODY and not self.cycle.response_complete:
            size += self.body_bytes
        self._is_counted = True
        _unfinished.put(self, size)

    def _uncount(self) -> None:
        if self._is_counted:
            self._is_counted = False
            _unfinished.drop(self)

    def shed(self) -> None:
        """Refuse an unfinished request, because the process holds too many bytes of them."""
        self._is_counted = False
        self._unparsed = b""
        if self.stage is HEAD:
            self.headers.clear()
            self.url = b""
        elif self.stage is BODY:
            self.cycle.body.clear()
        detail = "the server holds too many unfinished requests; send it again in one go"
        self._refuse(ProblemError("request-timeout", detail))
        self.parser = None  # type: ignore[assignment]  # It holds a part of the head as well.

    # Requests

    def accept(self, keep_alive: bool, expects_continue: bool = False) -> None:
        self.cycle = cycle = Cycle(
            self.scope,
            self._outlet,
            self.flow,
            self.logger,
            self.access_logger,
            False,  # The access log is an observer of the edge.
            self.server_state.default_headers,
            asyncio.Event(),
            expects_continue,
            # A client that gets no 100 may send the body or not (RFC 9110, section 10.1.1).
            keep_alive and not expects_continue,
            self.on_response_complete,
        )
        if expects_continue:
            cycle.keep_alive_after_100 = keep_alive
        if self._running is None:
            self._running = cycle
            self._start_asgi_task(cycle, self.app)
        else:
            self.pipeline.appendleft((cycle, self.app))

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        self._running = None
        if self._phase is _LOST:
            self._drop_references()
        if self._phase is _LOST or self._phase is _CLOSING:
            return
        if self.pipeline or self._unparsed or self.flow.read_paused:
            self._continue_input()
        if self._client_has_closed and self._running is None:
            self.finish()
        elif self._running is None:
            if self.stage is not BODY:
                self._deadlines.restart()
            if self.stage is not BETWEEN or self._deadlines.alarm == inf:
                self._wake(self._due())

    def _continue_input(self) -> None:
        """Start the next queued request; parse the held input once the queue is empty."""
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._running = cycle  # type: ignore[assignment]  # a Cycle
            self._start_asgi_task(cycle, app)
        if not self.pipeline:
            data, self._unparsed = self._unparsed, b""
            if data:
                self._parse(data)
            if not self.pipeline:
                self.flow.release_reading()

    def _refuse(self, problem: Exception) -> None:
        """Answer a problem after all accepted requests, and then nothing more."""
        if self._phase is _OPEN:
            self._phase = _REFUSING
        self._uncount()
        if self.stage is BODY:
            cycle = self.cycle
            if cycle.response_complete:
                self.finish()
                return
            cycle.scope["refusal"] = problem  # type: ignore[typeddict-unknown-key]  # ours
            cycle.error = problem  # type: ignore[attr-defined]  # a Cycle
            cycle.keep_alive = False
            cycle.message_event.set()
            return
        if self.stage is BETWEEN:
            self.begin_scope()
        scope: Any = self.scope
        scope |= {"path": "", "raw_path": b"", "query_string": b"", "refusal": problem}
        scope.setdefault("method", "-")
        with suppress(httptools.HttpParserError, UnicodeDecodeError):
            self.put_target()  # The path decides which version of the API answers.
        self.accept(keep_alive=False)

    # Deadlines

    def _due(self) -> float:
        """When the client must have finished its step; infinity while the server is busy."""
        if self.stage is BODY:
            return self._deadlines.body_due(self.body_bytes)
        if self._running is not None:
            return inf
        if self.stage is HEAD or self.cycle is None:
            return self._deadlines.head_due()
        return self._deadlines.since + self.timeout_keep_alive

    def _wake(self, due: float) -> None:
        self._deadlines.wake(due, self._check_deadlines)

    def _check_deadlines(self) -> None:
        now = self._deadlines.expire()
        if self._phase is _CLOSING or self.flow.write_paused:
            self._check_unread(now)
            return
        due = self._due()
        if self.flow.read_paused and due <= now:
            due = now + BODY_SECONDS  # The server is slow, not the client.
        if due > now:
            self._wake(due)
        elif self.stage is BETWEEN or self._phase is not _OPEN:
            self.finish()
        else:
            self._refuse(ProblemError("request-timeout", "the request did not arrive in time"))

    def _check_unread(self, now: float) -> None:
        """Abort a slow reader, or close the connection once the last answer is sent."""
        unread = self.transport.get_write_buffer_size()
        if unread:
            check = self._unread.next_check(unread, now)
            if check is None:
                self.transport.abort()
            else:
                self._wake(check)
        elif self._phase is not _CLOSING:
            self._wake(max(self._due(), now + 1))
        elif self.transport.is_closing():
            self.transport.abort()
        else:
            self.transport.close()
            self._wake(now + LINGER_SECONDS)
