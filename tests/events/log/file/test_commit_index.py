"""The commit index: two slots in turn, a word that readers poll, a fence."""

from __future__ import annotations

import mmap
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from events.errors import DamagedLog
from events.log.file.commit_index import CommitIndex, CommitPoint, read_commit_point
from events.log.port import Head
from tests.events.log_helpers import overwrite, set_polled_position

SLOT_BYTES = 52
SLOTS = (64, 192)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl.mark"


def _at(position: int) -> CommitPoint:
    return CommitPoint(position * 100, Head(position, bytes([position]) * 32))


def _publish(index: CommitIndex, position: int) -> None:
    index.publish(_at(position).offset, _at(position).head)


def _slots(path: Path) -> list[bytes]:
    page = path.read_bytes()
    return [page[at : at + SLOT_BYTES] for at in SLOTS]


def _slot_of(path: Path, position: int) -> int:
    """Return the offset of the slot with a position."""
    positions = [slot[8] for slot in _slots(path)]
    return SLOTS[positions.index(position)]


def _flip(path: Path, byte: int, bit: int = 0) -> None:
    """Flip a bit of the file, which processes that map the file see at once."""
    overwrite(path, byte, bytes([path.read_bytes()[byte] ^ 1 << bit]))


def test_a_new_commit_index_has_no_publication(path: Path) -> None:
    index = CommitIndex(path)
    assert (index.position, index.read(), index.needs_recovery) == (0, CommitPoint(), False)
    index.close()


def test_the_last_publication_is_read_by_the_next_process_too(path: Path) -> None:
    index = CommitIndex(path)
    for position in range(1, 6):
        _publish(index, position)
        assert index.position == position
        assert index.read() == _at(position)
        assert read_commit_point(path) == _at(position)
    index.close()
    again = CommitIndex(path)
    assert (again.position, again.read()) == (5, _at(5))
    again.close()


def test_a_publication_does_not_change_the_newest_slot(path: Path) -> None:
    index = CommitIndex(path)
    _publish(index, 1)
    for position in range(2, 8):
        before = _slots(path)
        newest = [at for at, slot in enumerate(before) if slot[8] == position - 1]
        _publish(index, position)
        after = _slots(path)
        assert [at for at in (0, 1) if before[at] == after[at]] == newest
    index.close()


def test_a_torn_slot_falls_back_to_the_previous_publication(path: Path) -> None:
    """A writer that dies in the middle of a slot has not stored the word yet."""
    index = CommitIndex(path)
    for position in (1, 2, 3):
        _publish(index, position)
    newest = _slot_of(path, 3)
    for torn in range(SLOT_BYTES):
        _flip(path, newest + torn)
        set_polled_position(path, 2)
        assert index.read() == _at(2)
        _flip(path, newest + torn)
        assert index.read() == _at(3)
    index.close()


def test_a_publication_overwrites_a_torn_slot(path: Path) -> None:
    index = CommitIndex(path)
    for position in (1, 2, 3):
        _publish(index, position)
    newest = _slot_of(path, 3)
    _flip(path, newest)
    set_polled_position(path, 2)
    _publish(index, 4)
    assert index.read() == _at(4)
    _flip(path, newest)
    set_polled_position(path, 2)
    assert index.read() == _at(2), "the publication did not go to the torn slot"
    index.close()


def test_control_without_the_crc_a_torn_slot_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = CommitIndex(path)
    _publish(index, 1)
    _publish(index, 2)
    newest = _slot_of(path, 2)
    monkeypatch.setattr("zlib.crc32", lambda _: 0)
    overwrite(path, newest + 48, bytes(4))
    _flip(path, newest)
    assert index.read() not in (_at(1), _at(2))
    index.close()


