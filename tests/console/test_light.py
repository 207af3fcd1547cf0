"""The light against servers that lie: it is red each time, and says why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from events.transparency.signed_note import Note, Signer, TreeHead
from events.transparency.signing.register import create_register
from tests.console.programs import Run
from tests.console.service import PASSWORD, register, serve
from tests.end_to_end.server import Server, free_port

KEPT = 6
"""Events that the browser has seen beyond the ones that a lying server still has."""


class World(msgspec.Struct):
    """A browser that has visited an honest server, and copies of that server's data."""

    port: int
    before: Path
    honest: Path
    profile: Path
    size: int

    @contextmanager
    def server(self, data: Path, target: Path) -> Iterator[Server]:
        """A server over a copy of ``data``, at the address that the browser knows."""
        shutil.copytree(data, target)
        pretend_it_is_no_copy(target)
        with serve(target, self.port) as server:
            yield server


def pretend_it_is_no_copy(data: Path) -> None:
    """Let a copied key sign again, which an honest server refuses without an operator."""
    log = data / "events.jsonl"
    signer = Signer.parse(log.with_name(f"{log.name}.key").read_text())
    newest = Note.parse(log.with_name(f"{log.name}.checkpoint").read_text())
    register = log.with_name(f"{log.name}.signed")
    create_register(register, signer.verifier.vkey, TreeHead.parse(newest))


def write(server: Server, titles: list[str]) -> int:
    """Write items, an event each, and return the position of the log."""
    login = {"username": "ann", "password": PASSWORD}
    pair = httpx.post(f"{server.url}/api/v2/auth/login", json=login).raise_for_status().json()
    headers = {"Authorization": f"Bearer {pair['access_token']}"}
    for title in titles:
        url = f"{server.url}/api/v2/items"
        httpx.post(url, json={"title": title}, headers=headers).raise_for_status()
    position: int = httpx.get(f"{server.url}/health").json()["position"]
    return position


@pytest.fixture(scope="module")
def world(run: Run, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The honest server was visited at two sizes; both times its light was green."""
    folder = tmp_path_factory.mktemp("light")
    port, data, before = free_port(), folder / "data", folder / "before"
    profile = folder / "profile.json"
    with serve(data, port) as server:
        register(server.url, "ann")
        write(server, ["first"])
        first = run("light.mjs", "visit", base=server.url, state="green", save=str(profile))
        assert set(first) == {"kept"}
    shutil.copytree(data, before)
    with serve(data, port) as server:
        size = write(server, [f"seen {number}" for number in range(KEPT - 1)])
        known = {"profile": str(profile), "save": str(profile)}
        second = run("light.mjs", "visit", base=server.url, state="green", **known)
    assert second["kept"]["note"].split("\n")[1] == str(size)
    assert second["kept"]["vkey"] == first["kept"]["vkey"]
    return World(port, before, data, profile, size)


def truncated(world: World, folder: Path) -> Path:
    return world.before


def rewritten(world: World, folder: Path) -> Path:
    return _written(world, folder, KEPT + 3)


def forked(world: World, folder: Path) -> Path:
    return _written(world, folder, KEPT - 1)


def replaced(world: World, folder: Path) -> Path:
    data = folder / "another"
    with serve(data, world.port) as server:
        register(server.url, "ann")
        write(server, [f"other {number}" for number in range(2 * KEPT)])
        httpx.get(f"{server.url}/log/checkpoint").raise_for_status()
    return data


def _written(world: World, folder: Path, count: int) -> Path:
    target = folder / "written"
    with world.server(world.before, target) as server:
        write(server, [f"forged {number}" for number in range(count)])
    return target


LIES: dict[str, tuple[Callable[[World, Path], Path], str]] = {
    "truncated": (truncated, "The log became shorter"),
    "rewritten": (rewritten, "The log was rewritten"),
    "forked": (forked, "There are two logs"),
    "replaced key": (replaced, "The key was replaced"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_red_and_says_why(run: Run, world: World, tmp_path: Path, lie: str) -> None:
    make, title = LIES[lie]
    data = make(world, tmp_path)
    with world.server(data, tmp_path / "served") as server:
        known = {"profile": str(world.profile), "base": server.url, "state": "red"}
        verdict = run("light.mjs", "visit", **known)
        size = httpx.get(f"{server.url}/health").json()["position"]

        assert verdict["red"]["title"] == title
        evidence = verdict["red"]["evidence"]
        assert evidence["kept"] == verdict["kept"]
        assert evidence["kept"]["note"].split("\n")[1] == str(world.size)
        if lie == "forked":
            assert size == world.size
        found = run("light.mjs", "contradiction", **known)

    assert title in found["text"]
    saved = found["saved"]["evidence"]
    assert saved["kept"] == evidence["kept"]
    assert saved["shown"]["note"].split("\n")[1].isdigit()
    assert saved["shown"]["note"] != saved["kept"]["note"]


def test_control_an_honest_server_that_grew_is_green(
    run: Run, world: World, tmp_path: Path
) -> None:
    with world.server(world.honest, tmp_path / "served") as server:
        size = write(server, ["one more"])
        known = {"profile": str(world.profile), "base": server.url, "state": "green"}
        verdict = run("light.mjs", "visit", **known)

    assert verdict["kept"]["note"].split("\n")[1] == str(size)


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "root": ({"path": "/log/checkpoint", "from": r"\n.{4}(.{40})\n", "to": "\nAAAA$1\n"}, "red"),
    "signature": ({"path": "/log/checkpoint", "from": r".{8}=\n$", "to": "AAAAAAAA=\n"}, "red"),
    "proof": ({"path": "/log/consistency/*", "from": r"\n.{4}", "to": "\nAAAA"}, "red"),
    "no checkpoint": ({"path": "/log/checkpoint", "from": r"[\s\S]*", "to": "hello"}, "amber"),
    "no answer": (
        {"path": "/log/checkpoint", "from": r"[\s\S]*", "to": "{}", "status": 503},
        "amber",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_answer_is_never_green(
    run: Run, world: World, tmp_path: Path, change: str
) -> None:
    options, state = CHANGES[change]
    with world.server(world.honest, tmp_path / "served") as server:
        write(server, ["one more"])
        known = {"profile": str(world.profile), "base": server.url, "state": state}
        text = run("light.mjs", "changed", **known, **options)

    assert ("Cannot check" in text) is (state == "amber")


def test_a_restored_log_that_signs_nothing_is_amber(run: Run, world: World, tmp_path: Path) -> None:
    shutil.copytree(world.before, tmp_path / "served")
    with serve(tmp_path / "served", world.port) as server:
        known = {"profile": str(world.profile), "base": server.url, "state": "amber"}
        verdict = run("light.mjs", "visit", **known)

    assert verdict["kept"]["note"].split("\n")[1] == str(world.size)


def test_it_is_amber_without_webcrypto_and_red_for_ever_after_a_lie(
    run: Run, world: World, tmp_path: Path
) -> None:
    with world.server(world.honest, tmp_path / "served") as server:
        known = {"profile": str(world.profile), "base": server.url}
        assert "Cannot check" in run("light.mjs", "withoutCrypto", **known)
        run("light.mjs", "sticky", key=other_key(world), **known)


def other_key(world: World) -> str:
    """A verifier key that is well formed, and not the one that the browser knows."""
    known = json.loads(world.profile.read_text())
    signer = Signer("eventapi/other", Ed25519PrivateKey.generate())
    assert signer.verifier.vkey not in json.dumps(known)
    return f"{signer.verifier.vkey}\n"
