"""Background task: check regularly whether the log may still be signed."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from events.errors import ConfigurationError, EventapiError, SigningSuspended
from events.messages.server_log import SIGNING_NOT_CHECKED, SIGNING_RESUMED
from events.transparency.checkpoints import Checkpoints

logger = logging.getLogger("eventapi.tasks")

CHECK_INTERVAL_SECONDS: Final = 60.0


class SigningCheck:
    """The last answer of `Checkpoints.check`; ``is_ok`` is ``None`` before the first."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self.is_ok: bool | None = None

    async def run(self) -> None:
        """Check at start and once a minute until cancelled; log every change."""
        while True:
            await self.check()
            await asyncio.sleep(CHECK_INTERVAL_SECONDS)

    async def check(self) -> None:
        """Check now; an error of reading leaves the last answer as it is."""
        try:
            await self._checkpoints.check()
        except (SigningSuspended, ConfigurationError) as error:
            if self.is_ok is not False:
                logger.error(error.message)  # noqa: TRY400 - no traceback needed
            self.is_ok = False
        except EventapiError as error:
            logger.warning(SIGNING_NOT_CHECKED.fill(reason=error))
        else:
            if self.is_ok is False:
                logger.warning(SIGNING_RESUMED)
            self.is_ok = True
