"""Failed logins, from the request to the event."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from eventapi.commands.users import DisableUser, EraseUser, GrantRole
from eventapi.failed_logins import counter as counting
from eventapi.failed_logins.memory import MemoryFailedLogins
from eventapi.failed_logins.port import MAX_NAMES, FailedLogins
from eventapi.values.times import later
from events.errors import FollowersUnavailable
from events.vocabulary.security import OTHER_NAMES
from events.vocabulary.sessions import Device
from tests.eventapi.failed_logins.clocked import START, Clocked
from tests.eventapi.http.client import OPERATOR, PASSWORD, Caller, assert_problem, items_of
from tests.eventapi.http.routes.test_second_factors import Guarded


@pytest.fixture
def site() -> Iterator[Clocked]:
    clocked = Clocked()
    with clocked.api:
        yield clocked


@pytest.fixture
def ann(site: Clocked) -> Caller:
    return site.api.caller("ann")


def fail(site: Clocked, name: str = "ann", times: int = 1) -> None:
    for _ in range(times):
        assert_problem(site.api.login(name, "wrong"), 401, "invalid-credentials")


def test_failed_logins_of_a_window_become_one_event(site: Clocked, ann: Caller) -> None:
    before = site.api.log.position
    fail(site, "ann", 3)
    fail(site, "ANN", 2)
    assert site.api.log.position == before

    site.end_window()

    (event,) = site.events()
    assert (event["subject"], event["actor"]) == ("users/1", "operator/eventapi")
    assert event["sealedfor"] == "users/1"
    assert event["data"].keys() == {"window", "count", "address_hash", "sealed"}
    assert (event["data"]["window"], event["data"]["count"]) == (START, 5)
    assert site.api.log.position == before + 1
    assert site.counted() == []
    site.end_window()
    assert len(site.events()) == 1


def test_a_window_is_recorded_only_once_it_is_over_on_every_instance(
    site: Clocked, ann: Caller
) -> None:
    fail(site)
    for seconds, events in ((0, 0), (599, 0), (60, 0), (1, 1)):
        site.advance(seconds)
        site.record()
        assert len(site.events()) == events


def test_the_next_window_is_another_event(site: Clocked, ann: Caller) -> None:
    site.advance(599)
    fail(site)
    site.advance(1)
    fail(site, times=2)
    site.end_window()
    windows = [(event["data"]["window"], event["data"]["count"]) for event in site.events()]
    assert windows == [(START, 1), (later(START, 600), 2)]


def test_an_unknown_name_is_neither_in_the_store_nor_in_the_log(site: Clocked, ann: Caller) -> None:
    names = ["a password typed here", "nobody@example.org", "x" * 254]
    for name in names:
        fail(site, name)
    counted = site.counted()
    site.end_window()
    events = site.events()

    assert len(events) == 3
    assert all(event["subject"].startswith("security/") for event in events)
    assert all(event["data"].keys() == {"window", "count", "address_hash"} for event in events)
    texts = repr((counted, events))
    assert [text for text in (*names, "127.0.0.1", "python-httpx") if text in texts] == []


def test_the_hash_of_a_name_stays_the_same_in_any_case(site: Clocked, ann: Caller) -> None:
    fail(site, "nobody")
    site.end_window()
    fail(site, "NoBody")
    fail(site, "nobody2")
    site.end_window()
    first, *others = [event["subject"] for event in site.events()]
    assert [other == first for other in others].count(True) == 1


def test_the_device_is_only_opened_with_the_key_of_the_user(site: Clocked, ann: Caller) -> None:
    fail(site)
    assert "127.0.0.1" not in repr(site.counted())
    site.end_window()
    shown = items_of(ann.get("/auth/me/events"))[0]
    assert shown["type"] == "security.login_failed"
    assert (shown["address"], shown["user_agent"][:6]) == ("127.0.0.1", "python")
    assert shown["changes"] == {"window": START, "count": 1}
    assert shown.keys() & {"session", "key"} == set()


def test_the_same_address_has_another_hash_at_each_account(site: Clocked, ann: Caller) -> None:
    site.api.caller("bob")
    for name in ("ann", "bob", "nobody"):
        fail(site, name)
    site.end_window()
    assert len({event["data"]["address_hash"] for event in site.events()}) == 3


def test_a_right_password_of_a_disabled_account_is_counted(site: Clocked, ann: Caller) -> None:
    site.execute(DisableUser("ann", OPERATOR))
    assert_problem(site.api.login("ann"), 403, "account-disabled")
    fail(site)
    assert [(one.subject, one.count) for one in site.counted()] == [("users/1", 2)]


def test_a_wrong_code_of_the_second_factor_is_counted(site: Clocked) -> None:
    guarded = Guarded(site.api)
    challenge = guarded.challenge()
    assert site.counted() == []
    for _ in range(2):
        assert_problem(guarded.finish("000000", challenge), 401, "invalid-credentials")
    assert_problem(guarded.finish("000000", "no challenge"), 401, "invalid-credentials")
    assert [(one.subject, one.count) for one in site.counted()] == [("users/1", 2)]


def test_a_right_login_and_a_wrong_confirmation_are_not_counted(site: Clocked, ann: Caller) -> None:
    assert site.api.login("ann").status_code == 200
    body = {"current_password": "wrong", "new_password": PASSWORD}
    assert ann.post("/auth/password", json=body).status_code in {401, 403}
    assert ann.erase("wrong").status_code in {401, 403}
    assert site.counted() == []


def test_logins_that_a_limit_refuses_are_not_counted() -> None:
    site = Clocked(rate_limit_login="1000/minute")
    with site.api:
        site.api.caller("ann")
        answers = [site.api.login("ann", "wrong").status_code for _ in range(9)]
        assert answers == [401] * 5 + [429] * 4
        assert [one.count for one in site.counted()] == [5]


def test_an_address_cannot_make_many_events_by_many_names(site: Clocked, ann: Caller) -> None:
    for number in range(MAX_NAMES + 20):
        fail(site, f"nobody{number}")
    site.end_window()
    subjects = {event["subject"]: event["data"]["count"] for event in site.events()}
    assert len(subjects) == MAX_NAMES + 1
    assert subjects[OTHER_NAMES] == 20


def test_the_counts_of_an_erased_user_vanish(site: Clocked, ann: Caller) -> None:
    fail(site)
    assert len(site.counted()) == 1
    site.execute(EraseUser("ann", OPERATOR))
    site.api.request("GET", "/health/ready")
    site.end_window()
    assert (site.events(), site.counted()) == ([], [])


def test_the_name_of_an_erased_user_is_unknown(site: Clocked, ann: Caller) -> None:
    site.execute(EraseUser("ann", OPERATOR))
    fail(site)
    assert [one.subject[:9] for one in site.counted()] == ["security/"]


def test_a_crash_between_the_event_and_the_removal_repeats_nothing(
    site: Clocked, ann: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: object) -> None:
        raise FollowersUnavailable("killed")

    fail(site)
    fail(site, "nobody")
    site.advance(1_260)
    with monkeypatch.context() as patched:
        patched.setattr(MemoryFailedLogins, "remove", die)
        with pytest.raises(FollowersUnavailable):
            site.record()
    assert len(site.events()) == len(site.counted()) == 2
    site.record()
    assert (len(site.events()), site.counted()) == (2, [])


def test_two_instances_record_each_window_once(site: Clocked, ann: Caller) -> None:
    log, vault = site.api.log, site.api.vault
    other = Clocked(log, vault)  # type: ignore[arg-type]  # both are in memory
    with other.api:
        other.counter._store = site.store  # As if it were a database.
        fail(site, times=2)
        other.api.run(other.counter.store())
        fail(other, times=3)
        other.counted()
        for one in (site, other):
            one.advance(1_260)
        due = site.counted()
        other.record()
        assert [event["data"]["count"] for event in site.events()] == [5]
        site.api.run(site.store.add(due))  # What the first instance read before.
        site.record()
    assert len(site.events()) == 1


class BrokenStore(MemoryFailedLogins):
    """A store that cannot be reached while a test says so."""

    broken = True

    async def add(self, counts: Sequence[FailedLogins]) -> None:
        if self.broken:
            raise FollowersUnavailable("unreachable")
        await super().add(counts)


def test_without_its_store_a_login_fails_as_before_and_is_counted_later(
    site: Clocked, ann: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = BrokenStore()
    monkeypatch.setattr(site.counter, "_store", store)
    outcomes: list[Any] = []
    monkeypatch.setattr(site.counter, "_count", lambda *what: outcomes.append(what))
    with caplog.at_level(logging.WARNING):
        fail(site, times=2)
        for _ in range(2):
            with pytest.raises(FollowersUnavailable):
                site.api.run(site.counter.store())
        fail(site)
    assert [text for text in caplog.messages if "memory only" in text] or outcomes
    store.broken = False
    assert [one.count for one in site.counted()] == [3]
    assert outcomes[-1] == ("stored", 3)
    assert {outcome for outcome, _ in outcomes[:-1]} == {"delayed"}


def test_while_the_store_is_away_the_memory_is_bounded(
    site: Clocked, ann: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "MAX_WAITING", 3)
    monkeypatch.setattr(site.counter, "_store", BrokenStore())
    outcomes: list[Any] = []
    monkeypatch.setattr(site.counter, "_count", lambda *what: outcomes.append(what))
    for number in range(5):
        site.counter.add(f"name{number}", "192.0.2.1", Device())
    site.counter.add("name0", "192.0.2.1", Device())
    assert outcomes == [("dropped", 1), ("dropped", 1)]
    assert sum(one.count for one in site.counter._waiting.values()) == 4


def test_an_auditor_finds_failed_logins_by_type_and_user(site: Clocked, ann: Caller) -> None:
    fail(site)
    fail(site, "nobody")
    site.end_window()
    auditor = site.api.caller("auditor")
    site.execute(GrantRole("auditor", "auditor", OPERATOR))
    of_all = items_of(auditor.under("/api/v2").get("/audit/events?type=security.login_failed"))
    query = "type=security.login_failed&subject=users/1"
    of_ann = items_of(auditor.under("/api/v2").get(f"/audit/events?{query}"))
    assert (len(of_all), len(of_ann)) == (2, 1)
    opened = auditor.get(f"/audit/events/{of_ann[0]['id']}").json()
    assert opened["personal"]["address"] == "127.0.0.1"


def test_control_seals_in_the_store_open_only_in_their_window(site: Clocked, ann: Caller) -> None:
    fail(site)
    (one,) = site.counted()
    other = replace(one, window=later(START, -600))
    site.api.run(site.store.remove([one]))
    site.api.run(site.store.add([other]))
    site.end_window()
    assert (site.events(), site.counted()) == ([], [])
