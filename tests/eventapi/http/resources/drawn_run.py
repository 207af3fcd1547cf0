"""Play writes to a drawn kind against a real app over HTTP, and compare it with the plain model."""

from __future__ import annotations

import datetime as dt
import enum
import json
import operator
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, Final, Self

import httpx
import msgspec

from eventapi.queries.selection import Column, columns_of
from eventapi.resources.declared import Declared
from eventapi.resources.registry import Registry
from events.log.memory import MemoryLog
from events.sealing import Keyring
from events.vault.memory import MemoryVault
from projections.replay import replay
from projections.snapshots import Snapshots
from tests.eventapi.http.client import Caller
from tests.eventapi.http.resources.drawn_model import Model, Moment, Step
from tests.eventapi.http.resources.server import V2, ResourceApi

ROLES: Final[Mapping[str, Sequence[str]]] = {"ann": ["operator"], "ben": [], "eve": ["auditor"]}
VIEWERS: Final = ("", *ROLES)
_STATUS: Final = {"create": 201, "delete": 204, "unshare": 204}
_METHOD: Final = {
    "replace": "PUT",
    "change": "PATCH",
    "delete": "DELETE",
    "share": "PUT",
    "unshare": "DELETE",
}
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "prefix": str.startswith,
    "contains": operator.contains,
}
_STAMPS: Final = ("owner", "created_at", "updated_at", "version")


