"""Run third-party generators, linters and compilers.

Packages of npm and PyPI are installed once a test session, outside the repository.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

CLIENTS = Path(__file__).parent / "clients"

NPM_PACKAGES = (
    "@hey-api/openapi-ts@>=0.95 <1",
    "@redocly/cli@^2.77.0",
    "@stoplight/spectral-cli@^6.16.3",
    "@types/node@^24.0.0",
    "axios@^1.21.0",
    "openapi-fetch@^0.17.0",
    "openapi-typescript@^7.13.0",
    "orval@>=7.13 <9",
    "swagger-typescript-api@^13.13.0",
    "typescript@~5.9.3",
    # Compiles clients; the generators call version 5 as a library, which version 7 is not.
    "typescript-7@npm:typescript@^7.0.2",
)
_COMPILER = "typescript-7"
PYPI_PACKAGES = (
    "openapi-generator-cli>=7.26,<8",
    "openapi-python-client>=0.29,<0.30",
    # Imported by the client of OpenAPI Generator.
    "pydantic>=2.11,<3",
    "python-dateutil>=2.8.2,<3",
    "urllib3>=2.7,<3",
)

_OPENAPI_GENERATORS: dict[str, dict[str, str]] = {
    "go": {"packageName": "eventapi"},
    "python": {"packageName": "client"},
    "typescript-axios": {},
    "typescript-fetch": {},
}
"""Generators of OpenAPI Generator, with their options."""

_TIMEOUT_SECONDS = 600
_SHORT_RUN = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""Options of Java for a run of seconds: optimizing the code would take most of them."""


def run(
    command: Sequence[str | Path],
    directory: Path,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program, which must succeed, and return its output."""
    done = subprocess.run(
        command,
        cwd=directory,
        env=os.environ | (environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-6_000:]}"
    return done.stdout


def needs(*programs: str) -> None:
    """Skip a test if a program is absent."""
    absent = [program for program in programs if shutil.which(program) is None]
    if absent:
        pytest.skip(f"{', '.join(absent)} absent: make servers")


class Node:
    """npm packages in a directory; generated code in its folders can import them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def run(self, program: str, *arguments: str | Path, directory: Path | None = None) -> str:
        """Run a program of a package."""
        path = self.directory / "node_modules" / ".bin" / program
        return run([path, *arguments], directory or self.directory)

    def compile(self, folder: Path) -> None:
        """Compile the TypeScript of a folder with its tsconfig.json."""
        run([self.directory / "node_modules" / _COMPILER / "bin" / "tsc", "-p", folder], folder)

    def folder(self, name: str) -> Path:
        """A new folder."""
        folder = self.directory / name
        folder.mkdir()
        return folder


class Python:
    """PyPI packages in a virtual environment."""

    def __init__(self, directory: Path) -> None:
        self.bin = directory / "bin"
        self._jar = next(directory.glob("lib/*/site-packages/openapi_generator_cli/*.jar"))

    def openapi_generator(self, document: Path, folder: Path) -> None:
        """Generate clients of a document with OpenAPI Generator, each in a folder of its name."""
        configs = []
        for generator, options in _OPENAPI_GENERATORS.items():
            output = {"generatorName": generator, "outputDir": str(folder / generator)}
            configs.append(folder / f"{generator}.json")
            configs[-1].write_text(json.dumps({"inputSpec": str(document), **output, **options}))
        command: list[str | Path] = ["java", *_SHORT_RUN, "-jar", self._jar, "batch", "--fail-fast"]
        run([*command, "--", *configs], folder)


def install_npm(shared: Path) -> Node:
    """Install the npm packages, unless another test process has done so."""
    directory = shared / "npm"
    with once(shared, "npm") as is_first:
        if is_first:
            directory.mkdir(exist_ok=True)
            (directory / "package.json").write_text("{}")
            options = ["--no-audit", "--no-fund", "--no-package-lock"]
            run(["npm", "install", *options, *NPM_PACKAGES], directory)
    return Node(directory)


def install_pypi(shared: Path) -> Python:
    """Install the PyPI packages, unless another test process has done so."""
    directory = shared / "venv"
    with once(shared, "pypi") as is_first:
        if is_first:
            run([sys.executable, "-m", "venv", directory], shared)
            run([directory / "bin" / "pip", "install", "--quiet", *PYPI_PACKAGES], shared)
    return Python(directory)


@contextmanager
def once(shared: Path, name: str) -> Iterator[bool]:
    """Hold a lock of all test processes; yields whether the work of this name is not done yet."""
    done = shared / f"{name}.done"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not done.exists()
        done.touch()
