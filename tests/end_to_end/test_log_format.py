"""Compare docs/log-format.md with the code, and run the checker written from it."""

from __future__ import annotations

import base64
import importlib.util
import re
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

from eventapi.resources import action
from eventapi.resources.registry import Registry
from eventapi.testing.items import REGISTRY
from events.log.file.commit_index import CommitIndex
from events.log.port import Head
from events.record import Event
from events.transparency.merkle import consistency_ranges, inclusion_ranges, leaf_hash, root_of
from events.vocabulary.resources import ResourceEvent
from events.vocabulary.vocabulary import CORE
from events.well_formed import _subject_fits
from tests.end_to_end.accounts import TIMEOUT_SECONDS, log_in
from tests.end_to_end.server import ROOT, Server
from tests.eventapi.cli.running import invoke
from tests.eventapi.resources.declaring import as_clear, resource_class

PAGE = ROOT / "docs" / "log-format.md"
CHECKER = ROOT / "docs" / "check.py"
ITEMS = 300
"""More than the leaves of one tile."""


def rows(first: str) -> list[list[str]]:
    """The rows of the table whose first column has this heading."""
    (table,) = re.findall(
        rf"^\| {first} \|.*\n\| ---.*\n((?:\|.*\n)+)", PAGE.read_text(), re.MULTILINE
    )
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]


def words(cell: str) -> list[str]:
    """The parts of a cell in backticks."""
    return re.findall("`([^`]*)`", cell)


# The tables of events


KIND = Registry(
    [resource_class("Thing", {"name": str, "cents": as_clear(int)}, act=action(lambda self: self))]
).by_collection["things"]
"""A kind with every kind of field, and with one action."""

EVENTS: tuple[type[Event], ...] = (*CORE, *KIND.type.events.values())


def general(name: str) -> str:
    """A type of `KIND`, or its subject, as the page writes it."""
    for ours, theirs in (
        ("thing.act", "KIND.ACTION"),
        ("thing.", "KIND."),
        ("things/", "COLLECTION/"),
    ):
        name = name.replace(ours, theirs)
    return name


def json_type(kind: inspect.Type) -> str:
    """The JSON name of a type, without ``null``."""
    if isinstance(kind, inspect.UnionType):
        kinds = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
        return {json_type(one) for one in kinds}.pop()
    names = {
        inspect.StrType: "string",
        inspect.LiteralType: "string",
        inspect.IntType: "number",
        inspect.BoolType: "boolean",
        inspect.DictType: "object",
        inspect.StructType: "object",
        inspect.CollectionType: "array",
        inspect.ListType: "array",
        inspect.VarTupleType: "array",
    }
    return names[type(kind)]


def fields(kind: type) -> list[inspect.Field]:
    found = inspect.type_info(kind)
    assert isinstance(found, inspect.StructType)
    return list(found.fields)


def sealed_struct(event: type[Event]) -> type[Any] | None:
    """The Struct of the values that are sealed in an event, if any are."""
    for one in fields(event):
        for kind in getattr(one.type, "types", ()) if one.encode_name == "sealed" else ():
            if isinstance(kind, inspect.StructType):
                return kind.cls
    return None


def marked(name: str, field: inspect.Field) -> str:
    return name if field.required else f"{name}?"


def test_page_lists_the_members_of_every_event_in_order() -> None:
    documented = {kind: (row[1], row[2], row[3]) for row in rows("type") for kind in words(row[0])}
    assert documented.keys() == {general(event.type) for event in EVENTS}
    for event in EVENTS:
        subject, data, sealed = documented[general(event.type)]
        name = words(subject)[0].replace("COLLECTION", "things").replace("/N", "/1")
        kind, name = event.type, name.replace("/ID", "/0f")
        one = KIND.type.deleted() if issubclass(event, ResourceEvent) else Event()
        assert _subject_fits(one, kind, name), (kind, name)
        members = [one for one in fields(event) if one.encode_name != "sealed"]
        assert words(data)[: len(members)] == [marked(one.encode_name, one) for one in members]
        assert bool(sealed) == (sealed_struct(event) is not None)


