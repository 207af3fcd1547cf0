"""The plot of growth as a small SVG: text as text, the same bytes for the same figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.report import MEBIBYTE
from benchmarks.results import Growth, Size, middle

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLES = ("-", "--", ":")
"""The style of a line, by number of users."""


@dataclass(frozen=True)
class Line:
    """A line of the plot: points over the number of items."""

    name: str
    points: Sequence[tuple[int, float]]
    colour: str
    style: str = "-"


def lines(part: Growth, what: dict[str, Callable[[Size], float | None]]) -> list[Line]:
    """Return a line for each quantity and number of users; omit sizes without a figure."""
    drawn = []
    for style, users in zip(STYLES, sorted({size.users for size in part.sizes}), strict=False):
        for number, (name, figure) in enumerate(what.items()):
            found = [(size.items, figure(size)) for size in part.sizes if size.users == users]
            points = [(items, value) for items, value in found if value is not None]
            label = f"{name}, {users:,} users"
            drawn.append(Line(label, points, f"C{number}", style))
    return drawn


def panels(part: Growth) -> dict[str, list[Line]]:
    """Return the lines of each panel by its title."""
    keys = dict.fromkeys(key for size in part.sizes for key in size.requests)

    def requested(key: str, member: str) -> Callable[[Size], float | None]:
        return lambda size: middle(size.requests.get(key, []), lambda f: float(getattr(f, member)))

    def whole(member: str) -> Callable[[Size], float | None]:
        return lambda size: middle(size.whole, lambda w: float(getattr(w, member)))

    work = {
        "replay": whole("replay"),
        "verify": whole("verify"),
        "snapshot written": whole("write"),
        "snapshot loaded": whole("load"),
    }
    return {
        "CPU of a request, µs": lines(
            part, {key.split()[0]: requested(key, "cpu") for key in keys}
        ),
        "median latency, ms": lines(part, {key.split()[0]: requested(key, "p50") for key in keys}),
        "the whole log, seconds of a core": lines(part, work),
        "memory of a server, MiB": lines(
            part, {"memory": lambda size: middle(size.memory, lambda m: m / MEBIBYTE)}
        ),
    }


def draw(part: Growth, path: Path) -> None:
    """Write the plot; axes of values that grow with the items are logarithmic."""
    import matplotlib as mpl  # noqa: PLC0415 - not needed for the rest of the page
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "growth", "font.size": 9}):
        figure = Figure(figsize=(10, 8), layout="constrained")
        every = figure.subplots(2, 2).flat
        for number, (axes, (title, drawn)) in enumerate(
            zip(every, panels(part).items(), strict=True)
        ):
            _draw_panel(axes, title, drawn)
            if number >= 2:
                axes.set_yscale("log")
            else:
                axes.set_ylim(bottom=0)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _draw_panel(axes: "Axes", title: str, drawn: Sequence[Line]) -> None:
    axes.set_title(title)
    axes.set_xlabel("items")
    axes.set_xscale("log")
    axes.grid(alpha=0.3)
    for line in drawn:
        across, up = [point[0] for point in line.points], [point[1] for point in line.points]
        axes.plot(
            across, up, line.style, color=line.colour, marker="o", markersize=4, label=line.name
        )
    axes.legend(fontsize=7, frameon=False)
