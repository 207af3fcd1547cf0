"""Places of archives: a directory, or a prefix of a bucket."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from events.archive.objects import CHECKPOINT

_SCHEME: Final = "s3://"
_BUCKET: Final = re.compile(
    r"s3://([a-z0-9][a-z0-9.\-]{1,61}[a-z0-9])((?:/(?!\.\.?(?:/|$))[\w.+=\-]+)*)/?", re.ASCII
)
_RULE: Final = (
    "an archive in a bucket is s3://BUCKET/PREFIX, without credentials, which are those of AWS_*"
)


def is_bucket(place: str) -> bool:
    """Whether a place is the address of a bucket."""
    return place.startswith(_SCHEME)


def is_archive(place: str) -> bool:
    """Whether a place is a bucket, or a directory with an archive or a part of one."""
    if "://" in place:
        return is_bucket(place)
    path = Path(place)
    with suppress(OSError):  # Of a path that may not be read, opening it reports that.
        return path.is_dir() and ((path / CHECKPOINT).is_file() or (path / "tile").is_dir())
    return False


def bucket_fault(url: str) -> str | None:
    """Return why an address cannot be that of a bucket, without any of it, or None."""
    return None if _BUCKET.fullmatch(url) else _RULE


def split_bucket(url: str) -> tuple[str, str]:
    """Bucket and prefix of an address without a fault."""
    found = _BUCKET.fullmatch(url)
    assert found is not None  # noqa: S101 - checked before
    return found[1], found[2].removeprefix("/")
