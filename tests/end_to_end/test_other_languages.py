"""A replayer in Node, written from docs/log-format.md, verifies and folds logs."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventapi.resources import action
from eventapi.resources.declared import RESERVED_COLLECTIONS
from eventapi.resources.registry import Registry
from eventapi.testing.given import SOURCE, Happened, at, records_of
from eventapi.testing.items import ITEMS
from eventapi.testing.sample_log import write
from eventapi.testing.strategies import sound_histories
from events.codec import decode, encode
from events.record import Event, Record
from events.sealing import Keyring
from events.transparency.merkle import leaf_hash, root_of
from events.vocabulary.resources import ResourceType
from events.vocabulary.users import UserDisabled, UserErased, UserRegistered
from events.vocabulary.vocabulary import Vocabulary
from projections.state import State
from tests.end_to_end.server import ROOT, Server
from tests.end_to_end.workers import run_trial
from tests.end_to_end.workload import Load
from tests.eventapi.resources.declaring import as_clear, resource_class

REPLAYER = ROOT / "docs" / "replay.mjs"
FORMAT = ROOT / "docs" / "log-format.md"
GOLDEN = ROOT / "tests" / "data" / "golden-v1.jsonl"
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="needs node: apt-get install nodejs")


def node(log: Path, position: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run the replayer on a file, up to a position."""
    arguments = [NODE or "node", str(REPLAYER), str(log)]
    arguments += [] if position is None else [str(position)]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=False)


