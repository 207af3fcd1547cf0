"""Both programs of a pack, `verify.py` and `verify.html`, judge every pack alike."""

from __future__ import annotations

import asyncio
import io
import json
import re
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

import msgspec
import pytest

from eventapi.evidence.selection import Selection
from eventapi.evidence.writer import PACK
from eventapi.testing.given import registered
from eventapi.testing.sample_log import write
from events.transparency.signed_note import Note, Signature
from events.vocabulary.users import UserErased
from tests.eventapi.evidence.packs import (
    CHECKER,
    Files,
    World,
    files_in,
    random_flips,
    rows_of,
    tiny_pack,
    zipped,
)
from tests.eventapi.evidence.test_checker import Witness, cosigned_pack
from tests.eventapi.evidence.test_container import altered_zips
from tests.eventapi.evidence.test_flips import sample_pack
from tests.eventapi.evidence.test_opened import (
    history,
    opened_pack,
    with_changed_letter,
    with_exchanged_values,
)

needs_node = pytest.mark.skipif(
    shutil.which("node") is None, reason="node is absent: apt-get install nodejs"
)

PAGE_ONLY = ("opened values are those", "Compare this key")
"""Notes of the page that are other lines in the output of the program."""

SEED = 29


class Case(msgspec.Struct, frozen=True):
    """A pack as files or as a zip, and the keys that a reader gives."""

    pack: Files | bytes
    verdict: str
    key: str = ""
    witnesses: tuple[str, ...] = ()


class Verdict(msgspec.Struct, frozen=True):
    """Faults as file, line and text, up to what differs between the languages."""

    verdict: str
    faults: list[str]
    notes: list[str]


def with_second(files: Files, name: str, content: bytes) -> bytes:
    """A zip that has a name twice."""
    target = io.BytesIO(zipped(files))
    with pytest.warns(UserWarning, match="Duplicate name"), ZipFile(target, "a") as pack:
        pack.writestr(name, content)
    return target.getvalue()


def program(case: Case, folder: Path, capsys: pytest.CaptureFixture[str]) -> Verdict:
    """The judgement of verify.py."""
    if isinstance(case.pack, bytes):
        place = folder / "evidence.zip"
        place.write_bytes(case.pack)
    else:
        place = folder
        for name, content in case.pack.items():
            (folder / name).write_bytes(content)
    arguments = [part for one in case.witnesses for part in ("--witness", one)]
    arguments += ["--key", case.key] if case.key else []
    verdict = {0: "good", 1: "bad", 2: "unsure"}[CHECKER.main([*arguments, str(place)])]
    lines = capsys.readouterr().out.splitlines()
    return Verdict(
        verdict,
        sorted(common(line[6:]) for line in lines if line.startswith("WRONG ")),
        sorted(line[6:] for line in lines if line.startswith("NOTE  ")),
    )


def given_to_page(cases: Iterable[Case]) -> str:
    """Packs and keys as the argument of page.mjs, in JSON."""
    given = []
    for case in cases:
        files = {"evidence.zip": case.pack} if isinstance(case.pack, bytes) else case.pack
        encoded = [[name, b64encode(content).decode()] for name, content in files.items()]
        given.append({"files": encoded, "key": case.key, "witnesses": "\n".join(case.witnesses)})
    return json.dumps(given)


def pages(cases: Mapping[str, Case]) -> dict[str, Verdict]:
    """The judgements of verify.html in Node."""
    done = subprocess.run(
        ["node", Path(__file__).with_name("page.mjs"), PACK / "verify.html"],
        input=given_to_page(cases.values()),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name: shown(one) for name, one in zip(cases, json.loads(done.stdout), strict=True)}


def shown(page: Mapping[str, object]) -> Verdict:
    faults = msgspec.convert(page["faults"], list[dict[str, str | int]])
    notes = msgspec.convert(page["notes"], list[str])
    where = [
        f"{one['file']}, line {one['line']}" if one["line"] else str(one["file"]) for one in faults
    ]
    return Verdict(
        str(page["verdict"]),
        sorted(common(f"{at}: {one['text']}") for at, one in zip(where, faults, strict=True)),
        sorted(one for one in notes if not any(text in one for text in PAGE_ONLY)),
    )


def common(fault: str) -> str:
    """A fault without the message of an exception, which differs between the languages."""
    place, _, text = fault.partition(": ")
    return f"{place}: {text.partition(':')[0]}"


@cache
def erased_pack() -> dict[str, bytes]:
    world = World(write([*history(), registered(2, "ben"), ("users/1", UserErased())]))
    return files_in(asyncio.run(world.pack(Selection(user="users/1", open=True))))


