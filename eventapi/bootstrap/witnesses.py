"""Get cosignatures of witnesses, from the settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from eventapi.bootstrap.http_client import HttpClient
from eventapi.bootstrap.policy import policy_of
from eventapi.configuration.settings import Settings
from eventapi.followers.port import FollowerStore
from eventapi.queries.subscriptions import LogWatcher
from eventapi.witnesses.client import Exchange
from eventapi.witnesses.tasks import WitnessTasks
from events.transparency.checkpoints import Checkpoints

if TYPE_CHECKING:
    from eventapi.telemetry.metrics.meters import Meters

TIMEOUT_SECONDS: Final = 20.0
"""How long a witness may take for an answer."""


def exchange_of(client: HttpClient) -> Exchange:
    """Return the function that sends a request to a witness.

    Private addresses are allowed, because the operator names the witnesses.
    """
    transport = client.transport(private=True, timeout=TIMEOUT_SECONDS)

    async def exchange(
        url: str, headers: list[tuple[bytes, bytes]], body: bytes, max_bytes: int
    ) -> tuple[int, bytes]:
        return await transport().exchange(url, headers, body, max_bytes)

    return exchange


def witness_tasks(  # noqa: PLR0917 - one of each
    settings: Settings,
    client: HttpClient,
    checkpoints: Checkpoints,
    store: FollowerStore,
    watcher: LogWatcher,
    meters: Callable[[], Meters | None],
) -> WitnessTasks | None:
    """The witnesses of the settings; ``None`` without any.

    ``meters`` returns those of this worker. Raises `ConfigurationError`.
    """
    policy = policy_of(settings)
    if policy is None:
        return None

    def count(name: str, failed: bool) -> None:
        if (now := meters()) is not None:
            now.count_witness(name, failed)

    return WitnessTasks(policy, checkpoints, store, watcher, exchange_of(client), count)