def expected_output(lines: list[bytes], vocabulary: Vocabulary = ITEMS) -> str:
    """The output that the replayer must print for these lines."""
    state = State.empty(vocabulary)
    for record in decode(lines, Keyring(), vocabulary):
        state.apply(record)
    return f"{state.position} {state.last.hash.hex()} {state.digest()}\n"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log that a real server wrote."""
    data = tmp_path_factory.mktemp("node") / "data"
    with Server(data, 2) as server:
        load = Load([server.port], server.log, server.workers, clients=8, users=2, seconds=1.0)
        assert not run_trial([server], load).verdict.violations
    return server.log


def test_node_folds_a_server_s_log_to_the_same_digest(log: Path) -> None:
    lines = log.read_bytes().splitlines()
    found = node(log)
    assert found.stdout == expected_output(lines), found.stderr
    assert found.returncode == 0
    half = len(lines) // 2
    assert node(log, half).stdout == expected_output(lines[:half])


@given(sound_histories(max_size=60))
@settings(max_examples=40, deadline=None)
def test_node_folds_any_history_to_the_same_digest(history: list[Happened]) -> None:
    """With every event type, in any order that commands allow."""
    lines = write(history).lines
    found = run_on(lines)
    assert found.stdout == expected_output(lines), found.stderr


# Kinds that the replayer has never heard of

CLASSES = ("Invoice", "Alpha", "LineItem", "Jot", "Zeta2", "Session2")
VERBS = ("updated", "deleted", "restored", "shared", "unshared", "pay", "send_now")
USERS = st.integers(1, 3)


def acting(self: Any) -> Any:
    """Do something."""
    return self


@st.composite
def registries(draw: st.DrawFn) -> Registry:
    """Kinds with any names, fields and collections."""
    names = draw(st.lists(st.sampled_from(CLASSES), min_size=1, max_size=3, unique=True))
    collections = draw(
        st.lists(
            st.from_regex(r"\A[a-z][a-z0-9_]{0,6}\Z").filter(
                lambda name: name not in {*RESERVED_COLLECTIONS, "items"}
            ),
            min_size=len(names),
            max_size=len(names),
            unique=True,
        )
    )
    fields = {"a": as_clear(int | None), "b": (str, "")}
    return Registry(
        resource_class(
            name, fields, collection=collection, pay=action(acting), send_now=action(acting)
        )
        for name, collection in zip(names, collections, strict=True)
    )


def event_of(draw: st.DrawFn, resource: ResourceType, verb: str) -> Event:
    """An event about a resource, without its values, which the fold does not need."""
    kind: Any = resource.event_of(verb)
    if verb == "created":
        return cast("Event", kind(draw(USERS), personal=draw(st.none() | st.just("c2VhbGVk"))))
    if verb == "restored":
        return cast("Event", kind(1))
    if verb in {"shared", "unshared"}:
        arguments = (draw(USERS), "read") if verb == "shared" else (draw(USERS),)
        return cast("Event", kind(*arguments))
    return cast("Event", kind())


@st.composite
def declared_logs(draw: st.DrawFn) -> tuple[Registry, list[bytes]]:
    """Logs of declared kinds: any verb about any resource, possible or not."""
    registry = draw(registries())
    happened: list[tuple[str, Event]] = [
        (f"users/{number}", UserRegistered()) for number in (1, 2, 3)
    ]
    kinds = [one.type for one in registry.resources]
    numbers = dict.fromkeys(kinds, 0)
    happened += [
        (f"schemas/{resource.collection}", resource.declaration)
        for resource in kinds
        if resource.declaration is not None
    ]
    for _ in range(draw(st.integers(0, 25))):
        if draw(st.integers(0, 9)) == 0:
            event: Event = draw(st.sampled_from([UserErased(), UserDisabled()]))
            happened.append((f"users/{draw(USERS)}", event))
            continue
        resource = draw(st.sampled_from(kinds))
        verb = draw(st.sampled_from(["created", "created", *VERBS]))
        if resource.declaration is None and verb in {"pay", "send_now"}:
            continue
        numbers[resource] += verb == "created"
        number = numbers[resource] if verb == "created" else draw(st.integers(1, 4))
        happened.append((resource.subject(number), event_of(draw, resource, verb)))
    lines, previous = [], bytes(32)
    for record in records_of(happened):
        line, previous = encode(record, previous, Keyring(), b"")
        lines.append(line)
    return registry, lines


@given(declared_logs())
@settings(max_examples=40, deadline=None)
def test_node_folds_kinds_that_it_has_never_heard_of(case: tuple[Registry, list[bytes]]) -> None:
    """The verbs are closed: neither the declarations nor any code are needed."""
    registry, lines = case
    expected = expected_output(lines, registry.vocabulary)
    assert expected_output(lines) == expected
    found = run_on(lines)
    assert found.stdout == expected, found.stderr


def run_on(lines: list[bytes]) -> subprocess.CompletedProcess[str]:
    """Run the replayer on lines."""
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        file.write(b"".join(line + b"\n" for line in lines))
        file.flush()
        return node(Path(file.name))


@pytest.mark.parametrize("subject", ["invoices/1", "items/1"])
def test_control_node_refuses_a_kind_that_was_not_declared(subject: str) -> None:
    """Control: nor may a kind be in the collection of another one."""
    resource = Registry([resource_class("Invoice", {"a": str})]).by_collection["invoices"].type
    record = Record(1, SOURCE, subject, at(1), "operator/x", resource.created(1))
    line, _ = encode(record, bytes(32), Keyring(), b"")
    found = run_on([line])
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr == ("line 1 (byte 0): invoice is not declared, or in another collection\n")


def vectors() -> list[tuple[int, str, str, str]]:
    """The test vectors of the document."""
    rows = re.findall(
        r"^\| (\d+) \| ([0-9a-f]{64}) \| ([0-9a-f]{64}) \| ([0-9a-f]{64}) \|$",
        FORMAT.read_text(),
        re.MULTILINE,
    )
    return [(int(position), head, root, digest) for position, head, root, digest in rows]


def test_vectors_of_the_document_hold_in_python_and_node() -> None:
    assert len(vectors()) == 3
    lines = GOLDEN.read_bytes().splitlines()
    for position, head, root, digest in vectors():
        expected = f"{position} {head} {digest}\n"
        assert expected_output(lines[:position]) == expected
        assert node(GOLDEN, position).stdout == expected
        assert root_of([leaf_hash(line) for line in lines[:position]]).hex() == root


def flipped_bit(content: bytes) -> bytes:
    """Flip one bit in the middle."""
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 1
    return bytes(changed)


def flipped_newline(content: bytes) -> bytes:
    """Flip one bit in the last newline."""
    return content[:-1] + b"\x0b"


def missing_line(content: bytes) -> bytes:
    """Remove a line in the middle."""
    lines = content.splitlines(keepends=True)
    return b"".join(lines[:3] + lines[4:])


def torn_line(content: bytes) -> bytes:
    """Cut the last line."""
    return content[:-20]


@pytest.mark.parametrize("damage", [flipped_bit, flipped_newline, missing_line, torn_line])
def test_control_node_finds_damage(
    log: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    """Control: the replayer names the damaged line and exits with 1."""
    damaged = tmp_path / "events.jsonl"
    damaged.write_bytes(damage(log.read_bytes()))
    found = node(damaged)
    assert found.returncode == 1
    assert found.stderr.startswith("line "), found.stderr
    assert not found.stdout
