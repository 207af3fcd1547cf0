"""The differences of two folds, by comparing all of their tables.

It shares no code with `eventapi.queries.differences`: the values come from the rows of the tables.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from projections.state import State

Found = dict[str, Any]

_HIDDEN = {"password_hash", "secret_hash", "previous_secret_at", "began", "updated_at"}
_SEALED_OF_USER = {"username", "email", "pending_email", "full_name"}
_ABSENT: Any = object()


class Moment:
    """The rows of a fold, and where its erased users and deleted resources ended."""

    def __init__(self, state: State) -> None:
        self.rows = dict(_rows(state))
        self.erased = {
            user.subject: user.version
            for user in state.users.by_id.values()
            if user.status == "erased"
        }
        self.ends = self.erased | {
            f"{collection}/{number}": tombstone.version
            for collection, table in state.resources.items()
            for number, tombstone in table.deleted.items()
        }


def compared_folds(
    before: State, after: State, readable: Collection[str], *, opened: bool
) -> list[Found]:
    """The differences as JSON, by collection and number; ``readable`` users have keys."""
    return compared(Moment(before), Moment(after), readable, opened=opened)


def compared(
    before: Moment, after: Moment, readable: Collection[str], *, opened: bool
) -> list[Found]:
    """Do as `compared_folds`."""
    found = []
    for subject in sorted({*before.rows, *after.rows}, key=_order):
        row, successor = before.rows.get(subject), after.rows.get(subject)
        if (row or {}).get("version") == (successor or {}).get("version"):
            continue
        owner = (row or successor or {})["owner"]
        if row is not None and successor is None and owner in after.erased:
            if subject.startswith("keys/"):
                continue
            if after.ends[subject] == after.erased[owner]:
                found.append(_erasure(subject, after.erased[owner]))
                continue
        row, successor = (_without_shares(one, after.erased) for one in (row, successor))
        is_readable = not owner or owner in readable
        found.append(_difference(subject, row, successor, is_readable, opened and is_readable))
    return found


def _without_shares(row: Found | None, users: Collection[str]) -> Found | None:
    """The row without what it shares with these users."""
    if row is None or "shares" not in row["clear"]:
        return row
    shares = {user: can for user, can in row["clear"]["shares"].items() if user not in users}
    return row | {"clear": row["clear"] | {"shares": shares}}


def _order(subject: str) -> tuple[str, int, str]:
    collection, name = subject.split("/")
    return (collection, 0, name) if collection == "keys" else (collection, int(name), "")


def _erasure(subject: str, position: int) -> Found:
    return {
        "subject": subject,
        "change": "erased",
        "version": {"after": position},
        "fields": {},
        "sealed": [],
        "readable": False,
    }


def _difference(
    subject: str, row: Found | None, successor: Found | None, readable: bool, shown: bool
) -> Found:
    change = "created" if row is None else "deleted" if successor is None else "changed"
    row, successor = row or {}, successor or {}
    fields = _changed(row.get("clear", {}), successor.get("clear", {}))
    sealed = _changed(row.get("sealed", {}), successor.get("sealed", {}))
    version = {"before": row.get("version"), "after": successor.get("version")}
    return {
        "subject": subject,
        "change": change,
        "version": {when: value for when, value in version.items() if value is not None},
        "fields": fields | (sealed if shown else {}),
        "sealed": [] if shown else sorted(sealed),
        "readable": readable,
    }


def _changed(row: Found, successor: Found) -> Found:
    found = {}
    for name in {**row, **successor}:
        values = {"before": row.get(name, _ABSENT), "after": successor.get(name, _ABSENT)}
        if _text(values["before"]) != _text(values["after"]):
            found[name] = {when: value for when, value in values.items() if value is not _ABSENT}
    return found


def _text(value: Any) -> bytes:
    return b"" if value is _ABSENT else msgspec.json.encode(value, order="sorted")


def _rows(state: State) -> Iterator[tuple[str, Found]]:
    for user in state.users.by_id.values():
        if user.status != "erased":
            factor = state.second_factors.by_user.get(user.id)
            more = {"second_factor": factor is not None and factor.enabled}
            row = _row(user, _SEALED_OF_USER, user.subject, more)
            row["clear"]["roles"] = sorted(row["clear"]["roles"])
            yield user.subject, row
    for key in state.keys.by_id.values():
        row = _row(key, {"name"}, f"users/{key.user}")
        row["clear"]["user"] = f"users/{key.user}"
        yield f"keys/{key.id}", row
    for webhook in state.webhooks.by_id.values():
        yield f"webhooks/{webhook.id}", _row(webhook, set(), "")
    for collection, table in state.resources.items():
        for entity in table.by_id.values():
            users = table.shares.get(entity.id, {})
            shares = {f"users/{user}": can for user, can in users.items()}
            sealed = {field.name for field in table.resource.sealed}
            row = _row(entity, sealed, f"users/{entity.owner}", {"shares": shares})
            row["clear"]["owner"] = f"users/{entity.owner}"
            yield f"{collection}/{entity.id}", row


def _row(row: msgspec.Struct, sealed: set[str], owner: str, more: Found | None = None) -> Found:
    values = {name: getattr(row, name) for name in row.__struct_fields__ if name not in _HIDDEN}
    del values["id"]
    version = values.pop("version")
    values = {name: _as_json(value) for name, value in values.items()} | (more or {})
    return {
        "version": version,
        "owner": owner,
        "clear": {name: value for name, value in values.items() if name not in sealed},
        "sealed": {name: value for name, value in values.items() if name in sealed},
    }


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").zfill(27)
    return msgspec.to_builtins(value)
