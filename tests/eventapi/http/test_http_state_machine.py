"""The server agrees with a dictionary after any sequence of requests and restarts."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import httpx
import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from eventapi.bootstrap.paths import vault_path
from eventapi.bootstrap.storage import SYSTEM
from eventapi.journal.batch import Runtime
from eventapi.journal.journal import Journal
from eventapi.resources.declared import Declared
from events.errors import NotFound
from events.log.file import closed
from events.log.file.log import JsonlLog
from events.log.file.paths import closed_segments
from events.vault.sqlite import SqliteVault
from events.vocabulary.resources import Entity
from projections.state import State
from projections.tables.users import User
from tests.eventapi.http.client import PREFIXES, Api, Caller, quiet_settings
from tests.events.stores import LINES_PER_FRAME, ClosingLog

CONTROLS = "".join(map(chr, (*range(9), *range(11, 32), *range(127, 160))))
BIDI = "".join(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))
characters = st.characters(exclude_categories=["Cs"], exclude_characters=CONTROLS + BIDI)
titles = st.text(characters, min_size=1, max_size=12).filter(
    lambda text: bool(text.strip()) and not set(text) & {"\t", "\n"}
)
descriptions = st.none() | st.text(characters, max_size=12)
contents = st.fixed_dictionaries({"title": titles}, optional={"description": descriptions})
patches = st.fixed_dictionaries({}, optional={"title": titles, "description": descriptions})
names = st.sampled_from(["ann", "bob", "eve"])
prefixes = st.sampled_from(PREFIXES)


class Expected(msgspec.Struct):
    """An item as the model has it."""

    owner: str
    title: str
    description: str | None
    tag: str


class OverHttp(RuleBasedStateMachine):
    """Several users, who create, change, delete, list and read items."""

    numbers: Bundle[int] = Bundle("numbers")
    given_settings: ClassVar[dict[str, Any]] = {}
    log_class: ClassVar[type[JsonlLog]] = JsonlLog
    _environment: Runtime = SYSTEM

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory(prefix="eventapi-")
        data = str(Path(self._directory.name) / "data")
        self._settings = quiet_settings(data=data, **self.given_settings)
        self._users: dict[str, Caller] = {}
        self._items: dict[int, Expected] = {}
        self._last_number = 0
        self._last_position = 0
        self._start()

    def _start(self) -> None:
        log = self.log_class(self._settings.log_path)
        vault = SqliteVault(vault_path(self._settings))
        self._api = Api(self._settings, log=log, vault=vault, environment=self._environment)
        with mock.patch("eventapi.bootstrap.storage.Journal", self._record_journal):
            self._api.__enter__()

    def _record_journal(self, *args: Any, **kwargs: Any) -> Journal:
        """Keep the app's journal, whose state is compared across restarts."""
        self._journal = Journal(*args, **kwargs)
        return self._journal

    def teardown(self) -> None:
        self._api.__exit__(None, None, None)
        self._directory.cleanup()

    # Helpers of the rules

    def _ask(self, name: str, method: str, path: str, **how: Any) -> httpx.Response:
        answer = self._users[name].request(method, path, **how)
        position = answer.headers.get("event-position")
        if position is not None:
            assert int(position) == self._last_position + 1
            self._last_position += 1
        return answer

    def _expected(self, name: str, number: int) -> Expected | None:
        item = self._items.get(number)
        return item if item is not None and item.owner == name else None

    def _assert_shown(self, answer: httpx.Response, number: int) -> None:
        item, shown = self._items[number], answer.json()
        assert (shown["id"], shown["owner"]) == (number, item.owner)
        assert (shown["title"], shown["description"]) == (item.title, item.description)
        assert answer.headers["etag"] == item.tag

    # The rules

    @initialize()
    def register(self) -> None:
        for name in ("ann", "bob", "eve"):
            self._users[name] = self._api.caller(name)
        self._last_position = self._api.log.position

    @rule(target=numbers, name=names, prefix=prefixes, content=contents)
    def create(self, name: str, prefix: str, content: dict[str, Any]) -> int:
        answer = self._ask(name, "POST", f"{prefix}/items", json=content)
        assert answer.status_code == (201 if prefix == "/api/v2" else 200)
        number: int = answer.json()["id"]
        assert number > self._last_number
        self._last_number = number
        self._items[number] = Expected(
            name, content["title"], content.get("description"), answer.headers["etag"]
        )
        self._assert_shown(answer, number)
        return number

    @rule(name=names, prefix=prefixes, number=numbers)
    def read(self, name: str, prefix: str, number: int) -> None:
        answer = self._ask(name, "GET", f"{prefix}/items/{number}")
        if self._expected(name, number) is None:
            assert answer.status_code == 404
        else:
            assert answer.status_code == 200
            self._assert_shown(answer, number)

    @rule(name=names, number=numbers, tag=st.sampled_from(["now", "old", "any"]))
    def read_what_is_known(self, name: str, number: int, tag: str) -> None:
        item = self._expected(name, number)
        given = {"now": item.tag if item else '"1"', "old": '"1"', "any": "*"}[tag]
        answer = self._ask(name, "GET", f"/items/{number}", headers={"if-none-match": given})
        if item is None:
            assert answer.status_code == 404
        else:
            assert answer.status_code == (200 if tag == "old" else 304)

    @rule(name=names, prefix=prefixes, number=numbers, content=contents)
    def put(self, name: str, prefix: str, number: int, content: dict[str, Any]) -> None:
        answer = self._ask(name, "PUT", f"{prefix}/items/{number}", json=content)
        self._changed(answer, name, number, {"description": None} | content)

    @rule(name=names, prefix=prefixes, number=numbers, patch=patches)
    def patch(self, name: str, prefix: str, number: int, patch: dict[str, Any]) -> None:
        answer = self._ask(name, "PATCH", f"{prefix}/items/{number}", json=patch)
        self._changed(answer, name, number, patch)

    @rule(name=names, number=numbers, patch=patches, right=st.booleans())
    def patch_a_version(self, name: str, number: int, patch: dict[str, Any], right: bool) -> None:
        item = self._expected(name, number)
        tag = item.tag if item and right else '"1"'
        answer = self._ask(name, "PATCH", f"/items/{number}", json=patch, headers={"if-match": tag})
        if item is not None and not right:
            assert answer.status_code == 412
        else:
            self._changed(answer, name, number, patch)

    def _changed(
        self, answer: httpx.Response, name: str, number: int, changes: dict[str, Any]
    ) -> None:
        item = self._expected(name, number)
        if item is None:
            assert answer.status_code == 404
            return
        assert answer.status_code == 200
        assert answer.headers["etag"] != item.tag
        self._items[number] = msgspec.structs.replace(item, **changes, tag=answer.headers["etag"])
        self._assert_shown(answer, number)

    @rule(name=names, number=consumes(numbers))
    def delete(self, name: str, number: int) -> None:
        answer = self._ask(name, "DELETE", f"/items/{number}")
        if self._expected(name, number) is None:
            assert answer.status_code == 404
        else:
            assert answer.status_code == 204
            del self._items[number]

    @rule(target=numbers, number=numbers)
    def remember(self, number: int) -> Any:
        """Keep the ids of deleted items in use, because `delete` consumes one of the two."""
        return multiple(number, number)

    @rule(
        name=names,
        prefix=prefixes,
        limit=st.integers(1, 4),
        order=st.sampled_from(["asc", "desc"]),
        q=st.none() | st.sampled_from(["", "a", "A", "0", " "]),
    )
    def walk(self, name: str, prefix: str, limit: int, order: str, q: str | None) -> None:
        numbers: list[int] = []
        path = f"{prefix}/items?limit={limit}&order={order}"
        following: str | None = path if q is None else f"{path}&q={q or ''}".replace(" ", "%20")
        while following is not None:
            answer = self._ask(name, "GET", following)
            assert answer.status_code == 200
            page = answer.json() if prefix != "/api/v2" else answer.json()["items"]
            assert len(page) <= limit
            numbers += [item["id"] for item in page]
            following = answer.links.get("next", {}).get("url")
        expected = [
            number
            for number, item in self._items.items()
            if item.owner == name
            and (
                q is None
                or q.casefold() in item.title.casefold()
                or q.casefold() in (item.description or "").casefold()
            )
        ]
        assert numbers == sorted(expected, reverse=order == "desc")

    @rule(name=names)
    def log_in_anew(self, name: str) -> None:
        assert self._ask(name, "POST", "/auth/logout").status_code == 204
        assert self._ask(name, "GET", "/items").status_code == 401
        tokens = self._api.login(name).json()
        self._last_position += 1
        self._users[name] = msgspec.structs.replace(self._users[name], tokens=tokens)

    @precondition(lambda self: self._last_position)
    @rule()
    def restart(self) -> None:
        before = self._sums()
        self._api.__exit__(None, None, None)
        self._start()
        self._users = {
            name: msgspec.structs.replace(user, api=self._api) for name, user in self._users.items()
        }
        assert self._sums() == before

    def _sums(self) -> tuple[str, str, int]:
        """Digest and checksum of the live state, and its position."""
        state = self._api.run(self._journal.state())
        return state.digest(), state.checksum(), state.position

    @invariant()
    def every_event_was_acknowledged(self) -> None:
        if self._last_position:
            assert self._api.log.position == self._last_position


