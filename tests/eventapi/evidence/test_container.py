"""One flipped bit of the zip is found, also if it changes no file."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import msgspec
import pytest

from eventapi.evidence import writer as writing
from eventapi.evidence.archive import Archive
from tests.eventapi.evidence.packs import (
    CHECKER,
    Files,
    Flip,
    files_in,
    make_tiny_pack,
    tiny_pack,
    zipped,
)

ZIP = "evidence.zip"
DATA = Path(__file__).parents[2] / "data"
PACKED_AGAIN = "packed again, or by an earlier version"
LOCAL_HEADER = struct.Struct("<4s22sHH")
TIME_IN_HEADER = 10
OFFSET_IN_ENTRY = 42
OFFSET_IN_END = 16
END_BYTES = 22


@pytest.fixture(scope="module", autouse=True)
def signatures_are_checked_once() -> Iterable[None]:
    """Remember each verification of a signature, which takes most of the time of a check."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CHECKER, "is_signed", cache(CHECKER.is_signed))
        yield


class Judgement(msgspec.Struct, frozen=True):
    """The exit code of verify.py, and the names in its faults."""

    code: int
    names: frozenset[str]
    output: str


Judge = Callable[[bytes], Judgement]


@pytest.fixture
def judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Judge:
    place = tmp_path / ZIP

    def judge(content: bytes) -> Judgement:
        place.write_bytes(content)
        code = CHECKER.main([str(place)])
        output = capsys.readouterr().out
        wrong = [line[6:] for line in output.splitlines() if line.startswith("WRONG ")]
        names = frozenset(line.partition(": ")[0].partition(", line ")[0] for line in wrong)
        return Judgement(code, names, output)

    return judge


def entries_of(content: bytes) -> list[ZipInfo]:
    with ZipFile(io.BytesIO(content)) as pack:
        return pack.infolist()


def packed_bytes(content: bytes, info: ZipInfo) -> range:
    """The place of the compressed bytes of a file."""
    header = info.header_offset
    _, _, name, extra = LOCAL_HEADER.unpack_from(content, header)
    start = header + LOCAL_HEADER.size + name + extra
    return range(start, start + info.compress_size)


def flipped(content: bytes, bit: int) -> bytes:
    changed = Flip(ZIP, bit).apply({ZIP: content})[ZIP]
    assert sum((a ^ b).bit_count() for a, b in zip(content, changed, strict=True)) == 1
    return changed


def missed(content: bytes, bits: Iterable[int], judge: Judge) -> list[int]:
    """The bits that change the zip, and not the judgement."""
    known = {ZIP, *files_in(content)}
    found = ((bit, judge(flipped(content, bit))) for bit in bits)
    return [bit for bit, one in found if one.code != 1 or not one.names & known]


def bits_around_files(content: bytes) -> list[int]:
    """The bits of all headers, and of the last byte of each compressed file."""
    inner = {at for info in entries_of(content) for at in packed_bytes(content, info)[:-1]}
    return [8 * at + bit for at in range(len(content)) if at not in inner for bit in range(8)]


def test_control_the_pack_itself_is_good(judge: Judge) -> None:
    found = judge(tiny_pack())

    assert found.code == 0, found.names
    assert PACKED_AGAIN not in found.output


def test_a_flipped_bit_around_the_files_is_found(judge: Judge) -> None:
    bits = bits_around_files(tiny_pack())

    assert missed(tiny_pack(), bits[::11], judge) == []


@pytest.mark.long
def test_every_flipped_bit_of_a_pack_is_found(judge: Judge) -> None:
    assert missed(tiny_pack(), range(8 * len(tiny_pack())), judge) == []


