"""The objects of an archive in a bucket of S3-compatible storage."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from events.archive.objects import CHECKPOINT
from events.archive.places import split_bucket
from events.errors import ConfigurationError, LogUnreachable
from events.messages.archives import ARCHIVE_UNREACHABLE, NO_OBSTORE

if TYPE_CHECKING:
    from obstore import Attributes
    from obstore.store import S3Config

_CHECKPOINT_KIND: Final[Attributes] = {
    "Content-Type": "text/plain; charset=utf-8",
    "Cache-Control": "no-cache",
}
_TILE_KIND: Final[Attributes] = {"Content-Type": "application/octet-stream"}

_RETRY_SECONDS: Final = 30
"""How long a request is repeated if the storage does not answer."""

_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_LOGIN: Final = re.compile(r"://[^/@\s]*@")
_ADDRESS: Final = re.compile(r"https?://[^/?#\s]", re.ASCII)
_MAX_REASON: Final = 300


class BucketObjects:
    """The objects below a prefix of a bucket.

    Region, endpoint and credentials are those of the usual variables ``AWS_*``. A connection
    without TLS is allowed only if the endpoint begins with ``http://``.
    """

    def __init__(self, url: str) -> None:
        """Raises `ConfigurationError` without obstore, or for bad variables."""
        try:
            from obstore.exceptions import BaseError  # noqa: PLC0415 - optional, and large
            from obstore.store import S3Store  # noqa: PLC0415 - as above
        except ImportError:
            raise ConfigurationError(NO_OBSTORE) from None
        self.name = url
        bucket, prefix = split_bucket(url)
        endpoint = _endpoint()
        # A bucket with a retention period accepts only puts with a checksum.
        config: S3Config = {"checksum_algorithm": "SHA256"}
        if endpoint:
            config["endpoint"] = endpoint
        try:
            self._store = S3Store(
                bucket,
                prefix=prefix or None,
                config=config,
                client_options={"allow_http": endpoint.startswith("http:")},
                retry_config={"retry_timeout": timedelta(seconds=_RETRY_SECONDS)},
            )
        except (BaseError, ValueError, OSError) as error:
            raise ConfigurationError(f"{url}: {_reason(error)}") from None

    async def get(self, name: str, limit: int) -> bytes | None:
        with self._translate_errors(name):
            try:
                found = await self._store.get_async(name)
            except FileNotFoundError:
                return None
            if found.meta["size"] > limit:
                return bytes(await self._store.get_range_async(name, start=0, length=limit + 1))
            return bytes(await found.bytes_async())

    async def put(self, name: str, content: bytes) -> None:
        with self._translate_errors(name):
            kind = _CHECKPOINT_KIND if name == CHECKPOINT else _TILE_KIND
            await self._store.put_async(name, content, attributes=kind, use_multipart=False)

    async def flush(self) -> None:
        """Do nothing: a put is durable when it is answered."""

    async def names(self, folder: str) -> Sequence[str]:
        with self._translate_errors(folder):
            found = await self._store.list_with_delimiter_async(folder)
            return sorted(one["path"] for one in found["objects"])

    async def delete(self, names: Collection[str]) -> None:
        if names:
            with self._translate_errors("tile"):
                await self._store.delete_async([*names])

    @contextmanager
    def _translate_errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # A panic of obstore is one of no other class.
            message = ARCHIVE_UNREACHABLE.fill(place=self.name, object=name, reason=_reason(error))
            raise LogUnreachable(message) from None


def _endpoint() -> str:
    """The address of the storage if a variable has one, or an empty text.

    Raises `ConfigurationError` if it has no scheme or no host.
    """
    variable = next(filter(os.environ.get, _ENDPOINTS), None)
    if variable is None:
        return ""
    endpoint = os.environ[variable]
    if not _ADDRESS.match(endpoint):
        raise ConfigurationError(f"{variable} must begin with http:// or https:// and a host")
    return endpoint


def _reason(error: Exception) -> str:
    """The first line of an error, without a login in a URL."""
    first, _, _ = str(error).strip().partition("\n")
    return _LOGIN.sub("://********@", first)[:_MAX_REASON] or type(error).__name__
