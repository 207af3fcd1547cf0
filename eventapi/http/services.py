"""The services that handlers use; `eventapi.app` constructs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from eventapi.accounts.export import ExportLimit
from eventapi.accounts.keys import KeyUses
from eventapi.accounts.service import Accounts
from eventapi.commands.quota import NO_QUOTA, Quota
from eventapi.followers.runner import Runner
from eventapi.http.caches import Caches
from eventapi.http.middleware.rate_limit import RateLimiter
from eventapi.journal.journal import Journal
from eventapi.queries.history import History
from eventapi.queries.live_events import LiveEvents
from eventapi.queries.orders import Orders
from eventapi.queries.subscriptions import LogWatcher
from eventapi.queries.summary import Summaries
from eventapi.resources.registry import Registry
from eventapi.security.tokens import Tokens
from eventapi.tasks.chain_check import ChainCheck
from eventapi.telemetry.metrics.exposition import Exposition
from eventapi.webhooks.tasks import WebhookTasks
from eventapi.witnesses.tasks import WitnessTasks
from events.transparency.checkpoints import Checkpoints

Details = Callable[[], Mapping[str, Any]]


class Services(msgspec.Struct, frozen=True):
    """The services of one application, injected into handlers.

    ``base_url`` is the address that links to a person begin with; it never comes from a request.
    ``health`` returns the details of ``/health``. ``metrics`` returns `None` while metrics are off
    or their files cannot be created. ``mail`` is `None` without a transport, and
    ``witnesses`` without a policy. ``chain_check`` is that of the lines below the snapshot.
    """

    journal: Journal
    chain_check: ChainCheck
    accounts: Accounts
    tokens: Tokens
    health: Details
    history: History
    summaries: Summaries
    log_watcher: LogWatcher
    live_events: LiveEvents
    checkpoints: Checkpoints
    rate_limiter: RateLimiter
    registry: Registry
    key_uses: KeyUses
    base_url: str
    webhooks: WebhookTasks
    metrics: Callable[[], Exposition | None] = lambda: None
    wait_seconds: float = 2.0
    quota: Quota = NO_QUOTA
    exports: ExportLimit = msgspec.field(default_factory=ExportLimit)
    mail: Runner | None = None
    witnesses: WitnessTasks | None = None
    orders: Orders = msgspec.field(default_factory=Orders)
    caches: Caches = msgspec.field(default_factory=Caches)
