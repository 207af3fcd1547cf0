"""The address of Redis: its default port, and options that the client refuses."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from eventapi.ratelimit.storage import redis_storage
from events.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://cache", {"host": "cache", "port": 6379}),
        ("redis://cache:/2", {"host": "cache", "port": 6379, "db": 2}),
        ("redis://:p%40ss@[::1]/0", {"host": "::1", "port": 6379, "db": 0, "password": "p@ss"}),
        ("VALKEY://cache?db=3", {"host": "cache", "port": 6379, "db": 3}),
        ("rediss://cache:7000/1", {"host": "cache", "port": 7000, "db": 1}),
        ("unix:///run/redis.sock?db=4", {"path": "/run/redis.sock", "db": 4}),
    ],
)
def test_an_address_without_a_port_has_the_port_of_redis(
    url: str, expected: Mapping[str, object]
) -> None:
    options = redis_storage(url).bridge.storage.connection_pool.connection_kwargs
    assert {name: options.get(name) for name in expected} == expected


@pytest.mark.parametrize("options", ["foo=1", "db=name", "socket_timeout=soon"])
def test_bad_options_are_refused_without_the_password(options: str) -> None:
    with pytest.raises(
        ConfigurationError, match="EVENTAPI_REDIS_URL must be an address"
    ) as refused:
        redis_storage(f"redis://:hunter2@cache?{options}")
    assert "hunter2" not in str(refused.value)
