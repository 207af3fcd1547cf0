"""The reloader stops at any moment at a signal."""

from __future__ import annotations

import subprocess
import sys

from tests.eventapi.cli.running import PATIENCE, REPOSITORY, clean_environment

MANY_SIGNALS = """\
import signal, uvicorn
from contextlib import suppress
from eventapi.server.reloading import Reloader

reloader = Reloader(uvicorn.Config("nothing", reload_delay=0.0001), [], print)
signal.signal(signal.SIGALRM, lambda *_: reloader.signal_handler(signal.SIGINT, None))
signal.setitimer(signal.ITIMER_REAL, 0.00005, 0.00005)
for _ in range(3000):
    with suppress(StopIteration):
        reloader.pause()
signal.setitimer(signal.ITIMER_REAL, 0)
try:
    reloader.pause()
except StopIteration:
    print("stopped")
"""
"""A reloader that gets signals at every moment of its wait."""

UVICORNS = """\
from uvicorn.supervisors.statreload import StatReload
del Reloader.pause
Reloader.signal_handler = StatReload.signal_handler
"""
"""The control: uvicorn's own handler, which waits for a lock that the interrupted code holds."""


def output_of(script: str) -> str:
    process = subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
        timeout=PATIENCE,
        text=True,
    )
    return process.stdout


def test_a_signal_stops_the_reloader_at_every_moment_of_its_wait() -> None:
    assert output_of(MANY_SIGNALS) == "stopped\n"


def test_the_handler_of_uvicorn_never_returns_at_some_moments() -> None:
    """Further signals interrupt the waiting handler, until the stack is full."""
    imports, rest = MANY_SIGNALS.split("\n\n", 1)
    assert output_of(f"{imports}\n{UVICORNS}\n{rest}") == ""
