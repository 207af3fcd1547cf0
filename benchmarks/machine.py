"""The conditions of figures: class of machine and versions, without anything that identifies it."""

import argparse
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec

PACKAGES = (
    *("litestar", "msgspec", "uvicorn", "uvloop", "cryptography"),
    *("fastapi", "pydantic", "sqlalchemy", "aiosqlite", "asyncpg"),
    *("eventsourcing", "psycopg-binary", "redis", "hiredis"),
)


class Context(msgspec.Struct):
    """Date, machine and duration of a measured part; ``machine`` has one entry per fact."""

    date: str
    machine: dict[str, str]
    seconds: int
    """Of each measurement; 0 if a measurement lasts as long as its work."""

    rounds: int = 0
    """The number of rounds so far."""


def context(scratch: Path, seconds: int = 0) -> Context:
    """Return the context of a part that is measured now, with its data in ``scratch``."""
    return Context(datetime.now(UTC).date().isoformat(), machine(scratch), seconds)


def machine(scratch: Path) -> dict[str, str]:
    """Return the class of machine, without host name and paths."""
    kernel = ".".join(platform.release().split(".")[:2])
    return {
        "cores": str(os.cpu_count()),
        "processor": processor(Path("/proc/cpuinfo").read_text()),
        "file system": file_system(scratch),
        "kernel": f"{platform.system()} {kernel}",
        "Python": platform.python_version(),
        "libraries": ", ".join(f"{package} {version(package)}" for package in PACKAGES),
    }


def file_system(directory: Path) -> str:
    """The type of the file system that holds a directory, such as ext4."""
    command = ["findmnt", "--noheadings", "--output", "FSTYPE", "--target", str(directory)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def processor(cpuinfo: str) -> str:
    """The model that `/proc/cpuinfo` names, without its clock (``@ 2.60GHz``)."""
    found = re.search(r"^model name\s*: *(.*)$", cpuinfo, re.MULTILINE)
    return found[1].partition("@")[0].strip() if found else platform.machine()


def two_cores(*programs: str) -> tuple[int, int]:
    """Return the server's core and the load's; move this process and its children to the latter.

    Ends the program if there is only one core or a required program is missing. From now on SIGTERM
    is an ordinary exit, so that it also ends the running server.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("two cores are needed: one for the server, one for the load")
    for program in ("taskset", *programs):
        if shutil.which(program) is None:
            sys.exit(f"{program} is missing: apt-get install wrk util-linux")
    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        sys.exit(
            "this kernel does not list child processes (/proc/.../children): CPU cannot be counted"
        )
    os.sched_setaffinity(0, {cores[1]})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    return cores[0], cores[1]


def progress(line: str) -> None:
    """Report progress on stderr; only the tables go to stdout."""
    print(line, file=sys.stderr, flush=True)


def command_line(name: str, about: str | None) -> argparse.ArgumentParser:
    """A parser that shows a module's docstring as it is written."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def command_line_of_part(name: str, about: str | None, minutes: float) -> argparse.ArgumentParser:
    """Return a parser with the options of every part: its duration, and whether to store figures."""
    parser = command_line(name, about)
    parser.add_argument("--rounds", type=int, metavar="N")
    parser.add_argument("--quick", action="store_true", help="few and short rounds")
    parser.add_argument(
        "--minutes",
        type=float,
        default=minutes,
        metavar="N",
        help="begin no round that would end later (default %(default)s)",
    )
    parser.add_argument("--keep", action="store_true", help="store in docs/performance.json")
    return parser


def rounds_within(rounds: int, minutes: float) -> Iterator[int]:
    """Yield the numbers of the rounds, from 1, while another one fits into the time."""
    started = time.monotonic()
    longest = 0.0
    for number in range(1, rounds + 1):
        began = time.monotonic()
        if began - started + longest > minutes * 60:
            progress(f"no time for round {number} of {rounds}")
            return
        progress(f"round {number} of {rounds}")
        yield number
        longest = max(longest, time.monotonic() - began)


def parse_names(text: str, names: Sequence[str]) -> list[str]:
    """Return the known names of a comma-separated list in their order, or all for an empty list.

    Raises `argparse.ArgumentTypeError` for an unknown name.
    """
    wanted = text.split(",") if text else list(names)
    if unknown := set(wanted) - set(names):
        raise argparse.ArgumentTypeError(f"no such name: {', '.join(sorted(unknown))}")
    return [name for name in names if name in wanted]
