"""The kinds of damage to a log; each yields the damaged contents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tests.fault_injection.torn.history import History

SECTOR_BYTES = 512
TAIL_BYTES = 4096

Case = tuple[bytes, int]
"""The content of a file, and the number of published lines."""

Cases = Callable[[History, int], Iterator[Case]]
"""Takes a history and a stride; a stride of 1 yields all cases."""


def _marks_near(history: History, offset: int) -> set[int]:
    """Numbers of published lines to try: near the damage and far from it."""
    whole = history.whole_before(offset)
    count = len(history.lines)
    return {max(whole - 30, 0), max(whole - 1, 0), whole, min(whole + 1, count), count}


def truncations(history: History, stride: int) -> Iterator[Case]:
    """Truncate at every length."""
    for size in range(0, len(history.content) + 1, stride):
        for marked in _marks_near(history, size):
            yield history.content[:size], marked


def _flip_bit(history: History, byte: int, bit: int) -> bytes:
    content = bytearray(history.content)
    content[byte] ^= 1 << bit
    return bytes(content)


def bit_flips_in_tail(history: History, stride: int) -> Iterator[Case]:
    """Flip every bit of the last 4 KiB."""
    start = (len(history.content) - TAIL_BYTES) * 8
    for number in range(start, len(history.content) * 8, stride):
        content = _flip_bit(history, number // 8, number % 8)
        for marked in _marks_near(history, number // 8):
            yield content, marked


def bit_flips_before_tail(history: History, stride: int) -> Iterator[Case]:
    """Flip bits throughout the rest, and in every newline."""
    end = len(history.content) - TAIL_BYTES
    newlines = {offset - 1 for offset in history.ends[1:] if offset <= end}
    offsets = [*range(0, end, 61), *sorted(newlines)][:: max(stride // 4, 1)]
    for byte in offsets:
        content = _flip_bit(history, byte, byte % 8)
        for marked in _marks_near(history, byte):
            yield content, marked


def _lines(history: History, numbers: list[int], at: int) -> Iterator[Case]:
    content = b"".join(history.lines[number] + b"\n" for number in numbers)
    for marked in _marks_near(history, history.ends[at]):
        yield content, marked


def deletions(history: History, stride: int) -> Iterator[Case]:
    """Delete each record."""
    for at in _record_indexes(history, stride):
        numbers = list(range(len(history.lines)))
        del numbers[at]
        yield from _lines(history, numbers, at)


def duplications(history: History, stride: int) -> Iterator[Case]:
    """Duplicate each record."""
    for at in _record_indexes(history, stride):
        numbers = list(range(len(history.lines)))
        numbers.insert(at, at)
        yield from _lines(history, numbers, at)


def swaps(history: History, stride: int) -> Iterator[Case]:
    """Swap each record with the next."""
    for at in _record_indexes(history, stride)[:-1]:
        numbers = list(range(len(history.lines)))
        numbers[at], numbers[at + 1] = at + 1, at
        yield from _lines(history, numbers, at)


def _record_indexes(history: History, stride: int) -> list[int]:
    count = len(history.lines)
    return sorted({*range(0, count, max(stride // 4, 1)), count - 2, count - 1})


def _sector_offsets(history: History, stride: int) -> range:
    return range(0, len(history.content), SECTOR_BYTES * max(stride // 16, 1))


def zeroed_sectors(history: History, stride: int) -> Iterator[Case]:
    """Zero each sector, alone and with the seven after it."""
    for start in _sector_offsets(history, stride):
        for length in (SECTOR_BYTES, 8 * SECTOR_BYTES):
            content = bytearray(history.content)
            end = min(start + length, len(content))
            content[start:end] = bytes(end - start)
            for marked in _marks_near(history, start):
                yield bytes(content), marked


def swapped_sectors(history: History, stride: int) -> Iterator[Case]:
    """Swap each sector with the next."""
    for start in _sector_offsets(history, stride):
        one = history.content[start : start + SECTOR_BYTES]
        other = history.content[start + SECTOR_BYTES : start + 2 * SECTOR_BYTES]
        content = (
            history.content[:start] + other + one + history.content[start + 2 * SECTOR_BYTES :]
        )
        for marked in _marks_near(history, start):
            yield content, marked


CASES: Mapping[str, Cases] = {
    "cut off at every length": truncations,
    "a flipped bit of the last 4 KiB": bit_flips_in_tail,
    "a flipped bit elsewhere": bit_flips_before_tail,
    "a record deleted": deletions,
    "a record doubled": duplications,
    "two records swapped": swaps,
    "sectors zeroed": zeroed_sectors,
    "two sectors swapped": swapped_sectors,
}
