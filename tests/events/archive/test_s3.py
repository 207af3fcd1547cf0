"""The objects of an archive in a bucket of moto's server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from events.archive.objects import CHECKPOINT
from events.archive.s3 import BucketObjects, _reason
from events.errors import LogUnreachable
from tests.events.archive.stored import MemoryObjects, archive, findings_of, lines_in, small_lines
from tests.events.buckets import bucket

LINES = small_lines(600)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with bucket(monkeypatch.setenv) as url:
        yield url


@pytest.mark.long
@pytest.mark.anyio
async def test_the_objects_of_a_bucket_are_those_in_memory(place: str) -> None:
    objects, memory = BucketObjects(place), MemoryObjects()
    for size in (300, 600):
        await archive(LINES[:size], objects)
        await archive(LINES[:size], memory)
    for name, content in memory.content.items():
        assert await objects.get(name, len(content)) == content
        assert await objects.get(name, 3) == content[:4]
    assert await lines_in(objects) == LINES
    assert await findings_of(objects) == []
    assert await objects.names("tile/0/001.p") == []
    assert await objects.names("tile/0") == ["tile/0/000", "tile/0/001"]
    assert await objects.get("none", 1) is None


@pytest.mark.long
@pytest.mark.anyio
async def test_objects_have_the_content_types_of_the_standard(place: str) -> None:
    objects = BucketObjects(place)
    await archive(LINES, objects)
    for name, kind in (
        (CHECKPOINT, "text/plain; charset=utf-8"),
        ("tile/0/000", "application/octet-stream"),
    ):
        found = await objects._store.get_async(name)
        assert found.attributes["Content-Type"] == kind


@pytest.mark.long
@pytest.mark.anyio
async def test_storage_that_refuses_is_named_without_credentials(place: str) -> None:
    objects = BucketObjects("s3://no-such-bucket/x")
    with pytest.raises(LogUnreachable, match="s3://no-such-bucket/x cannot be used: checkpoint"):
        await objects.put(CHECKPOINT, b"content")


def test_a_reason_is_one_line_without_a_login() -> None:
    assert _reason(OSError("http://KEY:secret@host/b: refused\nmore")) == (
        "http://********@host/b: refused"
    )
    assert _reason(OSError()) == "OSError"
    assert len(_reason(OSError("x" * 999))) == 300