class Run:
    """An app that serves one kind, its users, and the model of what they wrote."""

    def __init__(self, resource: type[Any], snapshots: Snapshots, registry: Registry) -> None:
        self.registry = registry
        self.kind: Declared = registry.resources[1]
        self.types = {field.name: field.type for field in self.kind.type.fields}
        self.model = Model(resource, ROLES)
        self.snapshots = snapshots
        self.log, self.vault = MemoryLog(), MemoryVault()
        self.api = self._new_app()
        self.callers: dict[str, Caller] = {}

    def _new_app(self) -> ResourceApi:
        return ResourceApi(self.registry, log=self.log, vault=self.vault, snapshots=self.snapshots)

    def __enter__(self) -> Self:
        self.api.__enter__()
        self.callers = {name: self.api.user(name, *roles) for name, roles in ROLES.items()}
        self.api.user("root", "operator")  # The last operator could not be erased.
        self.model.remember(self.log.position)
        return self

    def __exit__(self, *error: object) -> None:
        self.api.__exit__(None, None, None)

    def restart(self) -> None:
        """Stop the app, and start another one over the same log."""
        self.api.__exit__(None, None, None)
        self.api = self._new_app()
        self.api.__enter__()
        self.callers = {
            name: Caller(self.api, name, caller.tokens, V2) for name, caller in self.callers.items()
        }

    def snapshot(self) -> None:
        """Store a snapshot, as the command does."""

        async def take() -> None:
            keyring = Keyring()
            state = await replay(self.log, keyring, self.vault, self.registry.vocabulary)
            with self.snapshots.locked():
                self.snapshots.write(state, keyring, secrets.token_bytes)
            assert self.snapshots.newest(keyring, position=state.position) is not None

        self.api.run(take())

    # Writes

    def write(self, *steps: Step) -> None:
        """Write one step by its own route, or several of one user as a batch."""
        user, before = steps[0].user, self.log.position
        if user in self.model.erased:
            assert self.callers[user].get("/items").status_code == 401
            return
        resolved, places = self._resolved(steps)
        refused, status = self._predicted(resolved)
        if len(resolved) == 1:
            method, path, body = self._request(resolved[0], places[0])
            answer = self.callers[user].request(method, path, **({} if body is None else body))
        else:
            parts = [self._part(step, place) for step, place in zip(resolved, places, strict=True)]
            answer = self.callers[user].post("/batch", json={"requests": parts})
            status = status if refused is not None else 200
        where = f"{resolved}: {answer.status_code} {answer.text}"
        assert answer.status_code == status, where
        moments = self._moments(before)
        assert len(moments) == (0 if refused is not None else len(resolved)), where
        if refused is None:
            for step, moment in zip(resolved, moments, strict=True):
                self.model.remember(moment.position - 1)
                self.model.apply(step, moment)
                self.model.remember(moment.position)
            self._check_written(resolved, answer)
        elif len(resolved) > 1:
            pointers = {fault["pointer"].split("/")[2] for fault in answer.json()["errors"]}
            assert pointers == {str(refused)}, where

    def _resolved(self, steps: Sequence[Step]) -> tuple[list[Step], list[str]]:
        """The steps with the numbers of new rows, and each number as the request names it.

        The number -1 is that of the row that the batch created last.
        """
        found: list[Step] = []
        places: list[str] = []
        last, created, place = len(self.model.rows), 0, "999"
        for index, step in enumerate(steps):
            number = step.number
            if step.what == "create":
                last += 1
                created, place = last, f"${index}"
            if step.what == "create" or (number == -1 and created):
                number = created
            found.append(msgspec.structs.replace(step, number=number if number > 0 else 999))
            places.append(place if number == created else str(found[-1].number))
        return found, places

    def _predicted(self, steps: Sequence[Step]) -> tuple[int | None, int]:
        """The index of the first step that is refused, if any, and the status."""
        trial = deepcopy(self.model) if len(steps) > 1 else self.model
        for index, step in enumerate(steps):
            status = trial.refusal(step)
            if status:
                return index, status
            if len(steps) > 1:
                trial.apply(step, Moment(0, "", ""))
        return None, _STATUS.get(steps[0].what, 200)

    def _request(self, step: Step, place: str) -> tuple[str, str, Any]:
        """Method, path and body of a step; a body is an argument of httpx."""
        path = f"/{self.kind.collection}"
        values = msgspec.to_builtins(dict(step.values))
        body: Any = values
        if step.what != "create":
            path += f"/{place}"
        if step.what in {"share", "unshare"}:
            path += f"/shares/{step.other}"
            body = {"can": step.can}
        elif step.what == "restore":
            path += "/restore"
            body = {"as_of": step.as_of} if step.as_of else None
        elif step.what == "act":
            path += "/change"
            body = {"value": next(iter(values.values()))}
        if step.what in {"delete", "unshare"}:
            body = None
        return _METHOD.get(step.what, "POST"), path, None if body is None else {"json": body}

    def _part(self, step: Step, place: str) -> dict[str, Any]:
        method, path, body = self._request(step, place)
        return {"method": method, "path": path} | ({} if body is None else {"body": body["json"]})

    def _moments(self, before: int) -> list[Moment]:
        """The events about rows that were appended since a position."""
        records = [json.loads(line) for line in self.api.log_lines(before)]
        return [
            Moment(int(record["id"]), record["time"], record["actor"])
            for record in records
            if record["subject"].startswith(f"{self.kind.collection}/")
        ]

    def _check_written(self, steps: Sequence[Step], answer: httpx.Response) -> None:
        assert answer.headers["event-position"] == str(self.log.position)
        if len(steps) == 1:
            parts: list[tuple[int, Any]] = [
                (answer.status_code, answer.json() if answer.content else None)
            ]
        else:
            parts = [(part["status"], part["body"]) for part in answer.json()["responses"]]
        for step, (status, body) in zip(steps, parts, strict=True):
            assert status == _STATUS.get(step.what, 200)
            if step.what == "share":
                assert body == {"username": step.other, "can": step.can}
            elif step.what in {"delete", "unshare"}:
                assert body is None
        last = steps[-1]
        if self.model.rows[last.number]["live"] and last.what not in {"share", "unshare"}:
            self._check_row(parts[-1][1], last.number, self.model.rows[last.number])

    def erase(self, user: str) -> None:
        """Erase a user."""
        if user not in self.model.erased:
            self.model.remember(self.log.position)
            assert self.callers[user].erase().status_code == 204
            self.model.erase(user, self.log.position)
            self.model.remember(self.log.position)

    # Reads

    def check(self) -> None:
        """Compare what every caller can read, now and at every past position, with the model."""
        self.model.remember(self.log.position)
        assert len(self.model.past) == self.log.position + 1
        for user in VIEWERS:
            if user not in self.model.erased:
                self._check_lists(user)
                self._check_single_rows(user)

    def _get(self, user: str, path: str, **params: Any) -> httpx.Response:
        url = f"{V2}/{self.kind.collection}{path}"
        token = self.callers[user].token if user else None
        return self.api.request("GET", url, token=token, params=params)

    def _check_lists(self, user: str) -> None:
        now = self.log.position
        if not user and self.kind.access.read != "public":
            assert self._get(user, "").status_code == 401
            return
        self._check_list(user, now, limit="2", count="true")
        self._check_list(user, now, order="desc")
        for position in range(1, now + 1):
            counted = {"count": "true", "limit": "2"} if position % 2 else {}
            self._check_list(user, position, as_of=str(position), **counted)

    def _check_list(self, user: str, position: int, **params: str) -> None:
        rows = self.model.past[position]
        expected = self.model.listed(user, position)
        expected = expected[::-1] if params.get("order") == "desc" else expected
        found = list(self._listed(user, params, len(expected)))
        assert [row["id"] for row in found] == expected, (user, position, params)
        for row in found:
            self._check_row(row, row["id"], rows[row["id"]])

    def _listed(self, user: str, params: Mapping[str, str], count: int) -> Iterator[dict[str, Any]]:
        """All rows of a list, page by page."""
        answer = self._get(user, "", **params)
        while True:
            assert answer.status_code == 200, (params, answer.text)
            page = answer.json()
            assert page.get("count", count) == count, (params, page)
            yield from page["items"]
            if page["next"] is None:
                return
            token = self.callers[user].token if user else None
            answer = self.api.request("GET", page["next"], token=token)

    def _check_single_rows(self, user: str) -> None:
        unknown = 404 if user or self.kind.access.read == "public" else 401
        assert self._get(user, "/999").status_code == unknown
        for number, row in self.model.rows.items():
            reads = self.model.reads(user, row)
            answer = self._get(user, f"/{number}")
            assert answer.status_code == (200 if reads and row["live"] else unknown), answer.text
            answer = self._get(user, f"/{number}/history")
            assert answer.status_code == (200 if reads else unknown), (user, row, answer.text)
            if reads:
                self._check_history(answer.json(), row)
            if user and user == row["owner"]:
                self._check_past_of(user, number)

    def _check_past_of(self, user: str, number: int) -> None:
        for position, rows in enumerate(self.model.past[1:], 1):
            answer = self._get(user, f"/{number}", as_of=str(position))
            then = rows.get(number)
            if then is None or not then["live"]:
                assert answer.status_code == 404, (position, answer.text)
            else:
                self._check_row(answer.json(), number, then)

    def _check_history(self, entries: Sequence[dict[str, Any]], row: dict[str, Any]) -> None:
        found = [
            (
                one["position"],
                one["time"],
                one["type"],
                one["actor"],
                {name: self._typed(name, value) for name, value in one["changes"].items()},
            )
            for one in entries
        ]
        kind = self.kind.kind
        assert found == [(at, time, f"{kind}.{v}", *rest) for at, time, v, *rest in row["history"]]

    def _check_row(self, found: Mapping[str, Any], number: int, row: dict[str, Any]) -> None:
        assert list(found) == ["id", *self.types, *_STAMPS]
        assert found["id"] == number
        assert {name: self._typed(name, found[name]) for name in self.types} == row["values"]
        assert {name: found[name] for name in _STAMPS} == {name: row[name] for name in _STAMPS}

    def _typed(self, name: str, value: Any) -> Any:
        return msgspec.convert(value, self.types[name])

    # Filters and orders

    def check_filters(self, wanted: Mapping[str, Any]) -> None:
        """Compare lists, filtered by each field and sorted by it, with the model."""
        for user in ROLES:
            if user in self.model.erased:
                continue
            rows = self.model.past[-1]
            numbers = self.model.listed(user, self.log.position)
            for name, column in columns_of(self.kind).items():
                if name not in self.types:
                    continue
                values = {number: rows[number]["values"][name] for number in numbers}
                for how in column.operators:
                    self._check_filter(user, column, how, wanted[name], values)
                if column.is_ordered:
                    self._check_order(user, name, values)

    def _check_filter(
        self, user: str, column: Column, how: str, wanted: Any, values: Mapping[int, Any]
    ) -> None:
        if isinstance(wanted, list) and how == "contains":
            wanted = wanted[0] if wanted else None
        if how == "null":
            wanted = wanted is None
        text = _text_of(wanted)
        if wanted is None or (how == "in" and "," in text):
            return
        expected = [number for number, value in values.items() if _passes(how, value, wanted)]
        params = {f"{column.name}.{how}": text, "fields": "id", "limit": "3", "count": "true"}
        found = [row["id"] for row in self._listed(user, params, len(expected))]
        assert found == expected, (params, values)

    def _check_order(self, user: str, name: str, values: Mapping[int, Any]) -> None:
        def key(number: int) -> tuple[bool, Any]:
            return values[number] is None, 0 if values[number] is None else values[number]

        for sign, descending in (("", False), ("-", True)):
            params = {"sort": f"{sign}{name},id", "limit": "2", "fields": "id"}
            found = [row["id"] for row in self._listed(user, params, 0)]
            assert found == sorted(values, key=key, reverse=descending), (params, values)


def _text_of(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, enum.Enum):
        return str(value.value)
    return value.isoformat() if isinstance(value, dt.date) else str(value)


def _passes(how: str, value: Any, wanted: Any) -> bool:
    """Whether a value passes a filter."""
    if how == "null":
        return (value is None) is wanted
    if how in {"eq", "ne", "in"}:
        return (value == wanted) is (how != "ne")
    return value is not None and _COMPARE[how](value, wanted)
