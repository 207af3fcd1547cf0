"""The base class of projections: read models that an application declares.

A projection folds what anyone can read in the log without a key. So it survives every erasure, and
an outsider can recompute it::

    class Totals(Struct):
        cents: dict[str, int] = {}  # of each invoice
        paid: dict[str, int] = {}  # in each month


    class Revenue(Projection):
        \"\"\"The sum of the paid invoices, by month.\"\"\"

        state = Totals()

        def apply(self, event: PublicEvent) -> None:
            cents, paid = self.state.cents, self.state.paid
            if "cents" in event.clear:
                cents[event.subject] = event.clear["cents"]
            if event.type == "invoice.pay":
                month = event.time[:7]
                paid[month] = paid.get(month, 0) + cents[event.subject]

        def query(self, caller: Caller, *, month: str) -> int:
            return self.state.paid.get(month, 0)

``GET /api/v2/projections/revenue?month=2026-11`` answers what ``query`` returns. An event has only
the fields that it set: ``invoice.pay`` sets ``paid``, so the fold remembers ``cents``.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from projections.read_models import PublicEvent

__all__ = ["Caller", "Projection", "PublicEvent"]


class Caller(msgspec.Struct, frozen=True):
    """The user who sends a query; ``id`` is the number that events name as owner."""

    id: int
    username: str
    roles: frozenset[str]


class Projection:
    """Base of declared projections.

    - ``name``: the name in the path; by default the class name in snake case.
    - ``state``: a msgspec Struct, all of whose fields have defaults. The class attribute is the
      state before the first event, or its type, which ``state: Totals`` names as well;
      ``self.state`` is the current state.

    Keep everything that `apply` remembers in ``state``: a snapshot has nothing else. The result may
    depend only on the events, so use no clock, file or randomness.
    """

    name: ClassVar[str] = ""
    state: Any = None

    def apply(self, event: PublicEvent) -> Any:
        """Fold one event: change ``self.state``, or return the new state.

        Every event of the log comes here once, in log order; ignore unknown types. An exception
        stops this projection, and nothing else, until its code changes or the server restarts.
        """
        raise NotImplementedError

    def query(self, *caller: Any, **parameters: Any) -> Any:
        """Answer a request: ``query(self, caller, *, month: str)``.

        ``caller`` is a `Caller`. The keyword parameters are those of the query string, and the
        result is anything that msgspec encodes. It must not change ``self.state``.
        """
        raise NotImplementedError
