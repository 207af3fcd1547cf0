"""Write a log of many rows of the ten declared kinds of `benchmarks.ten_kinds`."""

import random
from array import array
from collections.abc import Iterator
from pathlib import Path

from benchmarks.sample_data import LISTED
from benchmarks.sample_log import DESCRIPTION, Happening, registrations, write_down
from eventapi.commands.declarations import ACTOR
from eventapi.resources.registry import load_registry

MODULE = "benchmarks.ten_kinds"


async def write_rows(folder: Path, users: int, rows: int, events: int) -> None:
    """Write a log of so many events: registrations, declarations, rows, and changes of the rows."""
    await write_down(folder, users, rows_of_kinds(users, rows, events))


def rows_of_kinds(users: int, rows: int, events: int) -> Iterator[Happening]:
    """Yield the events; the kinds take turns.

    The first user is the reader, who owns the first rows of each kind, as many as `LISTED` has; the
    others own all further rows.
    """
    chance = random.Random(7)
    yield from registrations(users)
    kinds = [one.type for one in load_registry((MODULE,)).resources if one.type.declaration]
    for kind in kinds:
        if kind.declaration is not None:
            yield f"schemas/{kind.collection}", ACTOR, kind.declaration
    owners = array("I")
    for row in range(rows):
        turn, place = divmod(row, len(kinds))
        kind = kinds[place]
        owners.append(chance.randint(2, users) if turn >= len(LISTED) else 1)
        personal = kind.content(f"Row {turn + 1}", DESCRIPTION, None)
        created = kind.created(owners[row], clear=kind.clear_content(row), personal=personal)
        yield f"{kind.collection}/{turn + 1}", f"users/{owners[row]}", created
    for number in range(events - users - len(kinds) - rows):
        row = chance.randrange(rows)
        turn, place = divmod(row, len(kinds))
        kind = kinds[place]
        changed = kind.updated(personal=kind.changes(title=f"Row {turn + 1}, change {number}"))
        yield f"{kind.collection}/{turn + 1}", f"users/{owners[row]}", changed
