"""Make the pictures of docs/console.md: ``python -m tests.console.screenshots``.

It needs node, npm and chromium, and takes a minute.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from eventapi.cli.demo import make_demo
from eventapi.cli.serve import DEMO_RESOURCES
from eventapi.configuration.settings import Settings
from tests.console.programs import installed
from tests.end_to_end.server import ROOT, Server, by_serve


def main() -> None:
    """Serve the demonstration and take the pictures."""
    with TemporaryDirectory() as folder:
        data = Path(folder) / "demo"
        settings = Settings(data=str(data), resources=(DEMO_RESOURCES,))
        passwords = asyncio.run(make_demo(settings))
        with (
            installed(Path(folder)) as run,
            Server(data, 1, by_serve, {"EVENTAPI_RESOURCES": DEMO_RESOURCES}) as server,
        ):
            options = {"base": server.url, "folder": str(ROOT / "docs"), "passwords": passwords}
            run("screenshots.mjs", "take", **options)


if __name__ == "__main__":
    main()
