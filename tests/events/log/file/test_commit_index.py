"""The durable mark: two slots in turn, a word that readers poll, a fence."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest

from events.errors import DamagedLog
from events.log.file.commit_index import CommitIndex, CommitPoint, read_commit_point
from events.log.port import Head

SLOT_BYTES = 52
SLOTS = (64, 192)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl.mark"


def _at(position: int) -> CommitPoint:
    return CommitPoint(position * 100, Head(position, bytes([position]) * 32))


def _publish(mark: CommitIndex, position: int) -> None:
    mark.publish(_at(position).offset, _at(position).head)


def _slots(path: Path) -> list[bytes]:
    page = path.read_bytes()
    return [page[at : at + SLOT_BYTES] for at in SLOTS]


def _slot_of(path: Path, position: int) -> int:
    """Where the slot that tells of a position begins."""
    told = [slot[8] for slot in _slots(path)]
    return SLOTS[told.index(position)]


def _flip(path: Path, byte: int, bit: int = 0) -> None:
    page = bytearray(path.read_bytes())
    page[byte] ^= 1 << bit
    path.write_bytes(page)


def test_a_new_mark_says_that_nothing_is_published(path: Path) -> None:
    mark = CommitIndex(path)
    assert (mark.position, mark.read(), mark.needs_recovery) == (0, CommitPoint(), False)
    mark.close()


def test_what_was_published_last_is_read_also_by_the_next_process(path: Path) -> None:
    mark = CommitIndex(path)
    for position in range(1, 6):
        _publish(mark, position)
        assert mark.position == position
        assert mark.read() == _at(position)
        assert read_commit_point(path) == _at(position)
    mark.close()
    again = CommitIndex(path)
    assert (again.position, again.read()) == (5, _at(5))
    again.close()


def test_publication_leaves_the_newest_slot_as_it_is(path: Path) -> None:
    mark = CommitIndex(path)
    _publish(mark, 1)
    for position in range(2, 8):
        before = _slots(path)
        newest = [at for at, slot in enumerate(before) if slot[8] == position - 1]
        _publish(mark, position)
        after = _slots(path)
        assert [at for at in (0, 1) if before[at] == after[at]] == newest
    mark.close()


def test_a_torn_slot_falls_back_to_what_was_published_before(path: Path) -> None:
    """As a writer leaves it that dies in the middle of a slot: the word still tells the old."""
    mark = CommitIndex(path)
    for position in (1, 2, 3):
        _publish(mark, position)
    newest = _slot_of(path, 3)
    for torn in range(SLOT_BYTES):
        mark._page[newest + torn] ^= 1
        mark._words[0] = 2
        assert mark.read() == _at(2)
        mark._page[newest + torn] ^= 1
        assert mark.read() == _at(3)
    mark.close()


def test_a_publication_over_a_torn_slot_is_whole_again(path: Path) -> None:
    mark = CommitIndex(path)
    for position in (1, 2, 3):
        _publish(mark, position)
    newest = _slot_of(path, 3)
    mark._page[newest] ^= 1
    mark._words[0] = 2
    _publish(mark, 4)
    assert mark.read() == _at(4)
    mark._page[newest] ^= 1
    mark._words[0] = 2
    assert mark.read() == _at(2), "the torn slot was the one to be written"
    mark.close()


def test_control_a_slot_without_a_sum_would_be_believed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = CommitIndex(path)
    _publish(mark, 1)
    _publish(mark, 2)
    newest = _slot_of(path, 2)
    monkeypatch.setattr("zlib.crc32", lambda _: 0)
    mark._page[newest + 48 : newest + 52] = bytes(4)
    mark._page[newest] ^= 1
    assert mark.read() not in (_at(1), _at(2))
    mark.close()


def test_no_flipped_bit_makes_a_publication_that_never_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the word and of both slots: it is refused, or it does not matter."""
    monkeypatch.setattr("events.log.file.commit_index._READ_ATTEMPTS", 2)
    mark = CommitIndex(path)
    for position in (1, 2):
        _publish(mark, position)
    mark.close()
    for byte in [*range(8), *range(64, 116), *range(192, 244)]:
        for bit in range(8):
            _flip(path, byte, bit)
            with suppress(DamagedLog):
                assert read_commit_point(path) == _at(2)
            _flip(path, byte, bit)


