"""Read db.json, the data file of the service that this server replaces.

Texts are read unchanged: the rules for requests do not apply. A value that cannot be imported
unchanged becomes a `Fault` with its place, and the contents have the value that ``--mend`` replaces
it with, so that one pass serves both modes. `docs/importing.md` lists every rule.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import msgspec

from eventapi.cli.db_json import MAX_ID, Contents, Fault, Note, OldItem, OldUser, Refused
from eventapi.values.times import record_time
from events.vocabulary.password_hashes import check_hash

MAX_NAME_CHARACTERS: Final = 254
"""A login accepts no longer username."""

KEPT_NAME_CHARACTERS: Final = 240
"""A longer username is cut to this length, so that a suffix such as ``-2`` fits."""

EMPTY_NAME_REPLACEMENT: Final = "user"
"""Replaces an empty username."""

TEXT_BYTES: Final = 46_000
"""Maximum for the texts of one event, as JSON in UTF-8: sealed, they fill a line of the log."""

FIRST_TEXT_BYTES: Final = TEXT_BYTES // 2
"""Maximum for the first of two texts; the second one may use the remaining bytes."""

_MAX_DIGITS: Final = 1_000
_MAX_QUOTED_CHARACTERS: Final = 60

_USER_MEMBERS: Final = frozenset(
    ("username", "email", "hashed_password", "full_name", "disabled", "created_at")
)
_ITEM_MEMBERS: Final = frozenset(("id", "title", "description", "owner", "created_at"))

_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_\-]+", re.ASCII)
_NO_UTF8: Final = re.compile(r"[\ud800-\udfff]")
_NO_NAME: Final = re.compile(r"[\0\ud800-\udfff]")
_REPLACEMENT: Final = "\ufffd"

_TRUE: Final = frozenset(("1", "1.0", "on", "t", "true", "y", "yes"))
_FALSE: Final = frozenset(("0", "0.0", "off", "f", "false", "n", "no"))
"""The words that pydantic, and so the old service, accepts as true and false."""

_NOT_IMPORTED: Final = "is unknown; it is not imported"
_NOT_A_TEXT: Final = "must be a string, but is "
_LOCKED: Final = "no password opens the account"


def read(content: bytes) -> Contents:
    """Read a file; raises `Refused` if it is not JSON or lacks one of the two objects."""
    return _Reader().contents(_parse(content))


class _Object(dict[str, Any]):
    """A JSON object that records repeated keys; the last value counts."""

    def __init__(self, pairs: Sequence[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counts = Counter(key for key, _ in pairs) if len(self) < len(pairs) else {}
        self.repeated = [key for key, count in counts.items() if count > 1]


def _parse(content: bytes) -> object:
    """Read JSON as the old service did: with NaN, lone surrogates and repeated keys."""
    if not content.strip():
        raise Refused([Fault("", "the file is empty")])
    try:
        text = content.decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=_Object, parse_int=_number)
    except UnicodeDecodeError as error:
        raise Refused([Fault("", f"the file is not UTF-8: byte {error.start}")]) from None
    except ValueError as error:
        raise Refused([Fault("", f"the file is not JSON: {error}")]) from None
    except RecursionError:
        raise Refused([Fault("", "the file is nested too deeply")]) from None


def _number(digits: str) -> int | float:
    """Convert an integer; one that is too long for `int` becomes a float."""
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


class _Reader:
    """Reads a file in one pass, and continues after a fault to report all of them."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._notes: list[Note] = []

    def _add_fault(self, place: str, detail: str, remedy: str) -> None:
        self._faults.append(Fault(place, detail, remedy))

    def _add_note(self, place: str, detail: str) -> None:
        self._notes.append(Note(place, detail))

    def contents(self, raw: object) -> Contents:
        sections = self._sections(raw)
        users = list(self._users(sections["users"]))
        items = list(self._items(sections["items"], {user.key for user in users}))
        return Contents(users, items, self._faults, self._notes)

    def _sections(self, raw: object) -> Mapping[str, _Object]:
        names = ("users", "items")
        if not isinstance(raw, _Object):
            raise Refused([Fault("", "the file must be an object with `users` and `items`")])
        wrong = [
            Fault(name, "must be an object" if name in raw else "is missing")
            for name in names
            if not isinstance(raw.get(name), _Object)
        ]
        if wrong:
            raise Refused(wrong)
        self._note_unknown_members(raw, names, "")
        for name in names:
            self._add_repeated_keys(raw[name], name)
        return {name: raw[name] for name in names}

    def _add_repeated_keys(self, members: _Object, place: str) -> None:
        for key in members.repeated:
            self._add_fault(_member_place(place, key), "appears more than once", "is the last one")

    def _note_unknown_members(self, members: _Object, known: Collection[str], place: str) -> None:
        self._add_repeated_keys(members, place)
        for key in members:
            if key not in known:
                self._add_note(_member_place(place, key), _NOT_IMPORTED)

    def _users(self, raw: _Object) -> Iterator[OldUser]:
        for key, members in raw.items():
            place = _member_place("users", key)
            if not isinstance(members, _Object):
                self._add_fault(place, "must be an object", "is left out")
                continue
            self._note_unknown_members(members, _USER_MEMBERS, place)
            yield self._user(key, members, place)

    def _user(self, key: str, members: _Object, place: str) -> OldUser:
        name = self._name(key, members, f"{place}.username")
        email = self._email(members.get("email"), f"{place}.email")
        password_hash = self._hash(members.get("hashed_password"), f"{place}.hashed_password")
        disabled = self._disabled(members.get("disabled"), f"{place}.disabled")
        full_name = self._optional(members, "full_name", place, TEXT_BYTES - _json_bytes(email))
        created_at = self._time(members.get("created_at"), f"{place}.created_at")
        return OldUser(place, key, name, email, password_hash, full_name, disabled, created_at)

    def _name(self, key: str, members: _Object, place: str) -> str:
        """The key of the user, because the old service compared the key at a login."""
        username = members.get("username")
        if username is not None and username != key:
            detail = f"is {_quote(username)}, but the key is {_quote(key)}"
            self._add_fault(
                place, detail, f"becomes the key, {_quote(key)}, the name for the login"
            )
        name = _NO_NAME.sub(_REPLACEMENT, key)
        if name != key:
            detail = "contains NUL or a lone surrogate, which a command line or file cannot contain"
            self._add_fault(place, detail, f"becomes {_quote(name)}")
        if len(name) > MAX_NAME_CHARACTERS:
            detail = f"has {len(name):,} characters; a login accepts {MAX_NAME_CHARACTERS}"
            self._add_fault(place, detail, f"is cut to its first {KEPT_NAME_CHARACTERS} characters")
            return name[:KEPT_NAME_CHARACTERS]
        if not name:
            self._add_fault(place, "is empty", f"becomes '{EMPTY_NAME_REPLACEMENT}'")
        return name or EMPTY_NAME_REPLACEMENT

    def _email(self, value: object, place: str) -> str:
        if value is None or value == "":
            self._add_note(place, "is missing; the account has no address")
            return ""
        email = self._text(value, place)
        if _json_bytes(email) <= FIRST_TEXT_BYTES:
            return email
        detail = _too_long(email, FIRST_TEXT_BYTES)
        self._add_fault(place, detail, "is left empty; the account has no address")
        return ""

    def _hash(self, value: object, place: str) -> str:
        if value is None or value == "":
            self._add_note(place, f"is missing; {_LOCKED}")
            return ""
        try:
            check_hash(_require_text(value))
            return _require_text(value)
        except ValueError as error:
            self._add_fault(place, str(error), f"is left empty; {_LOCKED}")
            return ""

    def _disabled(self, value: object, place: str) -> bool:
        if value is None or isinstance(value, bool):
            return bool(value)
        word = value.lower() if isinstance(value, str) else _quote(value)
        if word not in _TRUE and word not in _FALSE:
            self._add_fault(place, f"must be true or false, but is {_quote(value)}", "becomes true")
            return True
        self._add_note(place, f"is {_quote(value)}; it is read as {_quote(word in _TRUE)}")
        return word in _TRUE

    def _time(self, value: object, place: str) -> str | None:
        if value is None:
            self._add_note(place, "is missing; the time of the import is used")
            return None
        try:
            return _record_time(_require_text(value))
        except ValueError as error:
            self._add_fault(place, str(error), "becomes the time of the import")
            return None

    def _items(self, lists: _Object, users: Collection[str]) -> Iterator[OldItem]:
        for owner, raw in lists.items():
            place = _member_place("items", owner)
            if not isinstance(raw, list):
                self._add_fault(place, "must be a list", "is left out")
            elif owner not in users:
                if raw:
                    detail = f"has {len(raw):,} items, but the file has no such user"
                    self._add_fault(place, detail, "is left out")
            else:
                for index, members in enumerate(raw):
                    yield from self._item(owner, members, f"{place}[{index}]")

    def _item(self, owner: str, members: object, place: str) -> Iterator[OldItem]:
        if not isinstance(members, _Object):
            self._add_fault(place, "must be an object", "is left out")
            return
        self._note_unknown_members(members, _ITEM_MEMBERS, place)
        named = members.get("owner")
        if named is not None and named != owner:
            detail = f"is {_quote(named)}, but the item is in the list of {_quote(owner)}"
            self._add_fault(f"{place}.owner", detail, f"becomes {_quote(owner)}")
        number = self._id(members.get("id"), f"{place}.id")
        title = self._title(members.get("title"), f"{place}.title")
        description = self._optional(members, "description", place, TEXT_BYTES - _json_bytes(title))
        created_at = self._time(members.get("created_at"), f"{place}.created_at")
        yield OldItem(owner, number, title, description, created_at)

    def _id(self, value: object, place: str) -> int | None:
        if value is None:
            self._add_note(place, "is missing; the item gets a new number")
            return None
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_ID:
            return value
        detail = f"must be a whole number from 1 to {MAX_ID:,}, but is {_quote(value)}"
        self._add_fault(place, detail, "becomes a new number")
        return None

    def _title(self, value: object, place: str) -> str:
        if value is None:
            self._add_note(place, "is missing; the title is empty")
            return ""
        return self._cut_to_fit(self._text(value, place), FIRST_TEXT_BYTES, place)

    def _optional(self, members: _Object, name: str, place: str, room: int) -> str | None:
        value = members.get(name)
        place = f"{place}.{name}"
        return None if value is None else self._cut_to_fit(self._text(value, place), room, place)

    def _text(self, value: object, place: str) -> str:
        """A string with lone surrogates replaced by U+FFFD; a number becomes its digits."""
        if not isinstance(value, str):
            text = json.dumps(value) if isinstance(value, int | float) else ""
            remedy = f"becomes {_quote(text)}" if text else "is left empty"
            self._add_fault(place, _NOT_A_TEXT + _quote(value), remedy)
            return text
        text = _NO_UTF8.sub(_REPLACEMENT, value)
        if text != value:
            detail = "contains a lone surrogate, which UTF-8 cannot encode"
            self._add_fault(place, detail, "gets U+FFFD in its place")
        return text

    def _cut_to_fit(self, text: str, room: int, place: str) -> str:
        """Cut a text to the bytes that fit in a line of the log, and append a remark."""
        if _json_bytes(text) <= room:
            return text
        most = len(text)
        least = kept = 0
        while least <= most:
            middle = (least + most) // 2
            if _json_bytes(_cut_with_remark(text, middle)) <= room:
                kept, least = middle, middle + 1
            else:
                most = middle - 1
        detail = _too_long(text, room)
        self._add_fault(place, detail, f"is cut to {kept:,} characters and a remark at their end")
        return _cut_with_remark(text, kept)


