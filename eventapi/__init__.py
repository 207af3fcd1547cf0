"""An event-sourced REST server: asking, deciding and answering."""

from __future__ import annotations

from typing import Final

__version__: Final = "0.1.0"
"""The version of this program; the package's metadata are made from it."""

DISTRIBUTION: Final = "eventapi-server"
"""The name to install it by. On PyPI, ``eventapi`` is another project."""
