"""A server with a planted bug: it takes a refused COMMIT for one whose answer was lost."""

from __future__ import annotations

from litestar import Litestar

from eventapi import app
from events.database.connection import Database
from events.log.port import Head
from events.log.sql import log


async def _always(_: Database, __: Head) -> bool:
    return True


def create_app() -> Litestar:
    """Make the application, with an adapter that believes that every COMMIT was executed."""
    vars(log).update(is_conflict=lambda _: False, is_committed=_always)
    return app.create_app()