def test_built_in_kind_differs_in_nothing_from_a_declared_one() -> None:
    """It has no clear field, so its events have no ``clear``."""
    for event in REGISTRY.item.type.events.values():
        general_one = KIND.type.events[event.type.replace("item.", "thing.")]
        names = [one.encode_name for one in fields(general_one)]
        assert [one.encode_name for one in fields(event)] == names
    text = " ".join(PAGE.read_text().split())
    (sentence,) = re.findall(r"One kind is built in.*?it has no action\.", text)
    assert words(sentence) == ["item", "items", *REGISTRY.item.names, "null"]
    assert not REGISTRY.item.type.clear
    assert not REGISTRY.item.type.actions


def is_optional(field: inspect.Field) -> bool:
    """Whether a sealed member may be absent, which is so if it has no default value."""
    return not field.required and field.default is msgspec.NODEFAULT


def test_page_lists_the_sealed_members_of_every_event() -> None:
    documented = {kind: row[3] for row in rows("type") for kind in words(row[0])}
    nullable = set()
    for event in CORE:
        personal = sealed_struct(event)
        if personal is None:
            continue
        names = [name.strip("? ") for name in documented[event.type].split(",")]
        assert sorted(names) == sorted(one.encode_name for one in fields(personal))
        may_be_absent = {
            name.strip("? ") for name in documented[event.type].split(",") if "?" in name
        }
        for one in fields(personal):
            assert (one.encode_name in may_be_absent) == is_optional(one)
            is_array = one.encode_name == "recovery_hashes"
            assert json_type(one.type) == ("array" if is_array else "string")
            if any(isinstance(part, inspect.NoneType) for part in getattr(one.type, "types", ())):
                nullable.add(one.encode_name)
    (sentence,) = re.findall(
        r"A sealed value of a user, session or key is a string, `recovery_hashes` an array of "
        r"strings; (.*?) may be `null`",
        PAGE.read_text(),
    )
    assert set(words(sentence)) == nullable


def test_page_lists_the_type_of_every_member_of_data() -> None:
    documented: dict[tuple[str, str], str] = {}
    for member, of, kind, value in rows("member of `data`"):
        for event in words(of):
            documented[event, words(member)[0]] = kind
            assert value
    expected = {
        (general(event.type), one.encode_name): json_type(one.type)
        for event in EVENTS
        for one in fields(event)
        if one.encode_name != "sealed"
    }
    assert documented == expected


# A checker that was written from the page alone


