"""db.json, the data file of the replaced service: its shape, and the export.

::

    {"users": {"john_doe": {"username": "john_doe", "hashed_password": "$2b$12$...", ...}},
     "items": {"john_doe": [{"id": 1, "title": "First item", "owner": "john_doe", ...}]}}

Times are ISO 8601 in UTC without a zone. `eventapi.cli.db_json_reader` reads such a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from eventapi.values.times import naive
from projections.state import State
from projections.tables.users import User

MAX_ID: Final = 2**52
"""The highest item number that an import keeps.

JSON readers have exact integers up to 2**53 - 1; the upper half is reserved for new items.
"""


class OldUser(msgspec.Struct, frozen=True):
    """A user of the file; ``name`` is the key with unsupported characters replaced.

    ``created_at`` is in a record's form, or ``None`` for the time of the import. An empty ``email``
    or ``password_hash`` means that the user has none.
    """

    place: str
    key: str
    name: str
    email: str
    password_hash: str
    full_name: str | None
    disabled: bool
    created_at: str | None


class OldItem(msgspec.Struct, frozen=True):
    """An item of the file; ``owner`` is the key of a user.

    ``id`` is ``None`` if the item needs a new number.
    """

    owner: str
    id: int | None
    title: str
    description: str | None
    created_at: str | None


class Fault(msgspec.Struct, frozen=True):
    """A value in the file that cannot be imported unchanged.

    ``place`` is a path such as ``items.ann[3].title``. ``remedy`` describes the change that
    ``--mend`` makes; it is ``None`` if only a corrected file helps.
    """

    place: str
    detail: str
    remedy: str | None = None


class Note(msgspec.Struct, frozen=True):
    """A remark about the file for the operator; it does not prevent the import."""

    place: str
    detail: str


class Contents(msgspec.Struct, frozen=True):
    """The users and items of a file; the remedies of ``faults`` are applied."""

    users: Sequence[OldUser]
    items: Sequence[OldItem]
    faults: Sequence[Fault]
    notes: Sequence[Note]


class Refused(Exception):
    """The file cannot be imported; ``is_repeated`` if it seems to be imported already."""

    def __init__(
        self, faults: Sequence[Fault], notes: Sequence[Note] = (), *, is_repeated: bool = False
    ) -> None:
        super().__init__("1 fault" if len(faults) == 1 else f"{len(faults)} faults")
        self.faults = faults
        self.notes = notes
        self.is_repeated = is_repeated


def write(state: State) -> bytes:
    """Encode all users and items of a state as such a file.

    A user whose key is destroyed has no name, also where the erasure is later than the state.
    """
    living = [user for user in state.users.by_id.values() if user.username]
    document = {
        "users": {user.username: _old_user(user) for user in living},
        "items": {user.username: _old_items(user, state) for user in living},
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _old_user(user: User) -> dict[str, object]:
    return {
        "username": user.username,
        "email": user.email,
        "hashed_password": user.password_hash,
        "full_name": user.full_name,
        "disabled": user.disabled,
        "created_at": naive(user.created_at),
    }


def _old_items(user: User, state: State) -> list[dict[str, object]]:
    items = (state["items"].by_id[number] for number in state["items"].by_owner[user.id])
    return [
        {
            "id": item.id,
            "title": item.title,
            "description": item.description,
            "owner": user.username,
            "created_at": naive(item.created_at),
        }
        for item in items
    ]
