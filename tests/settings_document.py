"""Generate the table of ``docs/settings.md``: ``python -m tests.settings_document``."""

from __future__ import annotations

import re
from pathlib import Path

from eventapi.configuration.settings import setting_descriptions

DOCUMENT = Path(__file__).parent.parent / "docs" / "settings.md"
HEADER = "| setting | meaning | unit | values | default | example |\n| --- | --- | --- | --- | --- | --- |\n"

_TABLE = re.compile(r"^\| setting \|.*\n(\|.*\n)+", re.MULTILINE)


def table() -> str:
    """A row for each setting, in the order of `eventapi config`."""
    rows = [
        (
            f"`{one.variable}`",
            one.meaning,
            one.unit,
            one.values,
            one.default,
            one.example if " " in one.example else f"`{one.example}`",
        )
        for one in setting_descriptions().values()
    ]
    return HEADER + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def with_table(text: str) -> str:
    """Replace the table of the document with the generated one."""
    return _TABLE.sub(lambda _: table(), text, count=1)


if __name__ == "__main__":
    DOCUMENT.write_text(with_table(DOCUMENT.read_text()))