@pytest.fixture(scope="module")
def checker() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("check", CHECKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_checker_imports_nothing_from_this_project() -> None:
    imported = set(re.findall(r"^(?:from|import) (\w+)", CHECKER.read_text(), re.MULTILINE))
    ours = {"events", "projections", "eventapi", "tests"}
    assert not imported & ours
    assert imported - sys.stdlib_module_names == {"cryptography"}


LEAVES = [sha256(bytes([number])).digest() for number in range(40)]


@given(
    st.integers(1, len(LEAVES)).flatmap(lambda size: st.tuples(st.integers(1, size), st.just(size)))
)
def test_checker_accepts_and_rejects_the_same_proofs_as_the_project(
    checker: Any, sizes: tuple[int, int]
) -> None:
    old, size = sizes
    root, before = root_of(LEAVES[:size]), root_of(LEAVES[:old])
    assert checker.root_of(LEAVES[:size]) == root
    proof = [root_of(LEAVES[start:end]) for start, end in inclusion_ranges(old - 1, size)]
    assert checker.included_root(old - 1, size, LEAVES[old - 1], proof) == root
    for length in range(len(proof)):
        with pytest.raises(SystemExit):
            checker.included_root(old - 1, size, LEAVES[old - 1], proof[:length])
    if old < size:
        grown = [root_of(LEAVES[start:end]) for start, end in consistency_ranges(old, size)]
        assert checker.consistent_roots(old, size, before, grown) == (before, root)
        wrong = [*grown[:-1], bytes(32)]
        assert checker.consistent_roots(old, size, before, wrong) != (before, root)


class Served(msgspec.Struct):
    """A server with a log, a user and an auditor."""

    url: str
    log: Path
    vkey: str
    user: str
    auditor: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    data = tmp_path_factory.mktemp("format") / "data"
    with (
        Server(data, 2) as server,
        httpx.Client(base_url=server.url, timeout=TIMEOUT_SECONDS) as client,
    ):
        headers = {name: log_in(client, name) for name in ("ann", "ben")}
        for number in range(ITEMS):
            owner = headers["ann" if number % 3 else "ben"]
            assert client.post("/items", json={"title": str(number)}, headers=owner).is_success
        assert invoke(data, "users", "grant", "ben", "auditor").exit_code == 0
        vkey = invoke(data, "log", "checkpoint", "--key").stdout.strip()
        tokens = [headers[name]["Authorization"].removeprefix("Bearer ") for name in headers]
        yield Served(server.url, server.log, vkey, *tokens)


def run_checker(
    served: Served, log: Path | None = None, vkey: str | None = None
) -> tuple[int, str]:
    """Run the checker isolated from this project; return exit code and output."""
    arguments = [served.url, vkey or served.vkey, str(log or served.log)]
    done = subprocess.run(
        [sys.executable, "-I", str(CHECKER), *arguments, served.user, served.auditor],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.long
def test_real_server_passes_the_checker(served: Served) -> None:
    code, output = run_checker(served)
    assert code == 0, output
    lines = served.log.read_bytes().splitlines()
    assert f"{len(lines)} lines are chained and published; a checkpoint of {len(lines)}" in output
    assert "2 tiles hold, and their lines" in output
    # Ann's registration, session and items.
    assert f"{2 + ITEMS * 2 // 3} lines are proven" in output


@pytest.mark.long
@pytest.mark.parametrize("prefix", ["/api/v1", "/api/v2"])
def test_versioned_prefixes_serve_the_same_resources(served: Served, prefix: str) -> None:
    for path in ("checkpoint", "key", "consistency/7", "tile/0/000", "cosigned", "proof/3"):
        plain, other = (httpx.get(f"{served.url}{start}/log/{path}") for start in ("", prefix))
        assert plain.status_code == other.status_code
        if plain.is_success:
            assert plain.content == other.content


def copy_log(served: Served, folder: Path) -> Path:
    """Copy the log and its mark into a folder."""
    copy = folder / "events.jsonl"
    shutil.copy(served.log, copy)
    shutil.copy(served.log.with_name("events.jsonl.mark"), folder)
    return copy


@pytest.mark.long
def test_control_checker_finds_a_flipped_bit(served: Served, tmp_path: Path) -> None:
    copy = copy_log(served, tmp_path)
    content = bytearray(copy.read_bytes())
    content[len(content) // 2] ^= 1
    copy.write_bytes(content)
    code, output = run_checker(served, copy)
    assert (code, "WRONG: the hash of line" in output) == (1, True), output


@pytest.mark.long
def test_control_checker_finds_a_log_with_a_recomputed_hash_chain(
    served: Served, tmp_path: Path
) -> None:
    copy = copy_log(served, tmp_path)
    bodies = [line[:-75] for line in copy.read_bytes().splitlines()]
    bodies[9] = (
        bodies[9]
        .replace(b'"actor":"users/1"', b'"actor":"users/3"')
        .replace(b'"actor":"users/2"', b'"actor":"users/3"')
    )
    head, lines = bytes(32), []
    for body in bodies:
        head = sha256(head + body).digest()
        lines.append(body + b',"hash":"' + head.hex().encode() + b'"}\n')
    copy.write_bytes(b"".join(lines))
    copy.with_name("events.jsonl.mark").unlink()
    mark = CommitIndex(copy.with_name("events.jsonl.mark"))
    mark.publish(copy.stat().st_size, Head(len(lines), head))
    mark.close()
    code, output = run_checker(served, copy)
    assert (code, output) == (1, "WRONG: the root of the checkpoint\n")


@pytest.mark.long
def test_control_checker_finds_the_key_of_another_log(served: Served) -> None:
    public = bytes(32)
    name = f"eventapi/{sha256(public).hexdigest()[:16]}"
    number = sha256(f"{name}\n".encode() + b"\1" + public).hexdigest()[:8]
    vkey = f"{name}+{number}+{base64.b64encode(bytes([1]) + public).decode()}"
    code, output = run_checker(served, vkey=vkey)
    assert (code, "WRONG: the origin is" in output) == (1, True), output


def test_checker_reads_the_mark_of_a_real_log(checker: Any, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl.mark"
    mark = CommitIndex(path)
    assert checker.published_end(path) == (0, 0, bytes(32))
    for position in range(1, 5):
        mark.publish(position * 100, Head(position, leaf_hash(bytes([position]))))
        assert checker.published_end(path) == (
            position * 100,
            position,
            leaf_hash(bytes([position])),
        )
    mark.close()
