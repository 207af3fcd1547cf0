"""What was asked for, each as a ratio within one run, and whether it is reached."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.report import Table, bytes_an_item, rate, shown, smallest
from benchmarks.results import Measured, Results, Rounds, middle, ratio

MISSED = 3
"""The exit code where a goal is missed: not 1, with which Python ends what has failed."""

Figure = Callable[[Results], float | None]


@dataclass(frozen=True)
class Goal:
    """A figure that is to be at least, or at most, so much."""

    asked: str
    figure: Figure
    limit: float
    at_most: bool = False
    form: str = ".2f"

    def is_reached(self, figure: float) -> bool:
        """Whether a figure is good enough."""
        return figure <= self.limit if self.at_most else figure >= self.limit

    @property
    def limit_shown(self) -> str:
        """The limit in words."""
        return f"{'at most' if self.at_most else 'at least'} {self.limit:g}"


def cpu(figures: Measured) -> float:
    """Microseconds of the server's processor a request."""
    return figures.cpu


def requested(key: str, rung: str, base: str, what: Callable[[Measured], float] = rate) -> Figure:
    """The ratio of two rungs under one workload."""

    def figure(results: Results) -> float | None:
        if results.http is None:
            return None
        rungs = results.http.figures.get(key, {})
        return ratio(rungs.get(rung, []), rungs.get(base, []), what)

    return figure


def tail(results: Results) -> float | None:
    """How many times the median the 99th percentile of a create is, over 64 connections."""
    if results.http is None:
        return None
    rounds: Rounds[Measured] = results.http.figures.get("create 64", {}).get("eventapi", [])
    return middle(rounds, lambda figures: figures.p99 / figures.p50)


def appended(writer: str, base: str) -> Figure:
    """One writer against another."""

    def figure(results: Results) -> float | None:
        if results.log is None:
            return None
        writers = results.log.figures
        return ratio(writers.get(writer, []), writers.get(base, []), rate)

    return figure


def replayed(results: Results) -> float | None:
    """Replay against msgspec alone."""
    if results.replay is None:
        return None
    return middle(results.replay.rounds, lambda whole: whole.decode / whole.replay)


def grown(key: str) -> Figure:
    """What a request costs of the server's processor over the most items, against the fewest."""

    def figure(results: Results) -> float | None:
        if results.growth is None or not results.growth.sizes:
            return None
        largest = max(results.growth.sizes, key=lambda size: (size.items, -size.users))
        base = smallest(results.growth, largest)
        if largest is base:
            return None
        return ratio(largest.requests.get(key, []), base.requests.get(key, []), cpu)

    return figure


def held(results: Results) -> float | None:
    """Bytes of memory an item, over the most items."""
    if results.growth is None or not results.growth.sizes:
        return None
    largest = max(results.growth.sizes, key=lambda size: (size.items, -size.users))
    return bytes_an_item(results.growth, largest)


LITESTAR, SQLITE, POSTGRESQL = "litestar", "peer-sqlite", "eventapi-postgresql"
OURS, TWO = "eventapi", "eventapi-2"
GOALS = (
    Goal("read one, of bare Litestar", requested("read 32", OURS, LITESTAR), 0.8),
    Goal("read one, times FastAPI on SQLite", requested("read 32", OURS, SQLITE), 4),
    Goal("list of 100, of bare Litestar", requested("list 32", OURS, LITESTAR), 0.8),
    Goal("durable create, of bare Litestar's echo", requested("create 64", OURS, LITESTAR), 0.6),
    Goal("durable create, times FastAPI on SQLite", requested("create 64", OURS, SQLITE), 8),
    Goal("durable create, p99 of p50", tail, 3, at_most=True),
    Goal("read one, CPU of two workers", requested("read 32", TWO, OURS, cpu), 1.1, at_most=True),
    Goal(
        "durable create, CPU of two workers",
        requested("create 64", TWO, OURS, cpu),
        1.1,
        at_most=True,
    ),
    Goal("the log's own append, of raw write and fdatasync", appended("append", "raw"), 0.5),
    Goal("the journal, of raw write and fdatasync", appended(OURS, "raw"), 0.5),
    Goal("the journal, times eventsourcing", appended(OURS, "eventsourcing-postgresql"), 10),
    Goal("replay, of msgspec alone", replayed, 0.35),
    Goal("read one, CPU at the most items", grown("read 32"), 1.15, at_most=True),
    Goal("durable create, CPU at the most items", grown("create 64"), 1.15, at_most=True),
    Goal("memory, bytes an item", held, 900, at_most=True, form=".0f"),
    Goal("durable create on PostgreSQL, of a file", requested("create 64", POSTGRESQL, OURS), 0.5),
    Goal(
        "durable create on PostgreSQL, times FastAPI on it",
        requested("create 64", POSTGRESQL, "peer-postgresql"),
        5,
    ),
)


def measured(results: Results) -> Iterator[tuple[Goal, float]]:
    """The goals of which there is a figure."""
    for goal in GOALS:
        figure = goal.figure(results)
        if figure is not None:
            yield goal, figure


def table(results: Results) -> Table:
    """Each goal, its figure, and whether it is reached."""
    figures = dict(measured(results))
    rows = []
    for goal in GOALS:
        figure = figures.get(goal)
        verdict = "not measured" if figure is None else "yes" if goal.is_reached(figure) else "NO"
        rows.append([goal.asked, goal.limit_shown, shown(figure, goal.form), verdict])
    return Table("what was asked for", ["goal", "asked", "measured", "reached"], rows)


def judge(results: Results, *, whole: bool = False) -> int:
    """Tell which goals are missed, or in a ``whole`` run not measured; the program's exit code."""
    figures, code = dict(measured(results)), 0
    for goal in GOALS:
        figure = figures.get(goal)
        if figure is None:
            if not whole:
                continue
            print(f"NOT MEASURED: {goal.asked}", file=sys.stderr)
        elif goal.is_reached(figure):
            continue
        else:
            told = f"{goal.asked}: {figure:{goal.form}}, {goal.limit_shown}"
            print(f"MISSED: {told}", file=sys.stderr)
        code = MISSED
    return code
