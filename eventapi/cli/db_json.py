"""The JSON file of the service that this one replaces: its shape, its reading, its writing.

::

    {"users": {"john_doe": {"username": "john_doe", "hashed_password": "$2b$12$...", ...}},
     "items": {"john_doe": [{"id": 1, "title": "First item", "owner": "john_doe", ...}]}}

Times are ISO 8601 in UTC without a zone. What a value may be is what a request may say; of
passwords only hashes are there.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from eventapi.commands.command import Command
from eventapi.commands.items import ImportItem
from eventapi.commands.users import DisableUser, RegisterUser
from eventapi.http.bodies import Description, Email, FullName, Title, Username, normal_email
from eventapi.times import naive, record_time
from eventapi.validation import explain
from events.errors import Invalid
from events.hashes import check_hash
from events.items import Content
from events.users import Profile
from projections.state import State
from projections.users import User, folded

MAX_ID: Final = 2**53 - 1
"""Every reader of JSON has integers up to here, and far above it there is room for new ones."""

_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_\-]+", re.ASCII)


class OldUser(msgspec.Struct, frozen=True):
    """A user of the file; the time in a record's form, the address in its normal one."""

    username: Username
    email: Email
    hashed_password: str
    created_at: str
    full_name: FullName | None = None
    disabled: bool = False


class OldItem(msgspec.Struct, frozen=True):
    """An item of the file; ``owner`` is a username."""

    id: Annotated[int, Meta(ge=1, le=MAX_ID)]
    title: Title
    owner: str
    created_at: str
    description: Description | None = None


class Contents(msgspec.Struct, frozen=True):
    """All that a file holds, in its order."""

    users: Sequence[OldUser]
    items: Sequence[OldItem]


class Flaw(msgspec.Struct, frozen=True):
    """One thing that stands against an import: a place such as ``items.ann[3].title``, and why."""

    place: str
    detail: str


class Refused(Exception):
    """The file cannot be imported; nothing was."""

    def __init__(self, flaws: Sequence[Flaw]) -> None:
        super().__init__("1 flaw" if len(flaws) == 1 else f"{len(flaws)} flaws")
        self.flaws = flaws


def read(content: bytes) -> Contents:
    """What a file holds, each value checked; raises `Refused` with all that is wrong in it."""
    reader = _Reader()
    contents = reader.contents(_parsed(content))
    if reader.flaws:
        raise Refused(reader.flaws)
    return contents


