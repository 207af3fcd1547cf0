"""The tables of each part, as text for a terminal and as Markdown for the page."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.results import (
    Appended,
    Features,
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
"""Rungs that others are compared with, in the order of the columns."""

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Table:
    """A title, the heads of columns, and rows of as many cells; the first cell is a name."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        """Format with aligned columns, names to the left and figures to the right."""
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
        """Format as a GitHub table under its title."""
        rule = ["---", *["---:"] * (len(self.columns) - 1)]
        lines = ["| " + " | ".join(line) + " |" for line in (self.columns, rule, *self.rows)]
        return "\n".join([f"**{self.title}**", "", *lines])


def format_figure(value: float | None, form: str = ".2f") -> str:
    """Format a figure, or a dash for None."""
    return "-" if value is None else format(value, form)


def http(part: Http) -> Iterator[Table]:
    """Yield a table for each workload and number of connections."""
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
        row = [
            rung,
            format_figure(middle(rounds, rate), ",.0f"),
            format_figure(spread(rounds, rate), ".0%"),
        ]
        row += [format_figure(ratio(rounds, rungs[base], rate)) for base in bases]
        row += [
            format_figure(middle(rounds, lambda f: f.p50)),
            format_figure(middle(rounds, lambda f: f.p99)),
            format_figure(middle(rounds, lambda f: f.p999)),
            format_figure(middle(rounds, lambda f: f.cpu), ",.0f"),
        ]
        if has_database:
            row.append(format_figure(middle(rounds, lambda f: f.database_cpu) or None, ",.0f"))
        rows.append([*row, format_figure(middle(rounds, lambda f: f.memory / MEBIBYTE), ",.0f")])
    return Table(title, columns, rows)


def rate(figures: Measured | Appended) -> float:
    """Requests or events a second."""
    return figures.rate


def features(part: Features, bases: Mapping[str, str], peer: str) -> Table:
    """Return a table with a row for each feature, for eventapi and for a peer."""
    servers = ("eventapi", peer)
    columns = ["feature", "compared with"]
    for server in servers:
        columns += [f"{server}: requests/s", "CPU µs", "x CPU"]
    rows = []
    for feature, figures in part.figures.items():
        base = bases[feature]
        row = [feature, base or "-"]
        for server in servers:
            rounds, plain = figures.get(server, []), part.figures.get(base, {}).get(server, [])
            row += [
                format_figure(middle(rounds, rate), ",.0f"),
                format_figure(middle(rounds, lambda f: f.all_cpu), ",.0f"),
                format_figure(ratio(rounds, plain, lambda f: f.all_cpu)),
            ]
        rows.append(row)
    return Table("what each feature costs", columns, rows)


def log(part: Log) -> Table:
    """Return a table with a row for each writer."""
    columns = ["writer", "events/s", "spread", "x raw", "x eventsourcing-postgresql"]
    columns += ["p50 ms", "p99 ms", "events a sync"]
    raw, base = (part.figures.get(name, []) for name in ("raw", "eventsourcing-postgresql"))
    rows = [
        [
            writer,
            format_figure(middle(rounds, rate), ",.0f"),
            format_figure(spread(rounds, rate), ".0%"),
            format_figure(ratio(rounds, raw, rate), ".3f"),
            format_figure(ratio(rounds, base, rate)),
            format_figure(middle(rounds, lambda f: f.p50)),
            format_figure(middle(rounds, lambda f: f.p99)),
            format_figure(middle(rounds, lambda f: f.batch) or None, ".0f"),
        ]
        for writer, rounds in part.figures.items()
    ]
    return Table("durable appends, 64 producers", columns, rows)


def replay(part: Replay) -> Table:
    """Return a table with a row for each kind of work."""
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
        row = [
            name,
            format_figure(middle(rates, float), ",.0f"),
            format_figure(spread(rates, float), ".0%"),
        ]
        rows.append(
            [*row, format_figure(middle(decoded, float)), format_figure(middle(parsed, float))]
        )
    columns = ["work", "events/s and core", "spread", "x msgspec, Struct", "x msgspec, dict"]
    lines = part.rounds[0].lines if part.rounds else 0
    return Table(f"a log of {lines:,} events", columns, rows)


def growth(part: Growth) -> Iterator[Table]:
    """Yield tables of the requests over each size, and of the work on the whole log."""
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
                    format_figure(middle(rounds, rate), ",.0f"),
                    format_figure(ratio(rounds, base, rate)),
                    format_figure(middle(rounds, lambda f: f.cpu), ",.1f"),
                    format_figure(ratio(rounds, base, lambda f: f.cpu)),
                    format_figure(middle(rounds, lambda f: f.p50)),
                    format_figure(middle(rounds, lambda f: f.p99)),
                ]
            )
        yield Table(f"{key.split()[0]}, {key.split()[1]} connections", columns, rows)
    yield _whole_log(part)


def _whole_log(part: Growth) -> Table:
    columns = ["users and items", "log MiB", "snapshot MiB", "replay s", "verify s"]
    columns += ["snapshot written s", "loaded s", "start s", "memory MiB", "bytes an item"]
    rows = [
        [
            name_of(size),
            format_figure(size.log / MEBIBYTE, ",.1f"),
            format_figure(middle(size.whole, lambda w: w.snapshot / MEBIBYTE), ",.1f"),
            format_figure(middle(size.whole, lambda w: w.replay)),
            format_figure(middle(size.whole, lambda w: w.verify)),
            format_figure(middle(size.whole, lambda w: w.write)),
            format_figure(middle(size.whole, lambda w: w.load)),
            format_figure(middle(size.start, float)),
            format_figure(middle(size.memory, lambda m: m / MEBIBYTE), ",.0f"),
            format_figure(bytes_an_item(part, size), ",.0f"),
        ]
        for size in part.sizes
    ]
    return Table("the whole log", columns, rows)


def name_of(size: Size) -> str:
    """Return the number of users and items."""
    return f"{size.users:,} / {size.items:,}"


def smallest(part: Growth, size: Size) -> Size:
    """Return the size with the same number of users and the fewest items."""
    return min(
        (each for each in part.sizes if each.users == size.users), key=lambda each: each.items
    )


def bytes_an_item(part: Growth, size: Size) -> float | None:
    """Return the memory of each item beyond those of the smallest size, or None."""
    base = smallest(part, size)
    more, less = middle(size.memory, float), middle(base.memory, float)
    if size is base or more is None or less is None:
        return None
    return (more - less) / (size.items - base.items)
