"""The wheel: installed into an empty environment, it serves from another folder."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest

from tests.deployment.test_files import copied_paths
from tests.end_to_end.server import ROOT, free_port
from tests.eventapi.cli.running import Running, run, running
from tests.generators.tools import run as install

OUTSIDE = {"PYTHONPATH": ""}
"""The environment of programs that must not import from the repository."""

PACKAGES = ("eventapi", "events", "projections")
_DOCUMENT = re.compile(r"\bdocs/[\w/-]+\.(?:md|mjs|py)\b")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what an image is built from."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in copied_paths():
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source)
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--wheel-dir",
        built,
        source,
    ]
    install(command, source, OUTSIDE)
    (found,) = built.iterdir()
    return found


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command, installed with its dependencies into an empty environment."""
    folder = tmp_path_factory.mktemp("installed")
    install([sys.executable, "-m", "venv", folder], folder, OUTSIDE)
    install([folder / "bin" / "pip", "install", "--quiet", wheel], folder, OUTSIDE)
    return [str(folder / "bin" / "eventapi")]


def files_of(package: str) -> Iterator[str]:
    for file in (ROOT / package).rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            yield file.relative_to(ROOT).as_posix()


def documents_in_messages() -> set[str]:
    """The documents that the packages name, in messages and in comments."""
    modules = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    return {name for file in modules for name in _DOCUMENT.findall(file.read_text())}


def test_the_wheel_has_every_file_of_the_packages(wheel: Path) -> None:
    assert wheel.name.startswith("eventapi_server-")
    with ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith(PACKAGES)}
    packed = {name for name in packed if not name.startswith("eventapi_server-")}
    wanted = {name for package in PACKAGES for name in files_of(package)} - {"events/README.md"}
    assert packed == wanted


def test_the_installation_has_every_document_that_messages_name(
    program: list[str], tmp_path: Path
) -> None:
    named = documents_in_messages()
    assert {"docs/operating.md", "docs/decisions/restore.md"} <= named

    printed = run(tmp_path, "--help", command=program, **OUTSIDE).out.decode()
    folder = Path(printed.partition("Documents:\n")[2].strip())
    assert not folder.is_relative_to(ROOT)
    assert [name for name in sorted(named) if not (folder.parent / name).exists()] == []


def test_the_demonstration_serves_its_pages_and_its_data(
    program: list[str], tmp_path: Path
) -> None:
    arguments = ("serve", "--demo", "--port", str(free_port()))
    with running(tmp_path, *arguments, command=program, **OUTSIDE) as server:
        printed = until_ready(server)
        address = re.findall(r"^eventapi serves (\S+),", printed)[0]
        password = re.findall(r"^Sign in as ann with (\S+)$", printed, re.MULTILINE)[0]
        with httpx.Client(base_url=address, timeout=60) as client:
            pages = ["/console", "/docs", "/openapi.json", *assets(client, "/console", "/docs")]
            found = {page: client.get(page, follow_redirects=True).status_code for page in pages}
            assert len(pages) > 6
            assert set(found.values()) == {200}, found

            login = {"username": "ann", "password": password}
            token = client.post("/api/v2/auth/login", json=login).json()["access_token"]
            headers = {"Authorization": f"Bearer {token}"}
            invoices = client.get("/api/v2/invoices?count=true", headers=headers).json()
            assert invoices["count"] == 24
    assert [one.name for one in tmp_path.iterdir()] == ["eventapi-demo"]


def until_ready(server: Running) -> str:
    printed = ""
    while not printed.endswith("Press Ctrl-C to stop.\n"):
        printed += server.line().decode()
    return printed


def assets(client: httpx.Client, *pages: str) -> set[str]:
    """The addresses of the scripts and styles of some pages."""
    return {
        str(answer.url.join(address))
        for answer in (client.get(page, follow_redirects=True) for page in pages)
        for address in re.findall(r'(?:src|href)="([^"#:]+\.(?:js|css))"', answer.text)
    }


@pytest.mark.parametrize("example", ["ledger", "shop", "todo"])
def test_an_example_can_be_served(program: list[str], tmp_path: Path, example: str) -> None:
    arguments = ("serve", "--port", "0", "--resources", f"eventapi.examples.{example}")
    with running(tmp_path, *arguments, command=program, **OUTSIDE) as server:
        assert until_ready(server).startswith("eventapi serves ")
