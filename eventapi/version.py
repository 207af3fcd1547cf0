"""The version of this program; the package's metadata are made from it."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"

DISTRIBUTION: Final = "eventapi-server"
"""The name to install it by. On PyPI, ``eventapi`` is a project of somebody else."""
