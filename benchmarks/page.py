"""Write the page and the plot from the stored figures, without measuring.

    python -m benchmarks.page

It rewrites `docs/performance.md` down to a marker line; the hand-written text below stays.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from benchmarks import goals, report
from benchmarks.features import BASES, PEER
from benchmarks.log import ROWS
from benchmarks.machine import Context, command_line
from benchmarks.plot import draw
from benchmarks.report import Table
from benchmarks.results import KEPT, Part, Results, load
from benchmarks.rung import RUNGS

P = TypeVar("P", bound=Part)

PAGE = KEPT.with_suffix(".md")
PLOT = KEPT.with_name("growth.svg")
MARKER_LINE = "<!-- Written by hand from here on: the benchmarks keep it. -->"

HEAD = """\
# Performance

This page compares eventapi with the libraries that it is built on, and with its alternatives.
`make bench` measures everything and writes this page; [benchmarks/](../benchmarks/README.md)
describes how. Rates hold for one machine on one day; only ratios can be transferred. A ratio is the
median over the rounds of the ratio within a round. `spread` is the distance between the best round
and the worst: if it is large, something else used the machine."""

HTTP = """\
One server runs at a time, on one core; wrk and the server's database, if any, run on the other. Two
workers use both cores and share one with wrk, so only their CPU a request can be compared. wrk sends
the next request after an answer has arrived, so latencies are those of a fully loaded server.
`CPU µs` is the time that the server's processes use for one request, in user and in system mode, and
`+ database's` that of the database's processes. `MiB` is the memory of the server's processes, with
shared pages counted once. Every server starts each round with the same few users and items, and
every request, except those to the bare servers, carries a token that is verified. Over 1 and 128
connections, and for logins, only the first round and every third after it are measured. eventapi
keeps users and items in memory and commits all writes that arrived in the meantime as one batch; the
SQL peers query the token's user and the item, and commit each change separately. `list` is the same
page in every request, so eventapi sends it from its cache; in `list-changed` a row changes before
each list, so each page is made anew; the figures are the mean of both requests. All servers except
the bare ones log every request. A measurement with a failed request is void, and listed. The servers:"""

FEATURES = """\
Each feature beside the plain request that it is compared with, over 32 connections: `x CPU` is the
ratio of their CPU time a request, that of PostgreSQL included. `peer-postgresql` does the same with
FastAPI and SQLAlchemy; `-` means that it has no such feature. Lists are those of a user with 100
items. `list` is the same page in every request, which eventapi caches; the other lists have another
filter each time. eventapi searches titles and descriptions, the peer titles. The figures of a batch
are those of one of its hundred items. The read model counts items; the webhook gets every event, and
the CPU includes the deliveries that are left at the end. Logins are sent one after the other; the one
with TOTP is two requests. eventapi checks argon2id (19 MiB, two passes), the peer bcrypt (cost 12)."""

LOG = """\
Without HTTP: 64 producers in one process, each of which waits until its event is durable. The server
that a writer needs is on the other core; all data is on the same disk."""

REPLAY = """\
Work on a whole log, in events a second of one core, compared with msgspec alone, which only decodes
the same lines: into the Struct of a record with its event, or into a dict."""

GROWTH = """\
The same requests, and work on the whole log, over logs of growing size. Each `list-filtered` has
another filter, because the same list would come from the cache of pages. `x smallest` compares with
the fewest items and the same number of users. Seconds are those of one core. `bytes an item` is the
memory of a server after its start, less that of the server with the fewest items."""

KINDS = """\
The same over rows of ten declared kinds, with ten events a row. `list-all` is a list of rows of all
users."""


def paragraphs(results: Results) -> Iterator[str]:
    """Yield the paragraphs of the page, each a block of Markdown."""
    yield HEAD
    yield "## Goals"
    yield goals.table(results).markdown()
    yield "## Requests"
    yield HTTP
    yield "\n".join(f"- `{rung.name}`: {rung.about}." for rung in RUNGS)
    yield from figures(results.http, report.http)
    yield "## What each feature costs"
    yield FEATURES
    yield from figures(results.features, lambda part: [report.features(part, BASES, PEER)])
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
    if results.kinds is not None:
        yield "## Growth of declared kinds"
        yield KINDS
        yield from figures(results.kinds, report.growth)


def figures(part: P | None, tables: Callable[[P], Iterable[Table]]) -> Iterator[str]:
    """Yield the context, the void measurements and the tables of a part, if it was measured."""
    if part is None:
        yield "Not measured yet."
        return
    yield context_line(part.context)
    if part.failures:
        yield "Void, because a request or a server failed: " + "; ".join(part.failures) + "."
    yield from (table.markdown() for table in tables(part))


def context_line(context: Context) -> str:
    """Describe when and on which machine a part was measured."""
    how = f"{context.rounds} round{'' if context.rounds == 1 else 's'}"
    if context.seconds:
        how += f" of {context.seconds} s"
    facts = "; ".join(f"{name}: {fact}" for name, fact in context.machine.items())
    return f"Measured on {context.date}, {how}. {facts}."


def hand_written(page: Path) -> str:
    """Return the hand-written text below the marker line of a page."""
    if not page.exists():
        return ""
    return page.read_text().partition(MARKER_LINE)[2].strip()


def write(results: Results, page: Path = PAGE, plot: Path = PLOT) -> None:
    """Write the page, and the plot if there are figures for it."""
    below = hand_written(page)
    page.write_text(
        "\n\n".join([*paragraphs(results), MARKER_LINE, *([below] if below else [])]) + "\n"
    )
    if results.growth is not None and results.growth.sizes:
        draw(results.growth, plot)


def main() -> None:
    """Write the page of the stored figures."""
    command_line("page", __doc__).parse_args()
    write(load())


if __name__ == "__main__":
    main()
