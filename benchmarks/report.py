"""The table at the end: medians over the rounds, and ratios between rungs of the same round."""

from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.workload import Workload
from benchmarks.wrk import Figures

FRAMEWORK = "litestar"
PEER = "peer"

COLUMNS = f"{'rung':<10}{'req/s':>9}{'spread':>9}{'x Litestar':>12}{'x peer':>9}"
COLUMNS += f"{'p50 ms':>10}{'p99 ms':>10}{'requests':>11}"


def table(workload: Workload, results: Mapping[str, Sequence[Figures]]) -> str:
    """One workload's rows; `results` holds the figures of each rung, one per round."""
    title = f"{workload.name}: {workload.about}, {workload.connections} connections"
    rows = [_row(rung, rounds, results) for rung, rounds in results.items()]
    return "\n".join([title, COLUMNS, *rows])


def _row(rung: str, rounds: Sequence[Figures], results: Mapping[str, Sequence[Figures]]) -> str:
    rates = [figures.rate for figures in rounds]
    spread = (max(rates) - min(rates)) / median(rates)
    return (
        f"{rung:<10}{median(rates):>9.0f}{spread:>9.0%}"
        f"{_ratio(rounds, results.get(FRAMEWORK)):>12}{_ratio(rounds, results.get(PEER)):>9}"
        f"{median(f.p50 for f in rounds):>10.2f}{median(f.p99 for f in rounds):>10.2f}"
        f"{sum(f.requests for f in rounds):>11}"
    )


def _ratio(rounds: Sequence[Figures], base: Sequence[Figures] | None) -> str:
    """The median of each round's own ratio, so that a slow minute of the machine cancels out."""
    if base is None:
        return "-"
    return f"{median(a.rate / b.rate for a, b in zip(rounds, base, strict=True)):.2f}"
