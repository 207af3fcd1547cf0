"""The table at the end: medians over the rounds, and ratios between rungs of the same round."""

from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.workload import Workload
from benchmarks.wrk import Figures

BASES = {"x Litestar": "litestar", "x peer": "peer"}
"""What rungs are compared with: from a column's title to the rung it divides by."""


def table(
    workload: Workload,
    results: Mapping[str, Sequence[Figures]],
    bases: Mapping[str, str] = BASES,
) -> str:
    """One workload's rows; `results` holds the figures of each rung, one per round."""
    title = f"{workload.name}: {workload.about}, {workload.connections} connections"
    columns = f"{'rung':<12}{'req/s':>9}{'spread':>9}"
    columns += "".join(f"{base:>12}" for base in bases)
    columns += f"{'p50 ms':>10}{'p99 ms':>10}{'requests':>11}"
    against = [results.get(rung) for rung in bases.values()]
    rows = [_row(rung, rounds, against) for rung, rounds in results.items()]
    return "\n".join([title, columns, *rows])


def _row(rung: str, rounds: Sequence[Figures], against: Sequence[Sequence[Figures] | None]) -> str:
    rates = [figures.rate for figures in rounds]
    spread = (max(rates) - min(rates)) / median(rates)
    return (
        f"{rung:<12}{median(rates):>9.0f}{spread:>9.0%}"
        + "".join(f"{_ratio(rounds, base):>12}" for base in against)
        + f"{median(f.p50 for f in rounds):>10.2f}{median(f.p99 for f in rounds):>10.2f}"
        f"{sum(f.requests for f in rounds):>11}"
    )


def _ratio(rounds: Sequence[Figures], base: Sequence[Figures] | None) -> str:
    """The median of each round's own ratio, so that a slow minute of the machine cancels out."""
    if base is None:
        return "-"
    return f"{median(a.rate / b.rate for a, b in zip(rounds, base, strict=True)):.2f}"
