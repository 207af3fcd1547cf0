"""What the handlers work with; `eventapi.app` puts it together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from eventapi.batch import Environment
from eventapi.checkpoints import Checkpoints
from eventapi.commands.sessions import Lifetime
from eventapi.feed import Feed
from eventapi.http.limits import Limits
from eventapi.journal import Journal
from eventapi.metrics.exposition import Exposition
from eventapi.past import Past
from eventapi.security.passwords import Passwords
from eventapi.security.tokens import Tokens

Details = Callable[[], Mapping[str, Any]]


class Services(msgspec.Struct, frozen=True):
    """``health`` gives the details.

    Where metrics are off, there are none.
    """

    journal: Journal
    passwords: Passwords
    tokens: Tokens
    environment: Environment
    session_lifetime: Lifetime
    health: Details
    past: Past
    feed: Feed
    checkpoints: Checkpoints
    limits: Limits
    metrics: Exposition | None = None
    wait_seconds: float = 2.0
