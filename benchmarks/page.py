"""Write the page and the plot from the figures that are kept, without measuring.

    python -m benchmarks.page

`docs/performance.md` is written anew up to the line that says so; what stands below it is somebody's
own words, and stays.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from benchmarks import goals, report
from benchmarks.log import ROWS
from benchmarks.machine import Context, command_line
from benchmarks.plot import draw
from benchmarks.report import Table
from benchmarks.results import KEPT, Part, Results, load
from benchmarks.rung import RUNGS

P = TypeVar("P", bound=Part)

PAGE = KEPT.with_suffix(".md")
PLOT = KEPT.with_name("growth.svg")
OWN_WORDS = "<!-- Written by hand from here on: the benchmarks keep it. -->"

HEAD = """\
# Performance

How fast eventapi is, next to what it is built on and to what one would take instead. `make bench`
measures all of this and writes this page; [benchmarks/](../benchmarks/README.md) tells how. Rates
belong to one machine on one day; only ratios travel. A ratio is the median over the rounds of the
ratio within a round. `spread` is the distance between the best round and the worst: where it is
large, something else used the machine."""

HTTP = """\
One server runs at a time, on one core; wrk is on the other, and so is the database of a server that
has one. Two workers have both cores and share one with wrk, so of them only the CPU a request can be
compared. wrk sends the next request when an answer has come, so latencies are those of a full
server. `CPU µs` is what the server's processes use for one request, in user and in system mode, and
`+ database's` what the database's use beside it. `MiB` is the memory of the server's processes, what
they share counted once. Every server starts each round with the same few users and items, and every
request but those of the bare ones carries a token that is verified. Over 1 and 128 connections, and
for logins, the first round counts and every third behind it. eventapi knows users and items in memory and commits what has
come in meanwhile as one batch; the SQL peers ask the database for the token's user and for the item,
and commit each change by itself. Who logs what was asked for: all but the bare ones. A measurement in which a request
fails is void, and named. The servers:"""

LOG = """\
Without HTTP: 64 producers in one process, and each goes on when its event is durable. A server that
a writer needs is on the other core; all data is on the same disk."""

REPLAY = """\
What is done with a whole log, in events a second of one core, against msgspec alone, which decodes
the same lines and does nothing else: into the Struct of a record with its event, or into a dict."""

GROWTH = """\
The same requests over logs of growing size, and what is done with the whole of each. `x smallest` is
against the fewest items with as many users. Seconds are those of one core. `bytes an item` is the
memory of a server that has just started, less that of the one with the fewest items."""


def written(results: Results) -> Iterator[str]:
    """The page's paragraphs, each a block of Markdown."""
    yield HEAD
    yield "## Goals"
    yield goals.table(results).markdown()
    yield "## Requests"
    yield HTTP
    yield "\n".join(f"- `{rung.name}`: {rung.about}." for rung in RUNGS)
    yield from figures(results.http, report.http)
    yield "## The log alone"
    yield LOG
    yield "\n".join(f"- `{name}`: {row.about}." for name, row in ROWS.items())
    yield from figures(results.log, lambda part: [report.log(part)])
    yield "## Replay"
    yield REPLAY
    yield from figures(results.replay, lambda part: [report.replay(part)])
    yield "## Growth"
    yield GROWTH
    if results.growth is not None:
        yield f"![cost and size over the number of items]({PLOT.name})"
    yield from figures(results.growth, report.growth)


def figures(part: P | None, tables: Callable[[P], Iterable[Table]]) -> Iterator[str]:
    """What was measured in a part, if anything: when and on what, what is void, and its tables."""
    if part is None:
        yield "Not measured yet."
        return
    yield measured(part.context)
    if part.failures:
        yield "Void, since a request or a server failed: " + "; ".join(part.failures) + "."
    yield from (table.markdown() for table in tables(part))


def measured(context: Context) -> str:
    """When and on what a part was measured."""
    how = f"{context.rounds} round{'' if context.rounds == 1 else 's'}"
    if context.seconds:
        how += f" of {context.seconds} s"
    facts = "; ".join(f"{name}: {fact}" for name, fact in context.machine.items())
    return f"Measured on {context.date}, {how}. {facts}."


def own_words(page: Path) -> str:
    """What stands on a page below the line that says that it is kept."""
    if not page.exists():
        return ""
    return page.read_text().partition(OWN_WORDS)[2].strip()


def write(results: Results, page: Path = PAGE, plot: Path = PLOT) -> None:
    """Write the page, and the plot where there is something to draw."""
    below = own_words(page)
    page.write_text("\n\n".join([*written(results), OWN_WORDS, *([below] if below else [])]) + "\n")
    if results.growth is not None and results.growth.sizes:
        draw(results.growth, plot)


def main() -> None:
    """Write what is kept."""
    command_line("page", __doc__).parse_args()
    write(load())


if __name__ == "__main__":
    main()
