"""Every metric: its name, its meaning, and how it is counted.

Names and units follow Prometheus' conventions. A label has few values, and none from user input, so
the size of a page is bounded before the first request. docs/observability.md describes the metrics
for operators, and a test compares the two.
"""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from eventapi.journal.instrumentation import Instrumentation
from eventapi.telemetry.metrics.gauges import MAX_WEBHOOK_LABELS, Gauges, Sample
from eventapi.telemetry.metrics.store import Histogram, MetricsStore, current_instance
from events.errors import LogConflict, LogFenced, StorageFull
from events.messages.server_log import NO_METRICS

logger = logging.getLogger("eventapi.metrics")

NO_ROUTE: Final = "none"
"""The route label of a request that no route matches."""

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD: Final = "other"
"""The method label of any other request."""

_DURATION_BUCKETS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0),
)
_SYNC_BUCKETS: Final = (0.0001, 0.00025, *_DURATION_BUCKETS)
_SIZE_BUCKETS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)

_LOGIN_ROUTES: Final = ("/auth/login", "/auth/login/second-factor")
"""Ends of the routes of logins; the second one completes a login."""

_LOGIN_PROBLEMS: Final = {
    "second-factor-required": "second_factor",
    "invalid-credentials": "refused",
    "unauthenticated": "refused",
    "account-disabled": "disabled",
    "email-unverified": "unverified",
    "rate-limited": "limited",
}
"""The outcome of a login by the problem; others are ``malformed`` below 500, else ``failed``."""


class Meters(Instrumentation):
    """The metrics of one worker."""

    def __init__(self, store: MetricsStore, version: str) -> None:
        self.store = store
        self._request_counters: dict[
            tuple[str, str | None, int, str | None], Callable[[float], None]
        ] = {}
        self._cpu_counted = 0.0
        labels = {"version": version, "python": platform.python_version()}
        about = "The version of eventapi and of the Python it runs on; always 1."
        store.gauge("eventapi_build_info", about, "max", labels).set(1)
        store.counter("eventapi_worker_starts_total", "Workers that have started.").add()
        # Create every label value at start, or Prometheus misses the first increment.
        self._logins = {
            outcome: store.counter("eventapi_logins_total", "Logins.", {"outcome": outcome})
            for outcome in dict.fromkeys(
                ("succeeded", *_LOGIN_PROBLEMS.values(), "malformed", "failed")
            )
        }
        about = "Mails that were sent or dropped, and attempts that failed."
        self._mails = {
            outcome: store.counter("eventapi_mails_total", about, {"outcome": outcome})
            for outcome in ("sent", "failed", "dropped")
        }
        about = "Failed logins that were stored for the log, and those that were not, by outcome."
        self._failed_logins = {
            outcome: store.counter("eventapi_failed_logins_total", about, {"outcome": outcome})
            for outcome in ("stored", "delayed", "dropped")
        }
        self._cpu = store.counter("process_cpu_seconds_total", "CPU time of all workers together.")
        self._create_journal_metrics(store)
        self._gauges = Gauges(store)

    def _create_journal_metrics(self, store: MetricsStore) -> None:
        self._writes = store.histogram(
            "eventapi_journal_write_seconds",
            "From when a write was queued to its answer: waiting, deciding and appending.",
            _DURATION_BUCKETS,
        )
        self._waits = store.histogram(
            "eventapi_journal_lock_seconds",
            "What a batch of writes waited for the lock of the log.",
            _SYNC_BUCKETS,
        )
        self._batches = store.histogram(
            "eventapi_journal_batch_requests", "Writes that shared a batch.", _SIZE_BUCKETS
        )
        self._appends = store.histogram(
            "eventapi_log_append_seconds",
            "An append to the log until it was durable; nearly all of it is the sync.",
            _SYNC_BUCKETS,
        )
        self._events = store.counter(
            "eventapi_log_appended_events_total", "Events appended to the log."
        )
        self._failures = {
            reason: store.counter(
                "eventapi_log_append_failures_total",
                "Appends that failed: for want of room, by a failed sync, or otherwise.",
                {"reason": reason},
            )
            for reason in ("full", "fenced", "unavailable")
        }

    # Requests

    def count_request(
        self,
        method: str,
        route: str | None,
        status: int,
        seconds: float,
        problem: str | None = None,
    ) -> None:
        """Count a request; ``route`` is a template, or ``None`` if no route matched.

        The status is 0 if the request ended without an answer. ``problem`` is the slug of an error.
        """
        count = self._request_counters.get((method, route, status, problem))
        if count is None:
            count = self._new_request_counter(
                method if method in METHODS else OTHER_METHOD, route, status, problem
            )
        count(seconds)

    def count_rate_limited(self, limit: str) -> None:
        """Count a request that exceeded the limit of that name."""
        self.store.counter(
            "eventapi_rate_limited_requests_total",
            "Requests refused with 429, by the limit that they were one too many for.",
            {"limit": limit},
        ).add()

    def count_mail(self, outcome: str) -> None:
        """Count a mail that was sent or dropped, or an attempt that failed."""
        self._mails[outcome].add()

    def count_failed_logins(self, outcome: str, count: int) -> None:
        """Count failed logins that were ``stored``, ``delayed`` or ``dropped``."""
        self._failed_logins[outcome].add(count)

    def count_webhook(self, number: int, failed: bool) -> None:
        """Count an attempt to deliver an event to a webhook."""
        labels = {"id": str(number) if number <= MAX_WEBHOOK_LABELS else "other"}
        about = "Attempts to deliver an event to a webhook."
        self.store.counter("eventapi_webhook_attempts_total", about, labels).add()
        about = "Attempts to deliver an event to a webhook that failed."
        self.store.counter("eventapi_webhook_failures_total", about, labels).add(failed)

    def count_witness(self, name: str, failed: bool) -> None:
        """Count a request for a cosignature to the witness of a name."""
        labels = {"witness": name}
        about = "Requests for a cosignature to a witness."
        self.store.counter("eventapi_witness_attempts_total", about, labels).add()
        about = "Requests for a cosignature to a witness that failed."
        self.store.counter("eventapi_witness_failures_total", about, labels).add(failed)

    def _new_request_counter(
        self, method: str, route: str | None, status: int, problem: str | None
    ) -> Callable[[float], None]:
        key = method, route, status, problem
        if key in self._request_counters:
            return self._request_counters[key]
        labels = {"method": method, "route": route or NO_ROUTE}
        requests = self.store.counter(
            "eventapi_http_requests_total",
            "Requests answered, by method, template of the route and status.",
            {**labels, "status": str(status)},
        )
        durations = self.store.histogram(
            "eventapi_http_request_duration_seconds",
            "From the head of a request to the end of its answer.",
            _DURATION_BUCKETS,
            labels,
        )
        counters = [requests]
        if method == "POST" and labels["route"].endswith(_LOGIN_ROUTES):
            counters.append(self._logins[_login_outcome(status, problem)])
        self._request_counters[key] = count = durations.with_counters(counters)
        return count

    # Instrumentation of the journal

    def write(self) -> _Timer:
        return _Timer(self._writes)

    def batch(self, requests: int, waited: float) -> None:
        self._batches.add(requests)
        self._waits.add(waited)

    @contextmanager
    def append(self, lines: int) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        except LogConflict:
            raise  # It is repeated.
        except Exception as error:
            self._failures[_failure_reason(error)].add()
            raise
        self._appends.add(time.perf_counter() - started)
        self._events.add(lines)

    # Gauges

    def sample(self, now: Sample) -> None:
        """Set the gauges of this worker, which serves by then, and of its process."""
        self._gauges.set(now)
        spent = time.process_time()
        self._cpu.add(spent - self._cpu_counted)
        self._cpu_counted = spent


