"""Storage of rate limits: the machine's table, or Redis for all machines."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from eventapi.configuration.types import REDIS_RULE
from eventapi.ratelimit.rate import Rate, Window
from eventapi.ratelimit.shared_counters import BUCKETS, SharedCounters
from events.errors import ConfigurationError
from events.io import startup as starting
from events.messages.server_log import REDIS_BACK, REDIS_LOST

T = TypeVar("T")

logger = logging.getLogger("eventapi.ratelimit")

TIMEOUT_SECONDS = 1.0
RETRY_SECONDS = 1.0
"""Pause between attempts to reach a lost Redis; requests never wait for them."""

SWEEP_SECONDS = 60.0
BUCKETS_PER_SWEEP = 128
"""Buckets swept before the event loop runs other tasks: half a millisecond of work."""

_CACHED_ENDS = 10_000
_PROBE = "probe"
_DEFAULT_PORT = 6379
_SCHEMES = {
    "redis": "redis",
    "rediss": "rediss",
    "unix": "redis+unix",
    "valkey": "redis",
    "valkeys": "rediss",
}


class RateLimitStorage:
    """Counts in the machine's table; call `close` at the end."""

    redis: Literal["ok", "lost"] | None = None
    """``ok`` while Redis counts, ``lost`` while it cannot be reached, ``None`` without Redis."""

    def __init__(self, table: SharedCounters) -> None:
        self._counters = table

    async def add(self, rate: Rate, key: str, amount: int = 1) -> Window:
        """Count actions of a key; return its window."""
        return self._counters.add(f"{rate.name} {key}", rate.seconds, amount)

    async def get(self, rate: Rate, key: str) -> Window:
        """The window of a key, unchanged."""
        return self._counters.get(f"{rate.name} {key}", rate.seconds)

    async def clear(self, rate: Rate, key: str) -> None:
        """Remove the window of a key."""
        self._counters.clear(f"{rate.name} {key}")

    async def run_sweeps(self) -> None:
        """Wipe ended windows from the table, at once and then every minute; never returns."""
        while True:
            for first in range(0, BUCKETS, BUCKETS_PER_SWEEP):
                self._counters.sweep(first, BUCKETS_PER_SWEEP)
                await asyncio.sleep(0)
            await asyncio.sleep(SWEEP_SECONDS)

    async def check(self) -> None:
        """Connect to Redis before the first request, and set `redis`."""

    async def close(self) -> None:
        """Close the table."""
        self._counters.close()


def redis_storage(url: str) -> Any:
    """Make the client of a URL, without connecting; raises `ConfigurationError`."""
    # Imported here, because it takes a quarter of a second that servers without Redis save.
    from limits.aio.storage import RedisStorage  # noqa: PLC0415
    from redis.asyncio.retry import Retry  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415

    # Never retry: a command that is sent again after a time-out may count twice.
    options: dict[str, Any] = {
        "socket_timeout": TIMEOUT_SECONDS,
        "socket_connect_timeout": TIMEOUT_SECONDS,
        "retry": Retry(NoBackoff(), 0),
    }
    try:
        storage = RedisStorage(
            _with_port(url), implementation="redispy", key_prefix="eventapi", **options
        )
        # Check the options now, without I/O: an unknown one would fail every request.
        client: Any = storage.bridge
        client.storage.connection_pool.make_connection()
    except Exception:  # The libraries' messages may quote the password.
        raise ConfigurationError(f"EVENTAPI_REDIS_URL {REDIS_RULE}") from None
    return storage


def _with_port(url: str) -> str:
    """The URL in the form that `limits` accepts, which requires a port."""
    parts, (_, _, place) = urlsplit(url), url.partition("://")
    if parts.hostname and parts.port is None:
        server = parts.netloc.removesuffix(":")
        place = f"{server}:{_DEFAULT_PORT}{place.removeprefix(parts.netloc)}"
    return f"async+{_SCHEMES[parts.scheme]}://{place}"


