"""A plain model of a drawn kind: dicts of rows, and who may do what, by the words of the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Final

import msgspec

from eventapi.resources.declaration import Global, Resource

Row = dict[str, Any]
"""Owner, values, version, times, shares and history of a resource, live or deleted."""


VERBS: Final = {
    "create": "created",
    "replace": "updated",
    "change": "updated",
    "delete": "deleted",
    "restore": "restored",
    "share": "shared",
    "unshare": "unshared",
    "act": "change",
}
"""The last part of an event's type for each kind of step; the drawn action is ``change``."""


class Step(msgspec.Struct, frozen=True):
    """One write of a user. ``number`` 0 is a new row; ``as_of`` 0 is none."""

    what: str
    user: str
    number: int = 0
    values: Mapping[str, Any] = {}
    other: str = ""
    can: str = "read"
    as_of: int = 0


class Moment(msgspec.Struct, frozen=True):
    """Where and when an event is in the log, and the user who caused it."""

    position: int
    time: str
    actor: str


class Model:
    """All rows of one kind, now and at every past position."""

    def __init__(self, cls: type[Resource], roles: Mapping[str, Sequence[str]]) -> None:
        self.cls = cls
        self.roles = roles
        self.rows: dict[int, Row] = {}
        self.past: list[dict[int, Row]] = [{}]
        self.erased: set[str] = set()

    def reads(self, user: str, row: Row) -> bool:
        """Whether a user may read a row; the empty name is a caller without a token."""
        read = self.cls.access.read
        if row["owner"] in self.erased:
            return False
        if read == "public" or not user:
            return read == "public"
        return read in {"users", *self.roles[user]} or user in {row["owner"], *row["shares"]}

    def writes(self, user: str, row: Row) -> bool:
        """Whether a user may change a row."""
        write = self.cls.access.write
        is_writer = row["owner"] == user if write == "owner" else write in self.roles[user]
        return is_writer or row["shares"].get(user) == "write"

    def refusal(self, step: Step) -> int:  # noqa: PLR0911 - a table
        """The status of a refusal; 0 if the step is accepted."""
        write = self.cls.access.write
        if step.what == "create":
            may = write == "owner" or write in self.roles[step.user]
            return 403 if not may else self._taken(step.number, step.user, step.values)
        row = self.rows.get(step.number)
        if row is None or not self.reads(step.user, row):
            return 404
        may_restore = step.what == "restore" and self.writes(step.user, row)
        if not row["live"] and not may_restore and step.what != "unshare":
            return 404
        if step.what in {"share", "unshare"}:
            return self._refused_share(step, row)
        if not self.writes(step.user, row):
            return 403
        if step.what == "restore":
            if not step.as_of and row["live"]:
                return 422
            then = self._restored(step, row)
            return 404 if then is None else self._taken(step.number, row["owner"], then)
        ((name, value), *_) = step.values.items() or (("", None),)
        if step.what == "act" and row["values"][name] == value:
            return 409
        return self._taken(step.number, row["owner"], row["values"] | dict(step.values))

    def _refused_share(self, step: Step, row: Row) -> int:
        if row["owner"] != step.user:
            return 403
        if step.what == "unshare":
            return 0 if step.other in row["shares"] else 404
        if step.other in self.erased:
            return 404
        if step.other == step.user:
            return 422
        return 0 if step.can == "read" or self.writes(step.user, row) else 403

    def _restored(self, step: Step, row: Row) -> Mapping[str, Any] | None:
        at = step.as_of or row["version"] - 1
        then = self.past[at].get(step.number)
        return then["values"] if then is not None and then["live"] else None

    def _taken(self, number: int, owner: str, values: Mapping[str, Any]) -> int:
        """409 if another live row has values that must be unique."""
        for rule in self.cls.unique:
            names = (rule,) if isinstance(rule, str) else rule
            key = [values[name] for name in names]
            if None not in key and any(
                key == [row["values"][name] for name in names]
                for other, row in self.rows.items()
                if row["live"] and other != number
                if isinstance(rule, Global) or row["owner"] == owner
            ):
                return 409
        return 0

    def apply(self, step: Step, at: Moment) -> None:
        """Apply a step that was accepted."""
        row = self.rows.setdefault(
            step.number,
            {"owner": step.user, "created_at": at.time, "shares": {}, "history": [], "values": {}},
        )
        changes: Mapping[str, Any] = step.values
        if step.what == "restore":
            changes = self._restored(step, row) or {}
        elif step.what == "share":
            row["shares"][step.other] = step.can
        elif step.what == "unshare":
            del row["shares"][step.other]
        row["values"] = row["values"] | dict(changes)
        if step.what != "unshare":  # The share of a deleted row may end, which restores nothing.
            row["live"] = step.what != "delete"
        if row["live"] or step.what == "delete":
            row |= {"version": at.position, "updated_at": at.time}
        row["history"].append((at.position, at.time, VERBS[step.what], at.actor, dict(changes)))

    def erase(self, user: str, position: int) -> None:
        """Erase a user: everything of theirs goes, and all that was shared with them."""
        self.erased.add(user)
        for row in self.rows.values():
            row["shares"].pop(user, None)
            if row["owner"] == user and row["live"]:
                row |= {"live": False, "version": position}

    def remember(self, position: int) -> None:
        """Keep the rows as those of all positions up to this one that are not kept yet."""
        self.past += [deepcopy(self.rows)] * (position + 1 - len(self.past))

    def listed(self, user: str, position: int) -> list[int]:
        """The rows that a user may read now and that lived at a position, by number."""
        return [
            number
            for number, row in sorted(self.past[position].items())
            if row["live"] and self.reads(user, self.rows[number])
        ]
