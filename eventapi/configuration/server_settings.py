"""The settings of address, processes and files of a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from eventapi.configuration.setting import describe
from eventapi.configuration.types import (
    MIN_SEGMENT_BYTES,
    CertificateFile,
    Count,
    KeyFile,
    Port,
    Text,
    Workers,
    data_fault,
    database_file_name,
    host_fault,
    log_fault,
    modules_fault,
    segment_bytes_fault,
)
from events.archive.places import is_archive, is_bucket
from events.database.urls import mask_url


class ServerSettings(msgspec.Struct, frozen=True, rename=str.upper, forbid_unknown_fields=True):
    """Where a server listens, and where it stores."""

    host: Annotated[
        Text,
        describe(
            "Address that the server listens on. `0.0.0.0` is every IPv4 address of the machine, "
            "`::` every address. `serve --host` overrides it.",
            values="an address or a name of this machine",
            check=host_fault,
            example="0.0.0.0",  # noqa: S104 - nothing listens on it here
        ),
    ] = "127.0.0.1"
    port: Annotated[
        Port,
        describe(
            "Port that the server listens on; 0 chooses a free one. `serve --port` overrides it.",
            example="9000",
        ),
    ] = 8000
    ssl_certfile: CertificateFile = None
    ssl_keyfile: KeyFile = None
    workers: Annotated[
        Workers,
        describe(
            "Server processes. Each has all users, items and sessions in its memory. "
            "`serve --workers` overrides it.",
            unit="processes",
            example="4",
        ),
    ] = 1
    data: Annotated[
        Text,
        describe(
            "Data directory, with the log, the keys and all files beside them. "
            "`--data` overrides it.",
            values="a path",
            check=data_fault,
            example="/var/lib/eventapi",
        ),
    ] = "./data"
    log: Annotated[
        Text | None,
        describe(
            "The log of events: a file, or a database, which several machines can share. "
            "Commands that only read accept an archive, too: its directory, or s3://BUCKET/PREFIX. "
            "`--log` overrides it.",
            values="a path, or an address postgresql://..., mysql://... (several hosts: "
            "HOST:PORT,HOST:PORT) or s3://...",
            check=log_fault,
            default="events.jsonl in DATA",
            example="postgresql://eventapi:PASSWORD@db.example:5432/eventapi",
        ),
    ] = None
    segment_bytes: Annotated[
        Count,
        describe(
            "Size at which the first part of a log in a file is closed: compressed, in a file of its "
            "own, and never changed again. 0 closes none. No effect on a database.",
            unit="bytes",
            values=f"0, or {MIN_SEGMENT_BYTES:,} or more",
            check=segment_bytes_fault,
            example="100000000",
        ),
    ] = 1 << 30
    verify: Annotated[
        Literal["background", "before"],
        describe(
            "When a start from a snapshot checks the hash chain of the log below it: in the "
            "background, while the server already serves, or before it serves. "
            "`serve --verify` overrides it. Other commands that start from a snapshot check the chain "
            "only with before; `log copy` has --check instead.",
            example="before",
        ),
    ] = "background"
    resources: Annotated[
        tuple[str, ...],
        describe(
            "Python modules that declare resources. `--resources` overrides it.",
            values="names of modules, separated by commas",
            check=modules_fault,
            default="none; only items",
            example="shop,crm.models",
        ),
    ] = ()
    secret_key: Annotated[
        str | None,
        describe(
            "Key that signs access tokens. Instances that share a database need the same key. "
            "Several are separated by commas: the first signs, the others are still accepted.",
            values="32 bytes or more, not a known or repeated text",
            default="generated once, and stored in DATA as secret.key",
            example="the output of `openssl rand -hex 32`",
        ),
    ] = None

    @property
    def data_path(self) -> Path:
        """The data directory."""
        return Path(self.data)

    @property
    def is_database(self) -> bool:
        """Whether the log is in a database."""
        return "://" in (self.log or "") and not is_bucket(self.log or "")

    @property
    def is_archive(self) -> bool:
        """Whether the log is an archive, which can only be read."""
        return self.log is not None and is_archive(self.log)

    @property
    def log_path(self) -> Path:
        """The path of the JSON-lines log, which names the files beside it.

        If the log is in a database, the path itself does not exist, but files beside it do. An
        archive has none, and the keys are those of the data directory.
        """
        if self.log is not None and (self.is_database or self.is_archive):
            return self.data_path / database_file_name(self.log)
        return self.data_path / "events.jsonl" if self.log is None else Path(self.log)

    @property
    def log_name(self) -> str:
        """The name of the log in messages: its path, or its URL with the password masked."""
        if self.log is None or not (self.is_database or self.is_archive):
            return str(self.log_path)
        return mask_url(self.log) if "://" in self.log else self.log
