"""What a summary of the state costs: no fold for the present, and each summary once."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from eventapi.cli.opening import state_at
from eventapi.queries import summary
from eventapi.queries.history import History
from eventapi.queries.summary import Summary, summary_of
from events.vault.memory import MemoryVault
from projections.state import State
from tests.eventapi.http.client import Api, Caller, quiet_settings

Made = list[tuple[int, str]]
"""The position and the name of the thread of each summary that was made."""


@pytest.fixture
def api(new_api: Api) -> Api:
    return new_api


@pytest.fixture
def auditor(api: Api) -> Caller:
    return api.auditor("auditor")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    found: Made = []

    def spy(state: State) -> Summary:
        found.append((state.position, threading.current_thread().name))
        return summary_of(state)

    monkeypatch.setattr(summary, "summary_of", spy)
    return found


@pytest.fixture
def folds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The positions of the past states that were folded."""
    found: list[int] = []
    state_at = History.state_at

    def spy(self: History, position: int, *given: Any, **named: Any) -> Any:
        found.append(position)
        return state_at(self, position, *given, **named)

    monkeypatch.setattr(History, "state_at", spy)
    return found


def test_the_present_is_summarized_without_a_fold(
    api: Api, auditor: Caller, made: Made, folds: list[int]
) -> None:
    auditor.create()
    shown = auditor.get("/audit/state").json()
    assert (shown["position"], folds) == (api.log.position, [])
    folded = api.run(state_at(quiet_settings(), api.log, MemoryVault()))
    assert shown["digest"] == folded.digest()
    assert auditor.get(f"/audit/state?as_of={api.log.position}").json() == shown
    assert (len(made), folds) == (1, [])


def test_a_summary_is_made_beside_the_event_loop(auditor: Caller, made: Made) -> None:
    auditor.get("/audit/state")
    assert [name for _, name in made if name == threading.main_thread().name] == []
    assert len(made) == 1


def test_a_summary_is_that_of_one_moment_while_others_write(
    api: Api, auditor: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, wrote = threading.Event(), threading.Event()

    def slow(state: State) -> Summary:
        began.set()
        wrote.wait()
        return summary_of(state)

    async def write() -> None:
        await asyncio.to_thread(began.wait)
        try:
            answer = await api.request_async("POST", "/api/v2/items", json={"title": "t"}, **token)
            assert answer.status_code == 201
        finally:
            wrote.set()

    async def both() -> Any:
        found, _ = await asyncio.gather(api.request_async("GET", "/audit/state", **token), write())
        return found.json()

    token: dict[str, Any] = {"headers": {"authorization": f"Bearer {auditor.token}"}}
    position = api.log.position
    folded = api.run(state_at(quiet_settings(), api.log, MemoryVault()))
    monkeypatch.setattr(summary, "summary_of", slow)
    shown = api.run(both())
    assert (shown["position"], shown["digest"]) == (position, folded.digest())
    assert api.log.position == position + 1


def test_a_summary_is_made_once_until_the_next_event(auditor: Caller, made: Made) -> None:
    first = auditor.get("/audit/state").json()
    assert auditor.get("/audit/state").json() == first
    assert len(made) == 1
    auditor.create()
    assert auditor.get("/audit/state").json()["items"]["live"] == 1
    assert len(made) == 2


def test_callers_at_the_same_time_share_a_summary(api: Api, auditor: Caller, made: Made) -> None:
    wanted = [
        ("GET", "/api/v2/audit/state", {"headers": {"authorization": f"Bearer {auditor.token}"}})
    ] * 8
    answers = api.request_all(wanted)
    assert {answer.status_code for answer in answers} == {200}
    assert len(made) == 1


def test_a_past_state_is_folded_once(auditor: Caller, made: Made, folds: list[int]) -> None:
    auditor.create()
    first = auditor.get("/audit/state?as_of=1").json()
    assert auditor.get("/audit/state?as_of=1").json() == first
    assert (len(made), folds) == (1, [1])


def test_only_so_many_past_summaries_are_remembered(
    auditor: Caller, folds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, "_PAST_SUMMARIES", 1)
    auditor.create()
    for position in (1, 2, 2, 1):
        auditor.get(f"/audit/state?as_of={position}")
    assert folds == [1, 2, 1]


def test_a_frozen_state_stays_while_the_state_moves_on(api: Api, auditor: Caller) -> None:
    item = auditor.create()
    state = api.run(state_at(quiet_settings(), api.log, MemoryVault()))
    frozen, digest = state.frozen(), state.digest()
    auditor.delete(f"/items/{item}")
    api.caller("other").create()
    lines = api.log_lines(after=state.position)
    assert lines
    later = api.run(state_at(quiet_settings(), api.log, MemoryVault()))
    assert later.digest() != digest
    for table in (state.users, state.sessions):
        table.by_id.clear()
    state["items"].by_id.clear()
    assert frozen.digest() == digest != state.digest()
