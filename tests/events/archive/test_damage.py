"""Every damaged byte of an archive is found: by the check, and by a read that needs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from eventapi.cli.verdict import verdict
from events.archive.check import ArchiveExport, with_objects
from events.archive.objects import CHECKPOINT
from events.errors import DamagedLog
from events.transparency.signed_note import Note, TreeHead
from events.verification.report import Finding, LastGood, Report
from tests.events.archive.stored import (
    SIGNER,
    MemoryObjects,
    archive,
    findings_of,
    lines_in,
    small_lines,
)

LINES = small_lines(300)
HASHES_ONLY = "tile/0/000"
"""The only object that no read of this archive needs."""


async def _whole() -> Mapping[str, bytes]:
    objects = MemoryObjects()
    await archive(LINES, objects)
    assert objects.content.keys() == {
        CHECKPOINT,
        *("tile/entries/000", "tile/entries/001.p/44", "tile/0/000", "tile/0/001.p/44"),
        "tile/1/000.p/1",
    }
    return objects.content


async def _check_is_found(content: Mapping[str, bytes], name: str) -> None:
    objects = MemoryObjects(content)
    if name == CHECKPOINT:
        assert not _is_signed(content[name])
        return
    found = await findings_of(objects)
    assert found, name
    assert any(name in one for one in found), (name, found)
    if name != HASHES_ONLY:
        assert await _is_refused(objects), name


def _is_signed(content: bytes) -> bool:
    try:
        return SIGNER.verifier.verify(Note.parse(content.decode()))
    except ValueError:
        return False


async def _is_refused(objects: MemoryObjects) -> bool:
    try:
        await lines_in(objects)
    except DamagedLog as error:
        is_named = "tile/" in str(error) or CHECKPOINT in str(error)
        return is_named and error.position > 0
    return False


async def _flip_bytes(step: int) -> int:
    whole = await _whole()
    count = 0
    for name, content in whole.items():
        for at in range(count % step, len(content), step):
            changed = bytearray(content)
            changed[at] ^= 1 << at % 8
            await _check_is_found({**whole, name: bytes(changed)}, name)
            count += 1
    return count


@pytest.mark.anyio
async def test_a_flipped_byte_is_found() -> None:
    assert await _flip_bytes(step=97) > 100


@pytest.mark.long
@pytest.mark.anyio
async def test_every_flipped_byte_is_found() -> None:
    assert await _flip_bytes(step=1) > 12_000


@pytest.mark.anyio
async def test_a_missing_short_or_long_object_is_found() -> None:
    whole = await _whole()
    for name, content in whole.items():
        for changed in (content[:-1], content + b"\0", content + content[:32], b""):
            await _check_is_found({**whole, name: changed}, name)
        if name != CHECKPOINT:
            await _check_is_found({one: whole[one] for one in whole if one != name}, name)


@pytest.mark.anyio
async def test_lines_in_another_order_are_found() -> None:
    objects, other = MemoryObjects(), MemoryObjects()
    await archive(LINES, objects)
    await archive([*LINES[:20], LINES[21], LINES[20], *LINES[22:]], other)
    objects.content["tile/entries/000"] = other.content["tile/entries/000"]
    assert [one.split()[:2] for one in await findings_of(objects)] == [["tile", "21"]]
    with pytest.raises(DamagedLog, match="tile/entries/000"):
        await lines_in(objects, 20, 21)
    # Other bundles can still be read.
    assert await lines_in(objects, 256) == LINES[256:]


@pytest.mark.anyio
async def test_a_size_that_is_far_too_large_ends_the_check_soon() -> None:
    whole = dict(await _whole())
    lines = whole[CHECKPOINT].split(b"\n")
    whole[CHECKPOINT] = b"\n".join([lines[0], b"9" * 17, *lines[2:]])
    objects = MemoryObjects(whole)
    assert len(await findings_of(objects)) > 100
    assert len(objects.gets) < 1_000


def _report(findings: Iterable[Finding]) -> Report:
    return Report(1_000, 0, LastGood(1_000, ""), marked=True, findings=[*findings])


def _with_objects(report: Report, findings: Iterable[Finding]) -> Report:
    export = ArchiveExport(MemoryObjects(), TreeHead("eventapi/x", 60_000, bytes(32)))
    export.findings += findings
    return with_objects(report, export, 60_000)


def test_findings_that_are_left_off_do_not_change_the_verdict() -> None:
    tiles = [Finding("tile", 256 * n + 1, 0, f"tile/0/{n:03} is missing") for n in range(101)]
    missing = [Finding("missing", 256 * n + 1, 0, "") for n in range(101)]
    line = Finding("damaged", 50_000, 0, "not what was written")
    for found in (
        _with_objects(_report([line]), tiles),
        _with_objects(_report([]), [*missing, *tiles, line]),
    ):
        assert len(found.findings) == 100
        assert found.left_off > 0
        assert "damaged" in found.kinds
        assert [one.position for one in found.findings] == sorted(
            one.position for one in found.findings
        )
        message = verdict("it", found).text
        assert "DAMAGED" in message
        assert "hashes" not in message
