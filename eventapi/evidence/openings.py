"""What the log says about the opening of values in a pack of evidence."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from eventapi.evidence.selection import Selected, Selection
from eventapi.queries.history import History
from events.codec import parse
from events.record import entity_number
from events.vocabulary.security import PackQuery


async def query_of(selection: Selection, selected: Selected, history: History) -> PackQuery:
    """The selection as the event has it: no name, and times instead of positions."""
    first, last = selected.positions[0], selected.positions[-1]
    since = await _time(selection.since, first, history)
    until = await _time(selection.until, last, history)
    if selection.user is not None:
        return PackQuery(user=entity_number(selected.subject), since=since, until=until)
    return PackQuery(subject=selected.subject, since=since, until=until)


async def _time(point: int | str | None, position: int, history: History) -> str | UnsetType:
    """The time of a bound; for a position, that of the first or last line."""
    if point is None:
        return UNSET
    return point if isinstance(point, str) else parse(await history.line_at(position)).time
