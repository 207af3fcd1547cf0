"""Paths of the files beside the log and in the data directory.

The names of files beside a log begin with the name of the log: ``events.jsonl.mark``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eventapi.configuration.settings import Settings
from events.log.file.paths import (
    closed_segments,
    commit_index_path,
    lock_path,
    reserve_path,
)

SIGNING_KEY_SUFFIX = ".key"
CHECKPOINT_SUFFIX = ".checkpoint"
SIGNED_HEAD_SUFFIX = ".signed"
COSIGNED_SUFFIX = ".cosigned"
VERIFIED_SUFFIX = ".verified"


def paths_beside(log: Path) -> Sequence[Path]:
    """Every file beside a log whose name begins with that of the log."""
    signing = (SIGNING_KEY_SUFFIX, CHECKPOINT_SUFFIX, SIGNED_HEAD_SUFFIX, COSIGNED_SUFFIX)
    suffixes = (*signing, VERIFIED_SUFFIX)
    return [commit_index_path(log), lock_path(log), *(_beside(log, suffix) for suffix in suffixes)]


def files_of_server(settings: Settings) -> Sequence[Path]:
    """Every file that a server keeps and a command must not overwrite."""
    log = settings.log_path
    databases = (vault_path(settings), followers_path(settings))
    counters = settings.data_path / "limits.table"
    secret = settings.data_path / "secret.key"
    return [
        log,
        *paths_beside(log),
        reserve_path(log),
        *closed_segments(log),
        *databases,
        *(_beside(database, "-journal") for database in databases),
        clock_path(settings),
        counters,
        secret,
    ]


def signing_key_path(log: Path) -> Path:
    """The private key that signs the checkpoints of a log."""
    return _beside(log, SIGNING_KEY_SUFFIX)


def checkpoint_path(log: Path) -> Path:
    """The newest known checkpoint of a log."""
    return _beside(log, CHECKPOINT_SUFFIX)


def signed_head_path(log: Path) -> Path:
    """The register of the newest tree head that was signed."""
    return _beside(log, SIGNED_HEAD_SUFFIX)


def vault_path(settings: Settings) -> Path:
    """The vault of a log in a file; it is in the same directory."""
    return settings.log_path.parent / "vault.sqlite"


def followers_path(settings: Settings) -> Path:
    """The progress of the followers of a log in a file."""
    return settings.log_path.parent / "followers.sqlite"


def outbox_paths(settings: Settings) -> Sequence[Path]:
    """Every directory that may contain mails.

    The default one may have mails from before a setting was changed.
    """
    own = settings.data_path / "outbox"
    return [own] if settings.outbox_path in {None, own} else [own, Path(settings.mail_url or "")]


def verified_path(log: Path) -> Path:
    """The file beside a copy of a log that says how much of it is verified."""
    return _beside(log, VERIFIED_SUFFIX)


def snapshots_path(settings: Settings) -> Path:
    """The directory of the snapshots."""
    return settings.log_path.parent / "snapshots"


def clock_path(settings: Settings) -> Path:
    """The reference that the clock of this machine is compared with."""
    return settings.data_path / "clock"


def _beside(log: Path, suffix: str) -> Path:
    # Unlike `with_name`, this accepts ".", which is refused later with a message.
    return log.parent / (log.name + suffix)
