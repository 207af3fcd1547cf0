"""What the handlers work with; `eventapi.app` puts it together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from eventapi.batch import Environment
from eventapi.checkpoints import Checkpoints
from eventapi.commands.quota import NO_QUOTA, Quota
from eventapi.commands.sessions import Lifetime
from eventapi.feed import Feed
from eventapi.http.limits import Limits
from eventapi.http.search import FoldedTexts
from eventapi.journal import Journal
from eventapi.live import Live
from eventapi.metrics.exposition import Exposition
from eventapi.past import Past
from eventapi.security.passwords import Passwords
from eventapi.security.tokens import Tokens

Details = Callable[[], Mapping[str, Any]]


class Services(msgspec.Struct, frozen=True):
    """``health`` gives the details.

    ``metrics`` returns `None` where they are off, or cannot be kept yet.
    """

    journal: Journal
    passwords: Passwords
    tokens: Tokens
    environment: Environment
    session_lifetime: Lifetime
    health: Details
    past: Past
    feed: Feed
    live: Live
    checkpoints: Checkpoints
    limits: Limits
    metrics: Callable[[], Exposition | None] = lambda: None
    wait_seconds: float = 2.0
    quota: Quota = NO_QUOTA
    texts: FoldedTexts = msgspec.field(default_factory=FoldedTexts)
