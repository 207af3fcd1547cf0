"""Which file system a directory is on, and the warning where that forgets."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventapi.bootstrap.storage import file_system, warn_if_in_memory
from eventapi.configuration.settings import Settings

MOUNTS = r"""
/dev/vda / ext4 rw 0 0
tmpfs /run tmpfs rw 0 0
/dev/vdb /run/data ext4 rw 0 0
tmpfs /run/data tmpfs rw 0 0
tmpfs /srv/a\040b ramfs rw 0 0
""".lstrip()


@pytest.mark.parametrize(
    ("directory", "kind"),
    [
        ("/", "ext4"),
        ("/runner", "ext4"),
        ("/run", "tmpfs"),
        ("/run/data/not/there/yet", "tmpfs"),
        ("/srv/a b/data", "ramfs"),
    ],
)
def test_the_nearest_mount_tells(tmp_path: Path, directory: str, kind: str) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    assert file_system(Path(directory), mounts) == kind


def test_where_nobody_tells_there_is_nothing_to_warn_of(tmp_path: Path) -> None:
    assert file_system(Path("/"), tmp_path / "mounts") == ""


def test_only_what_forgets_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for kind in ("ext4", "tmpfs"):
        monkeypatch.setattr("eventapi.bootstrap.storage.file_system", lambda _, kind=kind: kind)
        warn_if_in_memory(Settings())
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "the data directory is on tmpfs. Writes continue, but every event is lost when the machine"
    )
