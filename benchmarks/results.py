"""The figures of all parts, kept as JSON: a part is measured without the others, and so again.

A figure of a round that failed is none, so that the rounds of what is compared stay side by side.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from math import ceil
from pathlib import Path
from statistics import median
from typing import TypeVar

import msgspec

from benchmarks.machine import Context
from benchmarks.process import REPOSITORY
from benchmarks.wrk import Figures

KEPT = REPOSITORY / "docs" / "performance.json"

F = TypeVar("F")
Rounds = list[F | None]


class Measured(Figures, frozen=True):
    """What a run of wrk measured, and what the server used meanwhile.

    ``cpu`` and ``database_cpu`` are microseconds a request, of the server's processes and of the
    database's; ``memory`` is in bytes, at the end of the run.
    """

    cpu: float
    memory: int
    database_cpu: float = 0.0


class Part(msgspec.Struct):
    """Of a part: on what it was measured, and what of it is void."""

    context: Context
    failures: list[str] = []


class Http(Part):
    """By what was asked for (``create 64``: over 64 connections), then by rung."""

    figures: dict[str, dict[str, Rounds[Measured]]] = {}


class Appended(msgspec.Struct, frozen=True):
    """Events a second, durable, by 64 producers; latencies in milliseconds.

    ``batch`` is how many events one sync was for, on average; 0 where nobody knows.
    """

    rate: float
    p50: float
    p99: float
    batch: float = 0.0


class Log(Part):
    """By writer."""

    figures: dict[str, Rounds[Appended]] = {}


class Whole(msgspec.Struct, frozen=True):
    """What is done with a log as a whole, in seconds of one core, and how large its snapshot is.

    ``replay`` is with chain and seals checked; ``decode`` is msgspec alone, into the record's
    Struct with its event, and ``parse`` msgspec alone into a dict; ``verify`` is ``log verify``;
    ``write`` and ``load`` are the snapshot alone, without the chain that is followed up to it.
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
    """Of one log."""

    rounds: list[Whole] = []


class Size(msgspec.Struct):
    """A log of so many users and items, ``log`` bytes of it, and what was measured over it.

    ``memory`` is a server's before the first request, in bytes; requests are named as in `Http`.
    """

    users: int
    items: int
    log: int
    whole: list[Whole] = []
    memory: Rounds[int] = []
    requests: dict[str, Rounds[Measured]] = {}


class Growth(Part):
    """By size, from the smallest."""

    sizes: list[Size] = []


class Results(msgspec.Struct):
    """All that was measured last, each part on its own day."""

    http: Http | None = None
    log: Log | None = None
    replay: Replay | None = None
    growth: Growth | None = None


def load(path: Path = KEPT) -> Results:
    """What is kept; nothing where there is no file, or one of another shape."""
    with suppress(FileNotFoundError, msgspec.ValidationError):
        return msgspec.json.decode(path.read_bytes(), type=Results)
    return Results()


def keep(part: Http | Log | Replay | Growth, path: Path = KEPT) -> None:
    """Put a part, as far as it is measured, in the place of what was there of it."""
    results = load(path)
    setattr(results, type(part).__name__.lower(), part)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def middle(rounds: Sequence[F | None], what: Callable[[F], float]) -> float | None:
    """The median over the rounds, or none where all failed."""
    values = [what(figures) for figures in rounds if figures is not None]
    return median(values) if values else None


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least a share of all do not exceed (nearest rank)."""
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


def place(rounds: Rounds[F], number: int, figures: F | None) -> None:
    """Put a round's figures where they stand beside those of others in the same round, from 1."""
    rounds += [None] * (number - len(rounds))
    rounds[number - 1] = figures


def spread(rounds: Sequence[F | None], what: Callable[[F], float]) -> float | None:
    """The distance between the best round and the worst, as a share of the median; none of one."""
    values = [what(figures) for figures in rounds if figures is not None]
    return (max(values) - min(values)) / median(values) if len(values) > 1 else None


def ratio(
    ours: Sequence[F | None], theirs: Sequence[F | None], what: Callable[[F], float]
) -> float | None:
    """The median of each round's own ratio, so that a slow minute of the machine cancels out."""
    pairs = zip(ours, theirs, strict=False)
    ratios = [what(a) / what(b) for a, b in pairs if a is not None and b is not None and what(b)]
    return median(ratios) if ratios else None