class _Timer:
    """Adds its duration to a histogram; a generator would take three times as long."""

    __slots__ = ("_histogram", "_started")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._started = time.perf_counter()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._histogram.add(time.perf_counter() - self._started)


@contextmanager
def meters_unless_full(directory: Path | None, version: str) -> Iterator[Meters | None]:
    """As `open_meters`, but ``None`` if the files cannot be created.

    A server must start on a full disk, so that reads work.
    """
    with ExitStack() as stack:
        try:
            meters = open_meters(stack, directory, version)
        except OSError as error:
            logger.warning(NO_METRICS.fill(reason=error))
            yield None
            return
        yield meters


def open_meters(stack: ExitStack, directory: Path | None, version: str) -> Meters:
    """Meters in a directory that all workers share, or, without one, of this process.

    They are closed with the stack. Raises `OSError` if the files cannot be created.
    """
    with ExitStack() as opened:
        if directory is None:
            temporary = TemporaryDirectory(prefix="eventapi-metrics-")
            directory = Path(opened.enter_context(temporary))
        store = opened.enter_context(closing(MetricsStore(directory, current_instance())))
        meters = Meters(store, version)
        stack.enter_context(opened.pop_all())
    return meters


def _failure_reason(error: Exception) -> str:
    if isinstance(error, StorageFull):
        return "full"
    return "fenced" if isinstance(error, LogFenced) else "unavailable"


def _login_outcome(status: int, problem: str | None) -> str:
    if status == 200:
        return "succeeded"
    return _LOGIN_PROBLEMS.get(problem or "", "malformed" if 400 <= status < 500 else "failed")
