"""Parser of a page of metrics, for assertions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text

Labels = frozenset[tuple[str, str]]


class Page:
    """The samples of a page, by name and labels."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self.families = list(families)
        self.samples: Mapping[tuple[str, Labels], float] = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families
            for sample in family.samples
        }

    @classmethod
    def of(cls, page: str, content_type: str = "text/plain") -> Page:
        """Parse a page in either format; raises `ValueError`."""
        parse = openmetrics if content_type.startswith("application/openmetrics") else text
        return cls(parse(page))

    def value(self, name: str, **labels: str) -> float | None:
        """The value of the sample with exactly these labels, if there is one."""
        return self.samples.get((name, frozenset(labels.items())))

    def total(self, name: str, **labels: str) -> float:
        """The sum of all samples with this name and at least these labels."""
        wanted = labels.items()
        return sum(
            value
            for (sample, has), value in self.samples.items()
            if sample == name and wanted <= has
        )

    @property
    def series(self) -> set[tuple[str, Labels]]:
        """The names and labels of all samples."""
        return set(self.samples)