WALKS = settings(max_examples=max(2, settings().max_examples // 5), stateful_step_count=20)


def test_the_server_agrees_with_a_dictionary() -> None:
    run_state_machine_as_test(OverHttp, settings=WALKS)


class OverSegments(OverHttp):
    """The same, over a log that closes a segment after every few events."""

    log_class = ClosingLog

    def teardown(self) -> None:
        try:
            path = self._settings.log_path
            assert self._last_position <= LINES_PER_FRAME or closed_segments(path)
        finally:
            super().teardown()


def test_the_server_agrees_with_a_dictionary_over_closed_segments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(closed, "LINES_PER_FRAME", LINES_PER_FRAME)
    run_state_machine_as_test(OverSegments, settings=WALKS)


@pytest.mark.long
def test_control_a_server_that_shows_items_of_other_users_is_detected() -> None:
    def any_item(_: Declared, state: State, __: User | None, number: int) -> Entity:
        item = state["items"].by_id.get(number)
        if item is None:
            raise NotFound
        return item

    brief = settings(
        WALKS,
        max_examples=100,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        database=None,
    )
    with (
        mock.patch("eventapi.http.routes.resources.readable", any_item),
        pytest.raises(AssertionError),
    ):
        run_state_machine_as_test(OverHttp, settings=brief)