def _require_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(_NOT_A_TEXT + _quote(value))  # noqa: TRY004 - a fault of the file
    return value


def _cut_with_remark(text: str, kept: int) -> str:
    return f"{text[:kept]}… [cut by the import: {kept:,} of {len(text):,} characters]"


def _too_long(text: str, room: int) -> str:
    return f"takes {_json_bytes(text):,} bytes; a line of the log has room for {room:,}"


def _json_bytes(text: str) -> int:
    """The bytes of a text as JSON in UTF-8."""
    return len(msgspec.json.encode(text))


def _record_time(text: str) -> str:
    """Convert an ISO 8601 time or date to a record's form; raises `ValueError`."""
    with suppress(ValueError):
        return record_time(text, zone_needed=False)
    try:
        # Accepts a date alone, and an offset without a colon.
        return record_time(datetime.fromisoformat(text).isoformat(), zone_needed=False)
    except ValueError:
        detail = f"must be an ISO 8601 date and time that exists, but is {_quote(text)}"
        raise ValueError(detail) from None


def _quote(value: object) -> str:
    """A value for a message: shortened and printable."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = repr(value) if isinstance(value, str) else json.dumps(value)
    is_short = len(text) <= _MAX_QUOTED_CHARACTERS
    return text if is_short else f"{text[: _MAX_QUOTED_CHARACTERS - 1]}…"


def _member_place(place: str, key: str) -> str:
    if not _PLAIN_KEY.fullmatch(key):
        return f"{place}[{json.dumps(key)}]"
    return f"{place}.{key}" if place else key