def test_a_newest_slot_that_is_damaged_is_refused_and_not_fallen_back_from(path: Path) -> None:
    mark = CommitIndex(path)
    _publish(mark, 1)
    _publish(mark, 2)
    mark.close()
    newest = _slot_of(path, 2)
    _flip(path, newest)
    mark = CommitIndex(path)
    with pytest.raises(DamagedLog):
        mark.read()
    mark.close()
    with pytest.raises(DamagedLog):
        read_commit_point(path)


@pytest.mark.parametrize("byte", range(24, 40))
def test_a_page_without_the_magic_is_no_mark(path: Path, byte: int) -> None:
    CommitIndex(path).close()
    _flip(path, byte)
    for look in (CommitIndex, read_commit_point):
        with pytest.raises(DamagedLog):
            look(path)


@pytest.mark.parametrize("size", [0, 1, 64, 4095])
def test_a_page_that_is_too_short_is_no_mark(path: Path, size: int) -> None:
    CommitIndex(path).close()
    path.write_bytes(path.read_bytes()[:size])
    for look in (CommitIndex, read_commit_point):
        with pytest.raises(DamagedLog):
            look(path)


def test_a_mark_that_another_process_made_meanwhile_is_not_made_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both found none; the slower one must not lay an empty page over what is published."""
    quicker = CommitIndex(path)
    _publish(quicker, 7)
    monkeypatch.setattr(Path, "exists", lambda _: False)
    slower = CommitIndex(path)
    assert slower.read() == _at(7)
    _publish(slower, 8)
    assert quicker.read() == _at(8)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    quicker.close()
    slower.close()


def test_a_mark_is_for_its_owner_only_and_holds_its_blocks(path: Path) -> None:
    CommitIndex(path).close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_blocks * 512 >= 4096


def test_peeking_makes_nothing(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_commit_point(path)
    assert list(path.parent.iterdir()) == []


def test_a_raised_fence_is_seen_by_all_until_a_restart_has_cleaned_up(path: Path) -> None:
    mark, other = CommitIndex(path), CommitIndex(path)
    mark.raise_fence()
    assert (other.fence, other.needs_recovery) == (1, True)
    other.set_recovered()
    assert (mark.fence, mark.needs_recovery) == (1, False)
    for opened in (mark, other):
        opened.close()


def test_what_is_cleaned_up_is_synced_at_once(path: Path) -> None:
    """A start after a power cut must not cut the log back to an old mark once more."""

    class Page:
        flushed: ClassVar[list[bool]] = []

        def flush(self) -> None:
            self.flushed.append(mark.needs_recovery)

    mark = CommitIndex(path)
    mark.raise_fence()
    page, mark._page = mark._page, Page()  # type: ignore[assignment]  # all that is called here
    mark.set_recovered()
    mark._page = page
    mark.close()
    assert Page.flushed == [False]


def test_a_publication_is_seen_by_another_process(path: Path) -> None:
    """The reader polls the word, and finds at least that in the slots."""
    reader = (
        "import sys, pathlib\n"
        "from events.log.file.commit_index import CommitIndex\n"
        "mark = CommitIndex(pathlib.Path(sys.argv[1]))\n"
        "print('ready', flush=True)\n"
        "while (position := mark.position) < 2000:\n"
        "    published = mark.read()\n"
        "    assert published.head.position >= position\n"
        "    assert published.offset == published.head.position * 100\n"
        "mark.close()\n"
    )
    mark = CommitIndex(path)
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", reader, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for position in range(1, 2001):
            mark.publish(position * 100, Head(position, bytes(32)))
        assert process.wait(10) == 0
    mark.close()
