"""Report projections that have stopped, each once, with its traceback."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from events.messages.server_log import PROJECTION_STOPPED
from projections.read_models import Failure

logger = logging.getLogger("eventapi.journal")


class FailureReports:
    """The failures of projections that are in the server's log."""

    def __init__(self) -> None:
        self._reported: set[str] = set()

    def report(self, failures: Mapping[str, Failure]) -> None:
        """Log the failures that are new."""
        for name, failure in failures.items():
            if name not in self._reported:
                self._reported.add(name)
                logger.error(
                    PROJECTION_STOPPED.fill(name=name, position=failure.position, reason=failure),
                    exc_info=failure.error,
                )
