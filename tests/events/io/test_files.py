"""Modes and owners of new files, and the identity of open ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_IMODE

import pytest

from events.io import files
from events.io.files import (
    FileIdentity,
    make_directory,
    make_private,
    open_or_make,
    write_durably,
    wrong_kind_message,
)

NOBODY = 65_534

Make = Callable[[Path], object]


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Set a umask for the time of a test."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def create_by_opening(path: Path, mode: int = 0o600) -> None:
    """Create a file by opening it."""
    os.close(open_or_make(path, os.O_RDWR, mode))


MAKING: dict[str, tuple[Make, int]] = {
    "open_or_make": (create_by_opening, 0o600),
    "open_or_make with a mode": (lambda path: create_by_opening(path, 0o640), 0o640),
    "make_private": (lambda path: make_private(path, b"content"), 0o600),
    "write_durably": (lambda path: write_durably(path, b"content"), 0o600),
    "make_directory": (make_directory, 0o700),
    "make_directory with a mode": (lambda path: make_directory(path, 0o750), 0o750),
}


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("name", MAKING)
def test_the_mode_of_a_new_file_does_not_depend_on_the_umask(tmp_path: Path, name: str) -> None:
    make, mode = MAKING[name]
    make(tmp_path / "made")
    assert S_IMODE((tmp_path / "made").stat().st_mode) == mode
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.root
@pytest.mark.parametrize("name", MAKING)
def test_files_created_by_root_get_the_owner_of_their_directory(tmp_path: Path, name: str) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    make, _ = MAKING[name]
    make(tmp_path / "made")
    made = (tmp_path / "made").stat()
    assert (made.st_uid, made.st_gid) == (NOBODY, NOBODY)


@pytest.mark.root
def test_parents_created_by_root_get_the_owner_of_their_directory(tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    make_directory(tmp_path / "a" / "b" / "c")
    assert {path.stat().st_uid for path in tmp_path.rglob("*")} == {NOBODY}


def test_an_existing_file_keeps_its_mode_content_and_owner(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"content")
    path.chmod(0o640)
    before = path.stat()
    create_by_opening(path)
    make_private(path, b"another")
    assert path.read_bytes() == b"content"
    assert (path.stat().st_mode, path.stat().st_uid) == (before.st_mode, before.st_uid)


def test_a_left_over_temporary_file_does_not_affect_the_next_write(tmp_path: Path) -> None:
    left_behind = tmp_path / "file.tmp"
    left_behind.write_bytes(b"longer than the content")
    left_behind.chmod(0o666)
    write_durably(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"
    assert S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_a_link_without_a_target_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(OSError, match="symbolic link to a file that is not there"):
        open_or_make(tmp_path / "link", os.O_RDWR)
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


@pytest.mark.root
def test_the_hint_for_a_file_of_another_owner_is_a_command(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    assert files.permission_hint(path, PermissionError(13, "Permission denied")) == ""
    os.chown(tmp_path, NOBODY, NOBODY)
    hint = files.permission_hint(path, PermissionError(13, "Permission denied"))
    assert hint.endswith(f"chown --reference={tmp_path} {path}")


# Open files


def _remove(path: Path) -> None:
    path.unlink()


def _move(path: Path) -> None:
    path.rename(path.with_name("moved"))


def _replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


def _move_directory(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))


def _replace_directory(path: Path) -> None:
    _move_directory(path)
    path.parent.write_bytes(b"")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_remove, "was removed"),
        (_move, "was removed"),
        (_replace, "was replaced by another file"),
        (_move_directory, "was removed"),
        (_replace_directory, "was removed"),
    ],
)
def test_a_removed_or_replaced_file_is_noticed(
    tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "data" / "file"
    path.parent.mkdir()
    path.write_bytes(b"content")
    with path.open("rb") as file:
        identity = FileIdentity(path, os.fstat(file.fileno()))
        assert identity.loss() is None
        change(path)
        assert identity.loss() == f"{path} {words}"


def test_a_file_behind_a_link_is_not_reported_as_lost(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    with (tmp_path / "link").open("rb") as file:
        assert FileIdentity(tmp_path / "link", os.fstat(file.fileno())).loss() is None


def test_a_file_created_during_the_check_is_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may create it right after the first call of stat."""
    path = tmp_path / "made meanwhile"
    stat = Path.stat

    def absent_once(self: Path, **options: bool) -> os.stat_result:
        try:
            return stat(self, **options)
        finally:
            path.touch()

    monkeypatch.setattr(Path, "stat", absent_once)
    assert wrong_kind_message(path) is None
    assert wrong_kind_message(path) is None


@pytest.mark.parametrize(
    ("make", "kind"), [(Path.mkdir, "a directory"), (os.mkfifo, "no regular file")]
)
def test_a_directory_or_pipe_in_place_of_a_file_is_named(
    tmp_path: Path, make: Callable[[Path], None], kind: str
) -> None:
    make(tmp_path / "thing")
    assert kind in str(wrong_kind_message(tmp_path / "thing"))
