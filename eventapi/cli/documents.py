"""The place of the documents that messages name, such as docs/operating.md."""

from __future__ import annotations

import sysconfig
from pathlib import Path

_REPOSITORY = Path(__file__).parents[2]


def documents() -> Path:
    """The folder ``docs`` of the repository, or of the installation."""
    folder = _REPOSITORY / "docs"
    if (folder / "operating.md").exists():
        return folder
    return Path(sysconfig.get_path("data"), "share", "doc", "eventapi-server", "docs")
