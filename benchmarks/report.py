"""The tables: of each part, as text for a terminal and as Markdown for the page."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.results import (
    Appended,
    Growth,
    Http,
    Log,
    Measured,
    Replay,
    Rounds,
    Size,
    Whole,
    middle,
    ratio,
    spread,
)
from benchmarks.workload import WORKLOADS

BASES = ("litestar", "peer-sqlite", "peer-postgresql", "peer")
"""Rungs that others are compared with, in the columns' order."""

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Table:
    """A title, the columns' heads, and rows of as many cells; the first cell is a name."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        """Aligned, the names to the left and the figures to the right."""
        lines = [self.columns, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            [self.title]
            + [
                "  ".join(
                    cell.rjust(width) if number else cell.ljust(width)
                    for number, (cell, width) in enumerate(zip(line, widths, strict=True))
                ).rstrip()
                for line in lines
            ]
        )

    def markdown(self) -> str:
        """A table of GitHub's under its title."""
        rule = ["---", *["---:"] * (len(self.columns) - 1)]
        lines = ["| " + " | ".join(line) + " |" for line in (self.columns, rule, *self.rows)]
        return "\n".join([f"**{self.title}**", "", *lines])


def shown(value: float | None, form: str = ".2f") -> str:
    """A figure, or a dash for none."""
    return "-" if value is None else format(value, form)


def http(part: Http) -> Iterator[Table]:
    """A table for each workload and number of connections."""
    for workload in WORKLOADS:
        keys = [key for key in part.figures if key.split()[0] == workload.name]
        for key in sorted(keys, key=lambda key: int(key.split()[1])):
            connections = key.split()[1]
            plural = "" if connections == "1" else "s"
            title = f"{workload.name}: {workload.about}, {connections} connection{plural}"
            yield _requests(title, part.figures[key])


def _requests(title: str, rungs: Mapping[str, Rounds[Measured]]) -> Table:
    bases = [base for base in BASES if base in rungs]
    has_database = any(middle(rounds, lambda f: f.database_cpu) for rounds in rungs.values())
    columns = ["rung", "requests/s", "spread", *(f"x {base}" for base in bases)]
    columns += ["p50 ms", "p99 ms", "p99.9 ms", "CPU µs"]
    columns += ["+ database's", "MiB"] if has_database else ["MiB"]
    rows = []
    for rung, rounds in rungs.items():
        row = [rung, shown(middle(rounds, rate), ",.0f"), shown(spread(rounds, rate), ".0%")]
        row += [shown(ratio(rounds, rungs[base], rate)) for base in bases]
        row += [
            shown(middle(rounds, lambda f: f.p50)),
            shown(middle(rounds, lambda f: f.p99)),
            shown(middle(rounds, lambda f: f.p999)),
            shown(middle(rounds, lambda f: f.cpu), ",.0f"),
        ]
        if has_database:
            row.append(shown(middle(rounds, lambda f: f.database_cpu) or None, ",.0f"))
        rows.append([*row, shown(middle(rounds, lambda f: f.memory / MEBIBYTE), ",.0f")])
    return Table(title, columns, rows)


def rate(figures: Measured | Appended) -> float:
    """Requests or events a second."""
    return figures.rate


def log(part: Log) -> Table:
    """A row for each writer."""
    columns = ["writer", "events/s", "spread", "x raw", "x eventsourcing-postgresql"]
    columns += ["p50 ms", "p99 ms", "events a sync"]
    raw, base = (part.figures.get(name, []) for name in ("raw", "eventsourcing-postgresql"))
    rows = [
        [
            writer,
            shown(middle(rounds, rate), ",.0f"),
            shown(spread(rounds, rate), ".0%"),
            shown(ratio(rounds, raw, rate), ".3f"),
            shown(ratio(rounds, base, rate)),
            shown(middle(rounds, lambda f: f.p50)),
            shown(middle(rounds, lambda f: f.p99)),
            shown(middle(rounds, lambda f: f.batch) or None, ".0f"),
        ]
        for writer, rounds in part.figures.items()
    ]
    return Table("durable appends, 64 producers", columns, rows)


