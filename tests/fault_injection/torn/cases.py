"""Everything that is done to a log: where, and what is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tests.fault_injection.torn.history import History

SECTOR = 512
LAST = 4096

Case = tuple[bytes, int]
"""A content, and how many lines are published."""

Cases = Callable[[History, int], Iterator[Case]]
"""Given a stride, 1 for all of them."""


def _marks(history: History, offset: int) -> set[int]:
    """Marks of interest for what is done at an offset: right before it, behind it, and far off."""
    whole = history.whole_before(offset)
    count = len(history.lines)
    return {max(whole - 30, 0), max(whole - 1, 0), whole, min(whole + 1, count), count}


def truncated(history: History, stride: int) -> Iterator[Case]:
    """Every length."""
    for size in range(0, len(history.content) + 1, stride):
        for marked in _marks(history, size):
            yield history.content[:size], marked


def _flipped(history: History, byte: int, bit: int) -> bytes:
    content = bytearray(history.content)
    content[byte] ^= 1 << bit
    return bytes(content)


def flipped_at_the_end(history: History, stride: int) -> Iterator[Case]:
    """Every bit of the last 4 KiB."""
    start = (len(history.content) - LAST) * 8
    for number in range(start, len(history.content) * 8, stride):
        content = _flipped(history, number // 8, number % 8)
        for marked in _marks(history, number // 8):
            yield content, marked


def flipped_anywhere(history: History, stride: int) -> Iterator[Case]:
    """Bits throughout the rest, and every newline."""
    end = len(history.content) - LAST
    newlines = {offset - 1 for offset in history.ends[1:] if offset <= end}
    some = [*range(0, end, 61), *sorted(newlines)][:: max(stride // 4, 1)]
    for byte in some:
        content = _flipped(history, byte, byte % 8)
        for marked in _marks(history, byte):
            yield content, marked


def _lines(history: History, numbers: list[int], at: int) -> Iterator[Case]:
    content = b"".join(history.lines[number] + b"\n" for number in numbers)
    for marked in _marks(history, history.ends[at]):
        yield content, marked


def deleted(history: History, stride: int) -> Iterator[Case]:
    """Each record."""
    for at in _places(history, stride):
        numbers = list(range(len(history.lines)))
        del numbers[at]
        yield from _lines(history, numbers, at)


def doubled(history: History, stride: int) -> Iterator[Case]:
    """Each record."""
    for at in _places(history, stride):
        numbers = list(range(len(history.lines)))
        numbers.insert(at, at)
        yield from _lines(history, numbers, at)


def swapped(history: History, stride: int) -> Iterator[Case]:
    """Each record with the next one."""
    for at in _places(history, stride)[:-1]:
        numbers = list(range(len(history.lines)))
        numbers[at], numbers[at + 1] = at + 1, at
        yield from _lines(history, numbers, at)


def _places(history: History, stride: int) -> list[int]:
    count = len(history.lines)
    return sorted({*range(0, count, max(stride // 4, 1)), count - 2, count - 1})


def _sectors(history: History, stride: int) -> range:
    return range(0, len(history.content), SECTOR * max(stride // 16, 1))


def zeroed_sectors(history: History, stride: int) -> Iterator[Case]:
    """Each sector, alone and with the seven after it."""
    for start in _sectors(history, stride):
        for length in (SECTOR, 8 * SECTOR):
            content = bytearray(history.content)
            end = min(start + length, len(content))
            content[start:end] = bytes(end - start)
            for marked in _marks(history, start):
                yield bytes(content), marked


def swapped_sectors(history: History, stride: int) -> Iterator[Case]:
    """Each sector with the next one."""
    for start in _sectors(history, stride):
        one = history.content[start : start + SECTOR]
        other = history.content[start + SECTOR : start + 2 * SECTOR]
        content = history.content[:start] + other + one + history.content[start + 2 * SECTOR :]
        for marked in _marks(history, start):
            yield content, marked


CASES: Mapping[str, Cases] = {
    "cut off at every length": truncated,
    "a flipped bit of the last 4 KiB": flipped_at_the_end,
    "a flipped bit elsewhere": flipped_anywhere,
    "a record deleted": deleted,
    "a record doubled": doubled,
    "two records swapped": swapped,
    "sectors zeroed": zeroed_sectors,
    "two sectors swapped": swapped_sectors,
}