def replaced(files: Files, name: str, change: Callable[[bytes], bytes]) -> dict[str, bytes]:
    return {**files, name: change(files[name])}


def unsigned(files: Files, name: str, change: Callable[[bytes], bytes]) -> dict[str, bytes]:
    """The pack of a forger: the manifest has the sums of the changed file."""
    before, after = files[name], change(files[name])
    manifest = files["manifest.json"].replace(
        CHECKER.sha256(before).hex().encode(), CHECKER.sha256(after).hex().encode()
    )
    return {**files, name: after, "manifest.json": manifest}


def reversed_lines(content: bytes) -> bytes:
    return b"".join(row + b"\n" for row in reversed(rows_of(content)))


def witness_cases() -> dict[str, Case]:
    """Packs with the signature of a witness, and the keys of that one and another one."""
    witness, other = Witness("witness/one"), Witness("witness/two")
    files = asyncio.run(cosigned_pack(witness))
    note = Note.parse(files["checkpoint.txt"].decode())
    box = note.signatures[1].box
    other_box = box[:-1] + bytes([box[-1] ^ 1])
    forged = Note(note.text, [note.signatures[0], Signature("witness/one", other_box)])
    return {
        "no key of a witness": Case(files, "good"),
        "the key of the witness": Case(files, "good", witnesses=(witness.vkey,)),
        "an older checkpoint": Case(
            asyncio.run(cosigned_pack(witness, 7)), "good", "", (witness.vkey,)
        ),
        "another witness of an older one": Case(
            asyncio.run(cosigned_pack(witness, 7)), "bad", "", (other.vkey,)
        ),
        "the key of another witness": Case(files, "bad", witnesses=(other.vkey,)),
        "both keys": Case(files, "bad", witnesses=(witness.vkey, other.vkey)),
        "no key at all": Case(files, "unsure", witnesses=("witness/one",)),
        "the key of a log": Case(
            files, "unsure", witnesses=(files["log-key.txt"].decode().strip(),)
        ),
        "a forged signature": Case(
            {**files, "checkpoint.txt": str(forged).encode()}, "bad", witnesses=(witness.vkey,)
        ),
        "a witness in a pack without one": Case(opened_pack(), "bad", witnesses=(witness.vkey,)),
    }


def key_cases() -> dict[str, Case]:
    files, other = opened_pack(), sample_pack()
    key = files["log-key.txt"].decode().strip()
    return {
        "the right key": Case(files, "good", key),
        "another key": Case(files, "bad", other["log-key.txt"].decode().strip()),
        "a damaged key": Case(files, "unsure", key[:-1] + ("A" if key[-1] != "A" else "B")),
        "no key": Case(files, "unsure", "hello"),
    }


def file_cases() -> dict[str, Case]:
    """Packs as files: whole, with something missing or added, and with forged parts."""
    files, opened = sample_pack(), opened_pack()
    nested = b"[" * 100_000
    return {
        "whole": Case(files, "good"),
        "opened": Case(opened, "good"),
        "erased": Case(erased_pack(), "good"),
        "a letter": Case(with_changed_letter(), "bad"),
        "exchanged values": Case(with_exchanged_values(), "bad"),
        "an added file": Case({**files, "more.txt": b"more"}, "good"),
        "manifest and lines of another pack": Case(
            {**files, "lines.jsonl": opened["lines.jsonl"]}, "bad"
        ),
        **{
            f"{name} reversed": Case(replaced(files, name, reversed_lines), "bad")
            for name in ("lines.jsonl", "opened.jsonl", "proofs.txt")
        },
        **{
            f"{name} edited with the manifest": Case(
                unsigned(files, name, lambda content: content + b"\n"), "bad"
            )
            for name in files.keys() - {"manifest.json"}
        },
        **{
            f"{name} missing": Case(
                {other: content for other, content in files.items() if other != name},
                "bad",
            )
            for name in files
        },
        **{
            f"{name} empty": Case({**files, name: b""}, "bad")
            for name in sorted(files)
            if files[name]
        },
        **{f"{name} nested": Case({**files, name: nested}, "bad") for name in sorted(files)},
        **{
            f"bit {one.bit} of {one.file}": Case(one.apply(files), "bad")
            for one in random_flips(files, 60, SEED)
        },
    }