@pytest.mark.long
def test_every_flipped_bit_of_a_large_form_is_found(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = large_form(monkeypatch)

    assert missed(content, bits_around_files(content), judge) == []


def test_control_without_the_checks_of_the_zip_flips_are_missed(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CHECKER, "check_zip", lambda *_: None)
    bits = bits_around_files(tiny_pack())

    assert len(missed(tiny_pack(), bits[::11], judge)) > len(bits) / 11 / 4


def test_the_file_whose_header_has_the_flipped_bit_is_named(judge: Judge) -> None:
    content = tiny_pack()
    *entries, last = entries_of(content)
    for info in entries:
        found = judge(flipped(content, 8 * (info.header_offset + TIME_IN_HEADER)))
        assert found.names == {info.filename}
    assert judge(flipped(content, 8 * (last.header_offset + TIME_IN_HEADER))).names == {ZIP}
    assert judge(flipped(content, 8 * len(content) - 1)).names == {ZIP}


def test_a_bit_that_pads_a_compressed_file_is_found(judge: Judge) -> None:
    """It unpacks to the same bytes, so nothing else can find it."""
    content = tiny_pack()
    padding = set()
    for info in entries_of(content)[:-1]:
        last = packed_bytes(content, info)[-1]
        for changed in (flipped(content, 8 * last + bit) for bit in range(8)):
            if unpacked(changed) == unpacked(content):
                assert judge(changed).names == {info.filename}
                padding.add(info.filename)
    assert len(padding) > 1


def unpacked(content: bytes) -> Files | None:
    try:
        return files_in(content)
    except (BadZipFile, zlib.error):
        return None


def with_gap(content: bytes) -> bytes:
    """The zip with a byte between two files, which no reader of a zip notices."""
    second = entries_of(content)[1].header_offset
    changed = bytearray(content[:second] + b"\0" + content[second:])
    entry, end = changed.index(b"PK\1\2"), changed.rindex(b"PK\5\6")
    places = [end + OFFSET_IN_END]
    while (entry := changed.find(b"PK\1\2", entry + 4)) > 0:
        places.append(entry + OFFSET_IN_ENTRY)
    for place in places:
        (offset,) = struct.unpack_from("<L", changed, place)
        struct.pack_into("<L", changed, place, offset + 1)
    return bytes(changed)


def with_added_file(content: bytes) -> bytes:
    target = io.BytesIO(content)
    with ZipFile(target, "a") as pack:
        pack.writestr("more.txt", b"more")
    return target.getvalue()


def altered_zips() -> dict[str, bytes]:
    """Zips of a server that were changed, and whose files are as they were."""
    content = tiny_pack()
    return {
        "bytes before the zip": b"#!/bin/sh\n" + content,
        "a byte between its files": with_gap(content),
        "bytes behind the zip": content + b"more",
        "another comment": content.replace(b"checks of", b"checks in"),
        "another check": content[:-1] + (b"0" if content[-1:] != b"0" else b"1"),
        "without its comment": content[: content.rindex(b"PK\5\6") + END_BYTES],
        "with an added file": with_added_file(content),
        "another time of a file": flipped(content, 8 * TIME_IN_HEADER),
    }


@pytest.mark.parametrize("name", altered_zips())
def test_a_changed_zip_with_the_right_files_is_wrong(name: str, judge: Judge) -> None:
    content = altered_zips()[name]

    assert files_in(content).items() >= files_in(tiny_pack()).items()
    assert judge(content).code == 1


@pytest.mark.parametrize("compression", [ZIP_DEFLATED, ZIP_STORED])
def test_a_zip_that_was_packed_again_is_as_good_with_a_note(compression: int, judge: Judge) -> None:
    files = files_in(tiny_pack())

    found = judge(zipped(files, compression))

    assert found.code == 0, found.names
    assert PACKED_AGAIN in found.output
    damaged = judge(zipped(Flip("lines.jsonl", 80).apply(files), compression))
    assert damaged.names == {"lines.jsonl"}


def large_form(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A zip with the members and the end that files of more than 4 GiB have."""
    finish = Archive.finish

    def finish_as_large(archive: Archive) -> bytes:
        with monkeypatch.context() as patch:
            patch.setattr(zipfile, "ZIP64_LIMIT", 100)
            return finish(archive)

    with monkeypatch.context() as patch:
        patch.setattr(writing, "_TWO_GIGABYTES", 1)
        patch.setattr(Archive, "finish", finish_as_large)
        return make_tiny_pack()


def test_a_zip_of_the_form_of_large_files_is_checked(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = large_form(monkeypatch)

    assert b"PK\6\6" in content
    assert judge(content).code == 0
    for info in entries_of(content)[:-1]:
        found = judge(flipped(content, 8 * (info.header_offset + TIME_IN_HEADER)))
        assert found.names == {info.filename}


@pytest.mark.parametrize("name", ["evidence-v1.zip", "evidence-v2.zip"])
def test_a_pack_of_each_version_is_good(name: str, judge: Judge) -> None:
    """Version 1 had no checks of the zip."""
    found = judge((DATA / name).read_bytes())

    assert found.code == 0, found.names
    assert (PACKED_AGAIN in found.output) == (name == "evidence-v1.zip")
