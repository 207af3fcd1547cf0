"""``python -m eventapi`` is the command ``eventapi``."""

from __future__ import annotations

from eventapi.cli.main import main

main()
