"""The figures of all parts, stored as JSON, so that a part can be measured again alone.

The figure of a failed round is None, so that the rounds of compared rungs stay side by side.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from math import ceil
from pathlib import Path
from statistics import median
from typing import Self, TypeVar

import msgspec

from benchmarks.machine import Context
from benchmarks.process import REPOSITORY
from benchmarks.wrk import Figures

KEPT = REPOSITORY / "docs" / "performance.json"

F = TypeVar("F")
Rounds = list[F | None]


class Measured(Figures, frozen=True):
    """The figures of a run of wrk, and the server's use of CPU and memory.

    ``cpu`` and ``database_cpu`` are microseconds a request, of the server's processes and of the
    database's; ``memory`` is in bytes, at the end of the run.
    """

    cpu: float
    memory: int
    database_cpu: float = 0.0

    @property
    def all_cpu(self) -> float:
        """Microseconds a request, of the server and its database."""
        return self.cpu + self.database_cpu

    def divided(self, units: int) -> Self:
        """Return the figures of one unit, if each request has several."""
        return msgspec.structs.replace(
            self,
            rate=self.rate * units,
            cpu=self.cpu / units,
            database_cpu=self.database_cpu / units,
        )


class Part(msgspec.Struct):
    """The context of a measured part, and its void measurements."""

    context: Context
    failures: list[str] = []


class Http(Part):
    """Figures by workload and connections (``create 64``), then by rung."""

    figures: dict[str, dict[str, Rounds[Measured]]] = {}


class Features(Part):
    """Figures by feature, then by server: ``eventapi`` or a peer."""

    figures: dict[str, dict[str, Rounds[Measured]]] = {}


class Appended(msgspec.Struct, frozen=True):
    """Events a second, durable, by 64 producers; latencies in milliseconds.

    ``batch`` is the average number of events per sync; 0 if it is unknown.
    """

    rate: float
    p50: float
    p99: float
    batch: float = 0.0


class Log(Part):
    """Figures by writer."""

    figures: dict[str, Rounds[Appended]] = {}


class Whole(msgspec.Struct, frozen=True):
    """Times of work on a whole log, in seconds of one core, and the size of its snapshot in bytes.

    ``replay`` includes the check of chain and seals. ``decode`` is msgspec alone, into the record's
    Struct with its event, and ``parse`` msgspec alone into a dict. ``verify`` is ``log verify``.
    ``write`` and ``load`` are the snapshot alone, without the check of the chain below it.
    """

    lines: int
    replay: float
    decode: float
    parse: float
    verify: float
    write: float
    load: float
    snapshot: int


class Replay(Part):
    """Figures of one log."""

    rounds: list[Whole] = []


class Size(msgspec.Struct):
    """A log of ``log`` bytes with some users and items, and the figures measured over it.

    ``memory`` is that of a server which has checked its log, after the reader has logged in and
    listed all rows, in bytes; ``start`` is its CPU until it answers, in seconds. The keys of
    ``requests`` are those of `Http`.
    """

    users: int
    items: int
    log: int
    whole: list[Whole] = []
    memory: Rounds[int] = []
    requests: dict[str, Rounds[Measured]] = {}
    start: Rounds[float] = []


class Growth(Part):
    """Figures by size, from the smallest."""

    sizes: list[Size] = []


class Kinds(Growth):
    """The same for rows of ten declared kinds."""


class Results(msgspec.Struct):
    """The newest figures of each part; parts may be of different days."""

    http: Http | None = None
    log: Log | None = None
    replay: Replay | None = None
    growth: Growth | None = None
    features: Features | None = None
    kinds: Kinds | None = None


def load(path: Path = KEPT) -> Results:
    """Return the stored figures; none if the file is missing or of another shape."""
    with suppress(FileNotFoundError, msgspec.ValidationError):
        return msgspec.json.decode(path.read_bytes(), type=Results)
    return Results()


def keep(part: Http | Features | Log | Replay | Growth, path: Path = KEPT) -> None:
    """Store a part, as far as it is measured, in place of its older figures."""
    results = load(path)
    setattr(results, type(part).__name__.lower(), part)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def middle(rounds: Sequence[F | None], what: Callable[[F], float]) -> float | None:
    """Return the median over the rounds, or None if all failed."""
    values = [what(figures) for figures in rounds if figures is not None]
    return median(values) if values else None


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least a share of all do not exceed (nearest rank)."""
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


def place(rounds: Rounds[F], number: int, figures: F | None) -> None:
    """Store a round's figures at the index of the round; rounds count from 1."""
    rounds += [None] * (number - len(rounds))
    rounds[number - 1] = figures


def spread(rounds: Sequence[F | None], what: Callable[[F], float]) -> float | None:
    """Return the range of the rounds as a share of the median, or None for a single round."""
    values = [what(figures) for figures in rounds if figures is not None]
    return (max(values) - min(values)) / median(values) if len(values) > 1 else None


def ratio(
    ours: Sequence[F | None], theirs: Sequence[F | None], what: Callable[[F], float]
) -> float | None:
    """Return the median of the rounds' ratios, in which a slow minute of the machine cancels out."""
    pairs = zip(ours, theirs, strict=False)
    ratios = [what(a) / what(b) for a, b in pairs if a is not None and b is not None and what(b)]
    return median(ratios) if ratios else None
