"""The fast look at whole stretches: it changes how long a check takes, and never what it finds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventapi.testing.given import registered
from eventapi.testing.sample_log import Written, write
from eventapi.testing.strategies import sound_histories
from events.log.port import Head
from events.transparency.merkle import leaf_hash, root_of
from events.transparency.signed_note import TreeHead
from events.verification import scan as scan_module
from events.verification import verify as verify_module
from events.verification.scan import ScanOptions, scan
from events.verification.verify import Report, verify
from tests.events.log_helpers import file_bytes, publish

STRETCH = 2_000
"""Of bytes: a few lines."""


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "SEGMENT_BYTES", STRETCH)


def head_of(lines: list[bytes], size: int) -> TreeHead:
    return TreeHead("eventapi/test", size, root_of([leaf_hash(line) for line in lines[:size]]))


@st.composite
def _mutations(draw: st.DrawFn, content: bytes) -> bytes:
    """The content with a few things done to it, or nothing."""
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        lines = content.split(b"\n")
        one, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        match draw(st.sampled_from(["flip", "cut", "insert", "leave out", "double", "swap"])):
            case "flip":
                bit = 1 << draw(st.integers(0, 7))
                content = content[:at] + bytes(byte ^ bit for byte in content[at : at + 1])
                content += b"\n".join(lines)[at + 1 :]
            case "cut":
                content = content[:at]
            case "insert":
                content = (
                    content[:at] + draw(st.sampled_from([b"\n", b"\0", b"{}\n"])) + content[at:]
                )
            case "leave out":
                content = b"\n".join(lines[:one] + lines[one + 1 :])
            case "double":
                content = b"\n".join([*lines[:one], lines[one], *lines[one:]])
            case "swap":
                lines[one], lines[other] = lines[other], lines[one]
                content = b"\n".join(lines)
    return content


@st.composite
def _cases(draw: st.DrawFn) -> tuple[Written, bytes, int, list[str], bool]:
    """A log, what became of its bytes, a checkpoint's size, lost keys, and whether it is marked."""
    written = write(draw(sound_histories()))
    content = draw(_mutations(file_bytes(written.lines)))
    size = draw(st.integers(0, len(written.lines)))
    lost = draw(st.lists(st.sampled_from(sorted(written.keys)))) if written.keys else []
    return written, content, size, lost, draw(st.booleans())


def _checked(case: tuple[Written, bytes, int, list[str], bool], *, fast: bool) -> Report:
    written, content, size, lost, marked = case
    keys = {subject: key for subject, key in written.keys.items() if subject not in lost}
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        path = Path(directory) / "events.jsonl"
        if marked and written.records:
            last = written.records[-1]
            publish(path, written.lines, Head(last.position, last.hash))
        path.write_bytes(content)
        if not fast:
            patch.setattr(verify_module, "scan", lambda *_: iter(()))
        return verify(path, checkpoint=head_of(written.lines, size), keys=keys, processes=1)


@given(_cases())
def test_law_what_is_found_is_what_looking_at_every_line_finds(
    case: tuple[Written, bytes, int, list[str], bool],
) -> None:
    assert _checked(case, fast=True) == _checked(case, fast=False)


def _log(path: Path, events: int = 60) -> list[bytes]:
    written = write(registered(number, f"user{number}") for number in range(1, events + 1))
    path.write_bytes(file_bytes(written.lines))
    return written.lines


def _all_of(path: Path, leaves: int = 0, processes: int = 1) -> list[scan_module.Segment]:
    return list(scan(path, path.stat().st_size, ScanOptions(leaves), processes))


def test_a_whole_log_goes_by_in_stretches_and_no_line_is_looked_at_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.jsonl"
    lines = _log(path)

    def never(*_: object) -> Iterator[object]:
        raise AssertionError

    monkeypatch.setattr(verify_module._Check, "check_line", never)
    report = verify(path, checkpoint=head_of(lines, len(lines)), processes=1)
    assert (report.ok, report.lines) == (True, len(lines))
    assert len(_all_of(path)) > 5


def test_processes_side_by_side_find_the_same_as_one(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = _log(path)
    for leaves in (0, 7, len(lines)):
        assert _all_of(path, leaves, 3) == _all_of(path, leaves)
    path.write_bytes(path.read_bytes().replace(b'"id":"31"', b'"id":"13"'))
    reports = [verify(path, processes=processes) for processes in (1, 3)]
    assert reports[0] == reports[1]
    assert not reports[0].ok


def test_from_damage_on_every_line_is_looked_at_and_before_it_none(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = _log(path)
    damaged = [bytearray(line) for line in lines]
    damaged[40][50] ^= 1
    path.write_bytes(b"".join(line + b"\n" for line in damaged))
    stretches = _all_of(path)
    assert 0 < stretches[-1].last.position <= 40
    report = verify(path, checkpoint=head_of(lines, 60), processes=1)
    assert [(found.kind, found.position) for found in report.findings] == [
        ("damaged", 41),
        ("checkpoint", 60),
    ]


@pytest.mark.parametrize(
    ("broken", "believed"),
    [
        ("check_link", lambda line, _: bytes.fromhex(line[-66:-2].decode())),
        ("check_seal", lambda line, cipher: None),
    ],
)
def test_control_what_the_fast_look_leaves_out_hides_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, believed: object
) -> None:
    path = tmp_path / "events.jsonl"
    written = write(registered(number, f"user{number}") for number in range(1, 61))
    keys = dict(written.keys)
    if broken == "check_link":
        path.write_bytes(file_bytes(written.lines).replace(b"operator/t", b"operator/r"))
    else:
        path.write_bytes(file_bytes(written.lines))
        keys["users/31"] = bytes(32)
    assert not verify(path, keys=keys, processes=1).ok
    monkeypatch.setattr(scan_module, broken, believed)
    assert verify(path, keys=keys, processes=1).ok
