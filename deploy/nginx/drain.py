#!/usr/bin/env python3
"""Takes instances that are not ready out of nginx, and puts them back: `drain.py FILE ADDRESS...`.

nginx itself sees only those that do not answer. An instance that answers but has lost its database
says so at /health/ready; every second each is asked there, and when the answers change FILE, which
nginx.conf includes, is written anew and nginx is reloaded, which breaks no request off. If none is
ready all stay: their own answers say best what is wrong.
"""

import http.client
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SECONDS = float(os.environ.get("DRAIN_SECONDS", "1"))
RELOAD = os.environ.get("DRAIN_RELOAD", "nginx -s reload")


def is_ready(address: str) -> bool:
    """Whether an instance says that it may be given work; silence is a no."""
    connection = http.client.HTTPConnection(address, timeout=2)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def written(ready: dict[str, bool]) -> str:
    """The file for these answers."""
    none = not any(ready.values())
    return "# Written by drain.py.\n" + "".join(
        f"server {address} max_fails=1 fail_timeout=2s{'' if yes or none else ' down'};\n"
        for address, yes in ready.items()
    )


def main(file: Path, addresses: list[str]) -> None:
    """Go on until ended."""
    with ThreadPoolExecutor(len(addresses)) as threads:
        while True:
            ready = dict(zip(addresses, threads.map(is_ready, addresses), strict=True))
            text = written(ready)
            if not file.exists() or file.read_text() != text:
                print(
                    " ".join(f"{name}={'in' if yes else 'out'}" for name, yes in ready.items()),
                    flush=True,
                )
                part = file.with_suffix(".new")
                part.write_text(text)
                part.replace(file)
                subprocess.run(RELOAD.split(), check=False)
            time.sleep(SECONDS)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
