#!/usr/bin/env python3
"""Remove instances from nginx while they are not ready: `drain.py FILE ADDRESS...`.

nginx itself detects only instances that do not answer. An instance that answers but has lost its
database is not ready at /health/ready. Poll that path of each instance every second; if an answer
changes, rewrite FILE, which nginx.conf includes, and reload nginx, which interrupts no request. If
no instance is ready, all stay, because their own answers name the cause.
"""

import http.client
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

POLL_SECONDS = float(os.environ.get("DRAIN_SECONDS", "1"))
RELOAD_COMMAND = os.environ.get("DRAIN_RELOAD", "nginx -s reload")


def is_ready(address: str) -> bool:
    """Whether an instance reports that it is ready; no answer means that it is not."""
    connection = http.client.HTTPConnection(address, timeout=2)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def render(ready: dict[str, bool]) -> str:
    """Return the content of FILE for these answers."""
    none = not any(ready.values())
    return "# Written by drain.py.\n" + "".join(
        f"server {address} max_fails=1 fail_timeout=2s{'' if yes or none else ' down'};\n"
        for address, yes in ready.items()
    )


def main(file: Path, addresses: list[str]) -> None:
    """Poll until the process is ended."""
    with ThreadPoolExecutor(len(addresses)) as threads:
        while True:
            ready = dict(zip(addresses, threads.map(is_ready, addresses), strict=True))
            text = render(ready)
            if not file.exists() or file.read_text() != text:
                print(
                    " ".join(f"{name}={'in' if yes else 'out'}" for name, yes in ready.items()),
                    flush=True,
                )
                part = file.with_suffix(".new")
                part.write_text(text)
                part.replace(file)
                subprocess.run(RELOAD_COMMAND.split(), check=False)
            time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
