"""The goals, each a ratio within one run, and whether they are reached."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.report import Table, bytes_an_item, format_figure, rate, smallest
from benchmarks.results import Measured, Results, Rounds, middle, ratio

MISSED = 3
"""The exit code for a missed goal; not 1, which is Python's code for an exception."""

Figure = Callable[[Results], float | None]


@dataclass(frozen=True)
class Goal:
    """A figure that must be at least, or at most, a limit."""

    asked: str
    figure: Figure
    limit: float
    at_most: bool = False
    form: str = ".2f"

    def is_reached(self, figure: float) -> bool:
        """Whether a figure satisfies the limit."""
        return figure <= self.limit if self.at_most else figure >= self.limit

    @property
    def limit_shown(self) -> str:
        """The limit in words."""
        return f"{'at most' if self.at_most else 'at least'} {self.limit:g}"


def cpu(figures: Measured) -> float:
    """CPU time of the server in microseconds a request."""
    return figures.cpu


def request_ratio(
    key: str, rung: str, base: str, what: Callable[[Measured], float] = rate
) -> Figure:
    """The ratio of two rungs under one workload."""

    def figure(results: Results) -> float | None:
        if results.http is None:
            return None
        rungs = results.http.figures.get(key, {})
        return ratio(rungs.get(rung, []), rungs.get(base, []), what)

    return figure


def read_ratio(workload: str, connections: int) -> Figure:
    """The CPU time of a request as a multiple of that of a read over the same connections."""

    def figure(results: Results) -> float | None:
        if results.http is None:
            return None
        ours, reads = (
            results.http.figures.get(f"{name} {connections}", {}).get(OURS, [])
            for name in (workload, "read")
        )
        return ratio(ours, reads, cpu)

    return figure


def tail_ratio(results: Results) -> float | None:
    """The 99th percentile of creates as a multiple of the median, over 64 connections."""
    if results.http is None:
        return None
    rounds: Rounds[Measured] = results.http.figures.get("create 64", {}).get("eventapi", [])
    return middle(rounds, lambda figures: figures.p99 / figures.p50)


def writer_ratio(writer: str, base: str) -> Figure:
    """The ratio of two writers."""

    def figure(results: Results) -> float | None:
        if results.log is None:
            return None
        writers = results.log.figures
        return ratio(writers.get(writer, []), writers.get(base, []), rate)

    return figure


def replay_ratio(results: Results) -> float | None:
    """The ratio of replay to msgspec alone."""
    if results.replay is None:
        return None
    return middle(results.replay.rounds, lambda whole: whole.decode / whole.replay)


def growth_ratio(key: str) -> Figure:
    """The ratio of the server's CPU time a request over the most items to that over the fewest."""

    def figure(results: Results) -> float | None:
        if results.growth is None or not results.growth.sizes:
            return None
        largest = max(results.growth.sizes, key=lambda size: (size.items, -size.users))
        base = smallest(results.growth, largest)
        if largest is base:
            return None
        return ratio(largest.requests.get(key, []), base.requests.get(key, []), cpu)

    return figure


def memory_per_item(results: Results) -> float | None:
    """Memory in bytes an item, over the most items."""
    if results.growth is None or not results.growth.sizes:
        return None
    largest = max(results.growth.sizes, key=lambda size: (size.items, -size.users))
    return bytes_an_item(results.growth, largest)


LITESTAR, SQLITE, POSTGRESQL = "litestar", "peer-sqlite", "eventapi-postgresql"
OURS, TWO = "eventapi", "eventapi-2"
GOALS = (
    Goal("read one, of bare Litestar", request_ratio("read 32", OURS, LITESTAR), 0.8),
    Goal("read one, times FastAPI on SQLite", request_ratio("read 32", OURS, SQLITE), 4),
    Goal(
        "list of 100, the same page again, of bare Litestar",
        request_ratio("list 32", OURS, LITESTAR),
        0.8,
    ),
    Goal(
        "durable create, of bare Litestar's echo", request_ratio("create 64", OURS, LITESTAR), 0.6
    ),
    Goal("durable create, times FastAPI on SQLite", request_ratio("create 64", OURS, SQLITE), 8),
    Goal("durable create, p99 of p50", tail_ratio, 3, at_most=True),
    *(
        Goal(
            f"{workload}, times the CPU of a read, connections: {connections}",
            read_ratio(workload, connections),
            1.5,
            at_most=True,
        )
        for workload in ("create", "update")
        for connections in (1, 32, 128)
    ),
    Goal(
        "read one, CPU of two workers", request_ratio("read 32", TWO, OURS, cpu), 1.1, at_most=True
    ),
    Goal(
        "durable create, CPU of two workers",
        request_ratio("create 64", TWO, OURS, cpu),
        1.1,
        at_most=True,
    ),
    Goal("the log's own append, of raw write and fdatasync", writer_ratio("append", "raw"), 0.5),
    Goal("the journal, of raw write and fdatasync", writer_ratio(OURS, "raw"), 0.5),
    Goal("the journal, times eventsourcing", writer_ratio(OURS, "eventsourcing-postgresql"), 10),
    Goal("replay, of msgspec alone", replay_ratio, 0.35),
    Goal("read one, CPU at the most items", growth_ratio("read 32"), 1.15, at_most=True),
    Goal("durable create, CPU at the most items", growth_ratio("create 64"), 1.15, at_most=True),
    Goal("memory, bytes an item", memory_per_item, 900, at_most=True, form=".0f"),
    Goal(
        "durable create on PostgreSQL, of a file", request_ratio("create 64", POSTGRESQL, OURS), 0.5
    ),
    Goal(
        "durable create on PostgreSQL, times FastAPI on it",
        request_ratio("create 64", POSTGRESQL, "peer-postgresql"),
        5,
    ),
)


def goals_with_figures(results: Results) -> Iterator[tuple[Goal, float]]:
    """Yield the goals that have a figure."""
    for goal in GOALS:
        figure = goal.figure(results)
        if figure is not None:
            yield goal, figure


def table(results: Results) -> Table:
    """Return a table of the goals, their figures, and whether they are reached."""
    figures = dict(goals_with_figures(results))
    rows = []
    for goal in GOALS:
        figure = figures.get(goal)
        verdict = "not measured" if figure is None else "yes" if goal.is_reached(figure) else "NO"
        rows.append([goal.asked, goal.limit_shown, format_figure(figure, goal.form), verdict])
    return Table("goals", ["goal", "limit", "measured", "reached"], rows)


def judge(results: Results, *, whole: bool = False) -> int:
    """Report missed goals, and in a ``whole`` run unmeasured ones; return the exit code."""
    figures, code = dict(goals_with_figures(results)), 0
    for goal in GOALS:
        figure = figures.get(goal)
        if figure is None:
            if not whole:
                continue
            print(f"NOT MEASURED: {goal.asked}", file=sys.stderr)
        elif goal.is_reached(figure):
            continue
        else:
            print(
                f"MISSED: {goal.asked}: {figure:{goal.form}}, {goal.limit_shown}", file=sys.stderr
            )
        code = MISSED
    return code
