"""What happened on an account: every type of event, its device, its pages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import UNSET

from eventapi.commands.users import EraseUser, GrantRole, UpdateProfile
from eventapi.journal.origin import Origin
from eventapi.queries import account_events
from eventapi.queries.history import RECORDS_PER_READ
from eventapi.testing.given import Happened, at
from eventapi.testing.sample_log import SAMPLE_SESSION, write
from events.vocabulary.keys import KeyRevoked
from events.vocabulary.sessions import SessionEnded, SessionRefreshed, SessionStarted
from tests.eventapi.account_events import (
    ABOUT_ACCOUNTS,
    HIDDEN,
    LAPTOP,
    PHONE,
    SCRIPT,
    life_of_account,
)
from tests.eventapi.http.client import OPERATOR, Api, Caller, assert_problem, items_of
from tests.eventapi.queries.test_history import CountingLog

PATH = "/auth/me/events"


def api_after(history: list[Happened]) -> Api:
    """An app whose log has a history."""
    written = write(history)
    log = CountingLog(written.lines, written.log.head)
    return Api(log=log, vault=asyncio.run(written.vault()))


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    history = life_of_account(1, "ann") + life_of_account(2, "bob")
    with api_after(history) as running:
        yield running


@pytest.fixture(scope="module")
def ann(api: Api) -> Caller:
    """A user to whom everything happened, and who logged in after that."""
    return Caller(api, "ann", api.login("ann").json())


def test_control_the_life_of_an_account_has_every_type() -> None:
    assert {type(event) for _, event in life_of_account(1, "ann")} == ABOUT_ACCOUNTS


def by_type(caller: Caller) -> dict[str, dict[str, Any]]:
    """The first event of each type."""
    return {one["type"]: one for one in items_of(caller.get(PATH))}


def test_every_type_of_event_but_refreshes_is_listed(ann: Caller, prefix: str) -> None:
    found = items_of(ann.under(prefix).get(PATH))

    assert {one["type"] for one in found} == {
        event.type for event in ABOUT_ACCOUNTS - {SessionRefreshed}
    }
    positions = [one["position"] for one in found]
    assert positions == sorted(positions, reverse=True)


def test_no_secret_is_listed(ann: Caller) -> None:
    text = ann.get(PATH).text

    assert [hidden for hidden in HIDDEN if hidden in text] == []
    assert "hash" not in text


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("user.registered", {"username": "ann", "email": "ann@old", "full_name": "A Name"}),
        ("user.updated", {"full_name": None}),
        ("user.email_changed", {"email": "ann@example.org", "full_name": "B"}),
        ("user.email_verified", {"email": "ann@example.org"}),
        ("user.role_granted", {"role": "auditor"}),
        ("user.role_revoked", {"role": "auditor"}),
        ("key.created", {"name": "my key", "scopes": ["read"], "expires_at": at(99_000)}),
        ("security.login_failed", {"window": at(600), "count": 3}),
        ("audit.opened", {"position": 1}),
        *(
            (event.type, None)
            for event in sorted(ABOUT_ACCOUNTS, key=lambda event: event.type)
            if event.type.startswith(("session.", "user.totp", "user.pass", "user.sec"))
            and event is not SessionRefreshed
        ),
    ],
)
def test_an_event_has_the_values_that_changed(
    ann: Caller, kind: str, changes: dict[str, Any] | None
) -> None:
    assert by_type(ann)[kind].get("changes") == changes


@pytest.mark.parametrize(
    ("kind", "device", "named"),
    [
        ("session.ended", LAPTOP, {"session": "ann2", "reason": "logout"}),
        ("user.password_changed", LAPTOP, {"session": "ann2", "reason": "changed"}),
        ("user.password_reset_requested", LAPTOP, {}),
        ("user.email_verification_requested", PHONE, {}),
        ("key.used", SCRIPT, {"key": "ann3"}),
        ("key.revoked", SCRIPT, {"key": "ann3"}),
        ("key.created", None, {"key": "ann3"}),
        ("user.disabled", None, {}),
        ("security.login_failed", PHONE, {}),
        ("audit.opened", None, {}),
    ],
)
@pytest.mark.parametrize("query", ["", "?order=asc"])
def test_an_event_has_the_device_of_its_request_or_of_its_session_or_key(
    ann: Caller, kind: str, device: Any, named: dict[str, str], query: str
) -> None:
    found = {one["type"]: one for one in items_of(ann.get(PATH + query))}[kind]

    expected = (
        {} if device is None else {"address": device.address, "user_agent": device.user_agent}
    )
    names = ("address", "user_agent", "session", "key", "reason")
    shown = {name: found[name] for name in names if name in found}
    if shown.get("session") == SAMPLE_SESSION:
        del shown["session"]  # Every third line of a sample log has it.
    assert shown == expected | named


@pytest.mark.parametrize("limit", [1, 3, RECORDS_PER_READ, 1000])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_the_pages_together_are_all_events(
    ann: Caller, prefix: str, limit: int, order: str
) -> None:
    me = ann.under(prefix)
    pages = [items_of(one) for one in me.pages(f"{PATH}?order={order}&limit={limit}")]

    every = items_of(me.get(f"{PATH}?order={order}"))
    assert [one for page in pages for one in page] == every
    assert all(len(page) <= limit for page in pages)


def test_only_version_2_has_an_envelope(ann: Caller) -> None:
    assert isinstance(ann.get(PATH).json(), list)
    page = ann.under("/api/v2").get(f"{PATH}?limit=1")
    assert page.json()["next"] == page.links["next"]["url"]
    assert ann.under("/api/v2").get(PATH).json()["next"] is None


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "after=-1", "order=up", "x=1"])
def test_a_bad_query_is_refused(ann: Caller, query: str) -> None:
    assert_problem(ann.get(f"{PATH}?{query}"), 422, "validation-failed")


def test_events_of_other_users_are_never_listed(api: Api, ann: Caller) -> None:
    bob = Caller(api, "bob", api.login("bob").json())
    mine, theirs = (
        {one["position"] for one in items_of(caller.get(PATH))} for caller in (ann, bob)
    )

    assert mine
    assert theirs
    assert not mine & theirs


def test_an_event_by_an_operator_names_the_operator(new_api: Api) -> None:
    caller = new_api.caller()
    new_api.execute(GrantRole(caller.name, "auditor", OPERATOR))

    newest = items_of(caller.get(PATH))[0]

    assert (newest["type"], newest["actor"]) == ("user.role_granted", OPERATOR)


def test_without_a_session_and_after_the_erasure_nothing_is_listed(new_api: Api) -> None:
    caller = new_api.caller()
    assert_problem(new_api.request("GET", PATH), 401, "unauthenticated")
    new_api.execute(EraseUser(caller.name, OPERATOR))
    assert_problem(caller.get(PATH), 401, "unauthenticated")


def busy_account(refreshes: int) -> list[Happened]:
    """An account whose session was refreshed often before it ended."""
    session = "sessions/busy"
    return [
        life_of_account(1, "ann")[0],
        (session, SessionStarted(1, at(99_000), "hash", personal=PHONE)),
        *[(session, SessionRefreshed(at(99_000), "hash"))] * refreshes,
        (session, SessionEnded("logout")),
    ]


def test_a_page_reads_a_bounded_number_of_lines_and_links_to_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(account_events, "_MAX_LINES", 2 * RECORDS_PER_READ)
    monkeypatch.setattr(account_events, "_MAX_EARLIER_LINES", RECORDS_PER_READ)
    with api_after(busy_account(200)) as api:
        me = Caller(api, "ann", api.login("ann").json())
        me.get("/auth/me")
        assert isinstance(api.log, CountingLog)
        before = api.log.lines_read
        first = me.get(PATH)
        read = api.log.lines_read - before
        found = [one["type"] for page in me.pages(PATH) for one in items_of(page)]

    # Each read begins with the line before, for its hash.
    assert read <= 3 * RECORDS_PER_READ + 3
    assert "next" in first.links
    assert found == ["session.started", "session.ended", "session.started", "user.registered"]


def test_the_device_of_an_ended_session_is_found_on_an_earlier_page() -> None:
    with api_after(busy_account(50)) as api:
        me = Caller(api, "ann", api.login("ann").json())

        ended = items_of(me.get(f"{PATH}?limit=2"))[1]

    assert (ended["type"], ended["address"]) == ("session.ended", PHONE.address)


def test_an_event_of_a_request_with_a_key_names_the_key_and_its_device() -> None:
    history = [one for one in life_of_account(1, "ann") if one[1] != KeyRevoked()]
    with api_after(history) as api:
        command = UpdateProfile(1, UNSET, "Another Name")
        journal = api.edge.services.journal
        origin = Origin("a-request", credential="keys/ann3")
        api.run(journal.execute(command, origin))
        me = Caller(api, "ann", api.login("ann").json())

        changed = items_of(me.get(PATH))[1]

    assert (changed["type"], changed["key"]) == ("user.updated", "ann3")
    assert (changed["address"], changed["user_agent"]) == (SCRIPT.address, SCRIPT.user_agent)


def test_an_event_of_a_request_in_a_session_names_the_session_and_its_device(new_api: Api) -> None:
    me = new_api.caller()
    assert me.patch("/auth/me", json={"full_name": "Another Name"}).status_code == 200

    changed, started = items_of(me.get(PATH))[:2]

    assert (changed["type"], changed["session"]) == ("user.updated", me.session_id)
    assert started["type"] == "session.started"
    for name in ("address", "user_agent"):
        assert changed[name] == started[name]


def test_the_session_of_an_operator_is_not_shown_to_the_user(new_api: Api) -> None:
    operator, me = new_api.caller(), new_api.caller()
    new_api.execute(GrantRole(operator.name, "operator", OPERATOR))
    body = {"roles": ["auditor"]}
    path = f"/api/v2/users/{me.owner_id(me.create())}"
    assert operator.patch(path, json=body).status_code == 200

    granted = items_of(me.get(PATH))[0]

    assert granted["type"] == "user.role_granted"
    assert granted.keys() & {"address", "user_agent", "session", "key"} == set()