def replay(part: Replay) -> Table:
    """A row for each thing that is done with a line."""
    what: dict[str, Callable[[Whole], float]] = {
        "replay, chain and seals checked": lambda whole: whole.replay,
        "log verify, one process": lambda whole: whole.verify,
        "msgspec into the record's Struct": lambda whole: whole.decode,
        "msgspec into a dict": lambda whole: whole.parse,
        "a snapshot written": lambda whole: whole.write,
        "a snapshot loaded": lambda whole: whole.load,
    }
    rows = []
    for name, seconds in what.items():
        rates = [whole.lines / seconds(whole) for whole in part.rounds]
        decoded = [whole.decode / seconds(whole) for whole in part.rounds]
        parsed = [whole.parse / seconds(whole) for whole in part.rounds]
        row = [name, shown(middle(rates, float), ",.0f"), shown(spread(rates, float), ".0%")]
        rows.append([*row, shown(middle(decoded, float)), shown(middle(parsed, float))])
    columns = ["work", "events/s and core", "spread", "x msgspec, Struct", "x msgspec, dict"]
    lines = part.rounds[0].lines if part.rounds else 0
    return Table(f"a log of {lines:,} events", columns, rows)


def growth(part: Growth) -> Iterator[Table]:
    """What a request costs over each size, and what is done with the whole of it."""
    if not part.sizes:
        return
    keys = list(dict.fromkeys(key for size in part.sizes for key in size.requests))
    for key in keys:
        columns = ["users and items", "requests/s", "x smallest", "CPU µs", "x smallest"]
        columns += ["p50 ms", "p99 ms"]
        rows = []
        for size in part.sizes:
            rounds, base = size.requests.get(key, []), smallest(part, size).requests.get(key, [])
            rows.append(
                [
                    name_of(size),
                    shown(middle(rounds, rate), ",.0f"),
                    shown(ratio(rounds, base, rate)),
                    shown(middle(rounds, lambda f: f.cpu), ",.1f"),
                    shown(ratio(rounds, base, lambda f: f.cpu)),
                    shown(middle(rounds, lambda f: f.p50)),
                    shown(middle(rounds, lambda f: f.p99)),
                ]
            )
        yield Table(f"{key.split()[0]}, {key.split()[1]} connections", columns, rows)
    yield _whole(part)


def _whole(part: Growth) -> Table:
    columns = ["users and items", "log MiB", "snapshot MiB", "replay s", "verify s"]
    columns += ["snapshot written s", "loaded s", "memory MiB", "bytes an item"]
    rows = [
        [
            name_of(size),
            shown(size.log / MEBIBYTE, ",.1f"),
            shown(middle(size.whole, lambda w: w.snapshot / MEBIBYTE), ",.1f"),
            shown(middle(size.whole, lambda w: w.replay)),
            shown(middle(size.whole, lambda w: w.verify)),
            shown(middle(size.whole, lambda w: w.write)),
            shown(middle(size.whole, lambda w: w.load)),
            shown(middle(size.memory, lambda m: m / MEBIBYTE), ",.0f"),
            shown(bytes_an_item(part, size), ",.0f"),
        ]
        for size in part.sizes
    ]
    return Table("the whole log", columns, rows)


def name_of(size: Size) -> str:
    """How many users and items it has."""
    return f"{size.users:,} / {size.items:,}"


def smallest(part: Growth, size: Size) -> Size:
    """The size with as many users and the fewest items."""
    return min(
        (each for each in part.sizes if each.users == size.users), key=lambda each: each.items
    )


def bytes_an_item(part: Growth, size: Size) -> float | None:
    """What the items that are more than in the smallest size take in memory, each."""
    base = smallest(part, size)
    more, less = middle(size.memory, float), middle(base.memory, float)
    if size is base or more is None or less is None:
        return None
    return (more - less) / (size.items - base.items)