class RedisRateLimitStorage(RateLimitStorage):
    """Counts in Redis or Valkey, and in the table while that is lost."""

    def __init__(self, table: SharedCounters, url: str, secret: str) -> None:
        """Raises `ConfigurationError` for an invalid URL; connects at the first command."""
        super().__init__(table)
        self._secret = blake2b(secret.encode(), digest_size=32, person=b"eventapi redis").digest()
        self._storage = redis_storage(url)
        from redis.exceptions import RedisError  # noqa: PLC0415 - as in `redis_storage`

        self._errors: tuple[type[Exception], ...] = (RedisError, OSError)
        self._ends: dict[str, float] = {}
        self._probing: asyncio.Task[None] | None = None
        self.redis = "ok"

    async def add(self, rate: Rate, key: str, amount: int = 1) -> Window:
        name = self._name(rate, key)

        async def in_redis() -> Window:
            count = await self._storage.incr(name, rate.seconds, amount)
            return Window(count, await self._remaining(name, rate, is_new=count == amount))

        return await self._with_fallback(
            in_redis, lambda: super(RedisRateLimitStorage, self).add(rate, key, amount)
        )

    async def get(self, rate: Rate, key: str) -> Window:
        name = self._name(rate, key)

        async def in_redis() -> Window:
            count = await self._storage.get(name)
            left = await self._remaining(name, rate) if count else float(rate.seconds)
            return Window(count, left)

        return await self._with_fallback(
            in_redis, lambda: super(RedisRateLimitStorage, self).get(rate, key)
        )

    async def clear(self, rate: Rate, key: str) -> None:
        await self._with_fallback(
            lambda: self._storage.clear(self._name(rate, key)),
            lambda: super(RedisRateLimitStorage, self).clear(rate, key),
        )

    async def check(self) -> None:
        try:
            async with asyncio.timeout(2 * TIMEOUT_SECONDS):
                await self._storage.incr(_PROBE, 1)
        except self._errors as error:
            self._on_lost(error, starting.logger)

    async def close(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait([self._probing])
        client: Any = self._storage.bridge
        await client.storage.aclose()
        await super().close()

    def _name(self, rate: Rate, key: str) -> str:
        """The name of a key in Redis, the same on all machines that share the secret."""
        text = f"{rate.name} {rate.limit}/{rate.seconds} {key}".encode(errors="replace")
        return blake2b(text, digest_size=16, key=self._secret).hexdigest()

    async def _remaining(self, name: str, rate: Rate, *, is_new: bool = False) -> float:
        """Seconds until a window ends; asks Redis only for windows that began elsewhere."""
        now = time.monotonic()
        end = now + rate.seconds if is_new else self._ends.get(name, 0.0)
        if end <= now:
            end = now + await self._storage.get_expiry(name) - time.time()
        if len(self._ends) >= _CACHED_ENDS:
            self._ends.clear()
        self._ends[name] = end
        return min(end - now, rate.seconds)

    async def _with_fallback(
        self, in_redis: Callable[[], Awaitable[T]], in_table: Callable[[], Awaitable[T]]
    ) -> T:
        if self._probing is None:
            try:
                async with asyncio.timeout(2 * TIMEOUT_SECONDS):
                    return await in_redis()
            except self._errors as error:
                self._on_lost(error)
        return await in_table()

    def _on_lost(self, error: Exception, log: logging.Logger = logger) -> None:
        if self._probing is None:
            log.warning(REDIS_LOST.fill(reason=error))
            self.redis = "lost"
            self._probing = asyncio.create_task(self._probe_until_back(), name="redis")

    async def _probe_until_back(self) -> None:
        """Probe Redis with writes: it may answer pings and be read-only or full."""
        found = False
        while not found:
            await asyncio.sleep(RETRY_SECONDS)
            with suppress(*self._errors):
                found = await self._storage.incr(_PROBE, 1) > 0
        logger.warning(REDIS_BACK)
        self.redis, self._probing = "ok", None