class _Object(dict[str, Any]):
    """A JSON object that knows which of its keys stand there more than once."""

    def __init__(self, pairs: Sequence[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counts = Counter(key for key, _ in pairs) if len(self) < len(pairs) else {}
        self.doubled = [key for key, count in counts.items() if count > 1]


def _parsed(content: bytes) -> object:
    try:
        # The one is strict, the other sees doubled keys.
        msgspec.json.decode(content)
        return json.loads(content, object_pairs_hook=_Object)
    except UnicodeDecodeError as error:
        raise Refused([Flaw("", f"the file is not UTF-8: byte {error.start}")]) from None
    except (msgspec.DecodeError, ValueError) as error:
        raise Refused([Flaw("", f"the file is not JSON: {error}")]) from None
    except RecursionError:
        raise Refused([Flaw("", "the file is nested too deeply")]) from None


def _checked_email(text: str) -> str:
    try:
        return normal_email(text)
    except Invalid as error:
        raise ValueError(error.faults[0].detail) from None


def _checked_hash(text: str) -> str:
    check_hash(text)
    return text


_CHECKS: Mapping[str, Callable[[str], str]] = {
    "email": _checked_email,
    "hashed_password": _checked_hash,
    "created_at": lambda text: record_time(text, zone_needed=False),
}
"""What a type cannot say of a member; each gives the value to keep or raises `ValueError`."""

S = TypeVar("S", bound=msgspec.Struct)


@cache
def _fields(kind: type[msgspec.Struct]) -> Sequence[msgspec.structs.FieldInfo]:
    """The members of a kind; msgspec works them out anew at every call."""
    return msgspec.structs.fields(kind)


class _Reader:
    """One pass over a file that goes on after a flaw, so that all of them are told."""

    def __init__(self) -> None:
        self.flaws: list[Flaw] = []

    def _flaw(self, place: str, detail: str) -> None:
        self.flaws.append(Flaw(place, detail))

    def contents(self, raw: object) -> Contents:
        root = self._object(raw, "")
        if self.flaws:
            return Contents([], [])
        self._unknown(root, {"users", "items"}, "")
        people, lists = (self._required(root, key) for key in ("users", "items"))
        users = self._users(people)
        items = [item for owner in lists for item in self._items(owner, lists[owner])]
        for owner in lists:
            if owner not in people:
                self._flaw(_under("items", owner), "there is no such user in the file")
        return Contents(users, items)

    def _required(self, root: _Object, key: str) -> _Object:
        if key in root:
            return self._object(root[key], key)
        self._flaw(key, "is required")
        return _Object([])

    def _unknown(self, raw: _Object, known: Collection[str], place: str) -> None:
        for key in raw:
            if key not in known:
                self._flaw(_under(place, key), "is not known here")

    def _object(self, raw: object, place: str) -> _Object:
        if not isinstance(raw, _Object):
            self._flaw(place, "must be an object")
            return _Object([])
        for key in raw.doubled:
            self._flaw(_under(place, key), "stands there twice")
        return raw

    def _users(self, raw: _Object) -> list[OldUser]:
        users: list[OldUser] = []
        holders: dict[tuple[str, str], str] = {}
        for key, value in raw.items():
            place = _under("users", key)
            user = self._struct(value, OldUser, place)
            if user is None:
                continue
            if user.username != key:
                self._flaw(f"{place}.username", f"stands under another name: {key!r}")
            for member, text in (("username", user.username), ("email", user.email)):
                holder = holders.setdefault((member, folded(text)), place)
                if holder != place:
                    self._flaw(f"{place}.{member}", f"is that of {holder} too, but for its case")
            users.append(user)
        return users

    def _items(self, owner: str, raw: object) -> list[OldItem]:
        place = _under("items", owner)
        if not isinstance(raw, list):
            self._flaw(place, "must be a list")
            return []
        items: list[OldItem] = []
        for number, value in enumerate(raw):
            item = self._struct(value, OldItem, f"{place}[{number}]")
            if item is None:
                continue
            if item.owner != owner:
                self._flaw(f"{place}[{number}].owner", f"stands in the list of {owner!r}")
            items.append(item)
        return items

    def _struct(self, raw: object, kind: type[S], place: str) -> S | None:
        """The members of an object, each checked for itself; nothing where one is wrong."""
        before = len(self.flaws)
        members = self._object(raw, place)
        if not isinstance(raw, _Object):
            return None
        values = {}
        self._unknown(members, kind.__struct_fields__, place)
        for field in _fields(kind):
            name = field.name
            if name not in members:
                if field.required:
                    self._flaw(f"{place}.{name}", "is required")
                continue
            try:
                value = msgspec.convert(members[name], field.type)
                values[name] = _CHECKS[name](value) if name in _CHECKS else value
            except msgspec.ValidationError as error:
                self._flaw(f"{place}.{name}", explain(error, field.type).detail)
            except ValueError as error:
                self._flaw(f"{place}.{name}", str(error))
        return kind(**values) if len(self.flaws) == before else None


def _under(place: str, key: str) -> str:
    if not _PLAIN_KEY.fullmatch(key):
        return f"{place}[{json.dumps(key)}]"
    return f"{place}.{key}" if place else key


def taken(contents: Contents, state: State) -> list[Flaw]:
    """The names and addresses that somebody has already."""
    flaws = []
    for user in contents.users:
        place = _under("users", user.username)
        if state.users.named(user.username) is not None:
            flaws.append(Flaw(f"{place}.username", "is taken"))
        if state.users.with_email(user.email) is not None:
            flaws.append(Flaw(f"{place}.email", "is taken"))
    return flaws


def commands(contents: Contents, actor: str) -> list[Command]:
    """What brings a file in: users first, then items by their numbers."""
    wishes: list[Command] = []
    for user in contents.users:
        profile = Profile(user.username, user.email, user.hashed_password, user.full_name)
        wishes.append(RegisterUser(profile, actor, user.created_at))
        if user.disabled:
            wishes.append(DisableUser(user.username, actor))
    highest = max((item.id for item in contents.items), default=0)
    for item in sorted(contents.items, key=lambda item: item.id):
        content = Content(item.title, item.description)
        wishes.append(ImportItem(item.owner, content, item.created_at, item.id, highest, actor))
    return wishes


def write(state: State) -> bytes:
    """All users and items of a state as such a file."""
    living = [user for user in state.users.by_id.values() if user.status != "erased"]
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
    items = (state.items.by_id[number] for number in state.items.by_owner[user.id])
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