def crafted_cases() -> dict[str, Case]:
    """Packs with values that a careless program cannot read."""
    files = sample_pack()
    huge = b"9" * 5_000
    crafted: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
        "a position of 5,000 digits": (
            "opened.jsonl",
            lambda content: b'{"position":' + huge + b',"clear":{}}\n' + content,
        ),
        "a tree row of 5,000 digits": (
            "proofs.txt",
            lambda content: b"tree 0 " + huge + b" " + b"A" * 43 + b"=\n" + content,
        ),
        "a size of 400 digits": (
            "checkpoint.txt",
            lambda content: re.sub(rb"\n\d+\n", b"\n" + huge[:400] + b"\n", content, count=1),
        ),
        "a negative size": (
            "checkpoint.txt",
            lambda content: re.sub(rb"\n(\d+)\n", rb"\n-\1\n", content, count=1),
        ),
        "an infinite position": (
            "lines.jsonl",
            lambda content: content.replace(b'"id":"1"', b'"id":1e999', 1),
        ),
        "not a number": (
            "lines.jsonl",
            lambda content: content.replace(b'"data":{', b'"x":NaN,"data":{', 1),
        ),
        "a manifest that is null": ("manifest.json", lambda _: b"null\n"),
        "Windows newlines": ("README.txt", lambda content: content.replace(b"\n", b"\r\n")),
    }
    return {
        reason: Case(replaced(files, name, change), "bad")
        for reason, (name, change) in crafted.items()
    }


def zip_cases() -> dict[str, Case]:
    files = sample_pack()
    whole = zipped(files)
    places = {"in the last file": len(whole) * 9 // 10, "at the end": len(whole) - 9}
    packed = whole.index(b"lines.jsonl") + 200
    flipped = bytearray(whole)
    flipped[packed] ^= 4
    checksum = whole.index(b"PK\1\2") + 16
    wrong_sum = whole[:checksum] + b"\0\0\0\0" + whole[checksum + 4 :]
    return {
        "the zip of the server": Case(tiny_pack(), "good"),
        **{name: Case(content, "bad") for name, content in altered_zips().items()},
        "a zip": Case(whole, "good"),
        "a zip without compression": Case(zipped(files, ZIP_STORED), "good"),
        "a zip behind something else": Case(b"#!/bin/sh\n" + whole, "good"),
        "a zip with more behind it": Case(whole + b"more", "good"),
        "an added file in a zip": Case(zipped({**files, "more.txt": b"more"}), "good"),
        "a folder in a zip": Case(zipped({f"a/{name}": one for name, one in files.items()}), "bad"),
        "a removed file": Case(
            zipped({name: one for name, one in files.items() if name != "lines.jsonl"}), "bad"
        ),
        "the same file twice": Case(with_second(files, "lines.jsonl", files["lines.jsonl"]), "bad"),
        "another file twice": Case(with_second(files, "opened.jsonl", b"forged\n"), "bad"),
        "the manifest twice": Case(with_second(files, "manifest.json", b"{}"), "bad"),
        "an empty zip": Case(zipped({}), "bad"),
        "no zip": Case(b"PK", "bad"),
        "nothing": Case(b"", "bad"),
        "a flipped bit in a compressed file": Case(bytes(flipped), "bad"),
        "a wrong checksum": Case(wrong_sum, "bad"),
        "another name before the file": Case(whole.replace(b"README.txt", b"readme.txt", 1), "bad"),
        "a damaged header before a file": Case(whole.replace(b"PK\3\4", b"PK\3\5", 1), "bad"),
        **{f"cut off {name}": Case(whole[:at], "bad") for name, at in places.items()},
    }


TABLES: tuple[Callable[[], dict[str, Case]], ...] = (
    witness_cases,
    key_cases,
    file_cases,
    crafted_cases,
    zip_cases,
)


@pytest.mark.long
@needs_node
@pytest.mark.parametrize("table", TABLES)
def test_the_program_and_the_page_judge_alike(
    table: Callable[[], dict[str, Case]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CHECKER, "is_signed", cache(CHECKER.is_signed))
    cases = table()
    found = pages(cases)
    wrong = {}
    for number, (name, case) in enumerate(cases.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        judged = program(case, folder, capsys)
        if judged.verdict != case.verdict or found[name] != judged:
            wrong[name] = case.verdict, judged, found[name]
    assert wrong == {}


@pytest.mark.long
@needs_node
def test_a_flip_in_the_zip_is_named_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The checksum of the zip would only name the file."""
    files = sample_pack()
    line = files["lines.jsonl"].split(b"item.created")[0].count(b"\n") + 1
    case = Case(zipped(files, ZIP_STORED).replace(b"item.created", b"item.createD", 1), "bad")

    expected = program(case, tmp_path, capsys)

    assert expected.faults == [f"lines.jsonl, line {line}: it is not as the manifest has it"]
    assert pages({"": case})[""] == expected


def test_control_only_the_checksum_of_the_zip_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = program(zip_cases()["a wrong checksum"], tmp_path, capsys)

    assert [fault.partition(": ")[2] for fault in found.faults] == [
        "its checksum or name in the zip is wrong"
    ]