def test_a_flipped_bit_is_refused_or_has_no_effect(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the word and in both slots."""
    monkeypatch.setattr("events.log.file.commit_index._READ_ATTEMPTS", 2)
    index = CommitIndex(path)
    for position in (1, 2):
        _publish(index, position)
    index.close()
    for byte in [*range(8), *range(64, 116), *range(192, 244)]:
        for bit in range(8):
            _flip(path, byte, bit)
            with suppress(DamagedLog):
                assert read_commit_point(path) == _at(2)
            _flip(path, byte, bit)


def test_a_damaged_newest_slot_is_refused_if_the_word_is_at_its_position(path: Path) -> None:
    index = CommitIndex(path)
    _publish(index, 1)
    _publish(index, 2)
    index.close()
    newest = _slot_of(path, 2)
    _flip(path, newest)
    index = CommitIndex(path)
    with pytest.raises(DamagedLog):
        index.read()
    index.close()
    with pytest.raises(DamagedLog):
        read_commit_point(path)


@pytest.mark.parametrize("byte", range(24, 40))
def test_a_page_without_the_magic_is_refused(path: Path, byte: int) -> None:
    CommitIndex(path).close()
    _flip(path, byte)
    for read in (CommitIndex, read_commit_point):
        with pytest.raises(DamagedLog):
            read(path)


@pytest.mark.parametrize("size", [0, 1, 64, 4095])
def test_a_page_that_is_too_short_is_refused(path: Path, size: int) -> None:
    CommitIndex(path).close()
    path.write_bytes(path.read_bytes()[:size])
    for read in (CommitIndex, read_commit_point):
        with pytest.raises(DamagedLog):
            read(path)


def test_two_processes_that_create_a_commit_index_share_the_first_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slower one must not replace a page that has publications."""
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


def test_a_new_commit_index_is_private_and_has_all_its_blocks(path: Path) -> None:
    CommitIndex(path).close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_blocks * 512 >= 4096


def test_reading_a_missing_commit_index_creates_no_file(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_commit_point(path)
    assert list(path.parent.iterdir()) == []


def test_a_raised_fence_is_seen_by_all_until_a_start_recovers(path: Path) -> None:
    index, other = CommitIndex(path), CommitIndex(path)
    index.raise_fence()
    assert (other.fence, other.needs_recovery) == (1, True)
    other.set_recovered()
    assert (index.fence, index.needs_recovery) == (1, False)
    for opened in (index, other):
        opened.close()


def test_a_completed_recovery_is_synced_at_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a start after a power cut would cut the log back once more."""
    synced: list[tuple[int, ...]] = []

    class Page(mmap.mmap):
        def flush(self, *_: int) -> None:
            synced.append(struct.unpack_from("=QQQ", path.read_bytes()))

    monkeypatch.setattr(mmap, "mmap", Page)
    index = CommitIndex(path)
    index.raise_fence()
    index.set_recovered()
    assert synced == [(0, 1, 1)]
    index.close()


class _Words(dict[int, int]):
    """The words of a page, with a record of which are stored."""

    def __init__(self, *words: int) -> None:
        super().__init__(enumerate(words))
        self.stored: list[int] = []

    def __setitem__(self, number: int, value: int) -> None:
        self.stored.append(number)
        super().__setitem__(number, value)


@pytest.mark.parametrize(("fence", "recovered"), [(0, 0), (1, 0), (1, 1)])
def test_a_recovery_is_stored_again_because_an_earlier_sync_of_it_may_have_failed(
    path: Path, monkeypatch: pytest.MonkeyPatch, fence: int, recovered: int
) -> None:
    """The kernel considers the page as clean then, and the next sync would write nothing."""
    index = CommitIndex(path)
    words = _Words(0, fence, recovered)
    with monkeypatch.context() as patch:
        patch.setattr(index, "_words", words)
        index.set_recovered()
    assert (words[2], words.stored) == (fence, [2] if fence else [])
    index.close()


def test_publications_are_seen_by_another_process(path: Path) -> None:
    """It polls the word, and finds at least that position in the slots."""
    reader = (
        "import sys, pathlib\n"
        "from events.log.file.commit_index import CommitIndex\n"
        "index = CommitIndex(pathlib.Path(sys.argv[1]))\n"
        "print('ready', flush=True)\n"
        "while (position := index.position) < 2000:\n"
        "    published = index.read()\n"
        "    assert published.head.position >= position\n"
        "    assert published.offset == published.head.position * 100\n"
        "index.close()\n"
    )
    index = CommitIndex(path)
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", reader, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for position in range(1, 2001):
            index.publish(position * 100, Head(position, bytes(32)))
        assert process.wait(10) == 0
    index.close()
