"""Attacks by way of passwords and their hashes, each with the control that shows it can be seen."""

from __future__ import annotations

import hashlib
import json
import re
import struct
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import pytest
from argon2 import PasswordHasher
from argon2.low_level import Type

from eventapi.bootstrap import services
from eventapi.cli.db_json_reader import read
from eventapi.commands.users import RegisterUser
from eventapi.ratelimit.shared_counters import SharedCounters
from events.vocabulary.users import Profile
from tests.eventapi.http.client import (
    PASSWORD,
    SECRET,
    Api,
    assert_problem,
    elsewhere,
    quiet_settings,
)

SALT, DIGEST = "c2FsdHNhbHRzYWx0c2FsdA", "aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"
BCRYPT_REST = "EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW"

COSTLY = [
    f"$argon2id$v=19$m=8388608,t=1,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=8,t=4000000000,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=262144,t=256,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=65536,t=1,p=4096${SALT}${DIGEST}",
    f"$2b$31${BCRYPT_REST}",
    f"$2y$15${BCRYPT_REST}",
]
MALFORMED = [
    "",
    "plain",
    "é",
    "\0",
    f"$argon2id$v=19$m=8,t=1,p=1${SALT}$é{DIGEST}",
    f"$argon2id$v=19$m=8,t=1,p=1$é${DIGEST}",
    f"$argon2id$v=19$m=٨,t=1,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=08,t=1,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=0,t=0,p=0${SALT}${DIGEST}",
    f"$argon2id$v=19$m=8,t=1,p=1,keyid=x${SALT}${DIGEST}",
    f"$argon2id$v=99$m=8,t=1,p=1${SALT}${DIGEST}",
    f"$argon2x$v=19$m=8,t=1,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=8,t=1,p=1${SALT}${DIGEST}\n",
    f"$argon2id$v=19$m=8,t=1,p=1${SALT}=${DIGEST}=",
    "$argon2id$v=19$m=8,t=1,p=1$$",
    "$argon2id$",
    "$2b$",
    "$2b$04$short",
    f"$2b$00${BCRYPT_REST}",
    f"$2b$04${BCRYPT_REST[:-1]}é",
    f"$2b$04${BCRYPT_REST}\n",
    f"$2x$04${BCRYPT_REST}",
]


@pytest.fixture
def api() -> Iterator[Api]:
    """An app of the test's own."""
    with Api() as running:
        yield running


def old_hash(password: str, rounds: int = 4) -> str:
    """The bcrypt hash that an older service stored: of the first 72 bytes."""
    return bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(rounds)).decode()


def import_user(api: Api, name: str, stored: str) -> None:
    elsewhere(api, RegisterUser(Profile(name, f"{name}@example.org", stored)))


@pytest.fixture
def work(api: Api, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often which kind of hash was checked; the costs of one are all before its salt."""
    done: Counter[str] = Counter()
    argon2, old = type(api.hasher).verify, bcrypt.checkpw

    def verify(hasher: Any, stored: str, password: str) -> bool:
        done[stored.rsplit("$", 2)[0]] += 1
        assert stored not in COSTLY, "this would take a core for hours"
        return argon2(hasher, stored, password)

    def checkpw(password: bytes, stored: bytes) -> bool:
        done[f"$2b${stored.decode()[4:6]}"] += 1
        assert stored.decode() not in COSTLY, "this would take a core for hours"
        return old(password, stored)

    monkeypatch.setattr(type(api.hasher), "verify", verify)
    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    return done


# Hashes that were stored by somebody else


def test_a_hostile_stored_hash_is_a_wrong_password_for_the_work_of_an_unknown_user(
    api: Api, work: Counter[str]
) -> None:
    api.register("ann")
    hostile = {f"old{number}": stored for number, stored in enumerate(COSTLY + MALFORMED)}
    elsewhere(
        api,
        *(
            RegisterUser(Profile(name, f"{name}@example.org", stored))
            for name, stored in hostile.items()
        ),
    )
    assert_problem(api.login("nobody", "a wrong password"), 401, "invalid-credentials")
    unknown = Counter(work)
    for name, stored in hostile.items():
        assert_problem(api.login(name, stored or "x"), 401, "invalid-credentials")
        work.clear()
        assert_problem(api.login(name, "a wrong password"), 401, "invalid-credentials")
        assert work == unknown, stored
    assert api.login("ann").status_code == 200


@pytest.mark.parametrize("stored", COSTLY + MALFORMED)
def test_a_hostile_hash_is_a_fault_of_an_import_with_its_place(stored: str) -> None:
    user = {
        "username": "ann",
        "email": "ann@example.org",
        "hashed_password": stored,
        "created_at": "2025-10-13T12:00:00",
    }
    contents = read(json.dumps({"users": {"ann": user}, "items": {}}).encode())
    assert [one.password_hash for one in contents.users] == [""]
    faults = [(fault.place, fault.detail) for fault in contents.faults]
    notes = [(note.place, note.detail) for note in contents.notes]
    ((place, detail),) = faults + notes
    assert place == "users.ann.hashed_password"
    if stored in COSTLY:
        assert re.search(r"has (bcrypt's cost|argon2's) .*(the most|4 to 14)", detail)
    else:
        assert detail.startswith(
            ("must be a bcrypt or an argon2 hash", "has bcrypt's cost 0", "is missing")
        )


KINDS = {
    "ann": None,
    "argon2i": PasswordHasher(1, 16, 1, type=Type.I).hash("x"),
    "argon2id": PasswordHasher(2, 32, 2).hash("x"),
    "bcrypt4": old_hash("x", 4),
    "bcrypt5": old_hash("x", 5),
}


def test_a_refused_login_costs_the_same_for_every_kind_of_hash_and_for_unknown_users(
    api: Api, work: Counter[str]
) -> None:
    """A sum of the work of each kind: no other lets nobody tell by time who exists."""
    api.register("ann")
    for name, stored in KINDS.items():
        if stored is not None:
            import_user(api, name, stored)
    done = {}
    for name in ("nobody", *KINDS):
        work.clear()
        assert api.login(name, "a wrong password").status_code == 401
        done[name] = Counter(work)
    assert len(done["nobody"]) == len(KINDS)
    assert set(done["nobody"].values()) == {1}
    assert {name for name, costs in done.items() if costs != done["nobody"]} == set()


def test_the_work_for_a_kind_ends_with_its_last_hash(api: Api, work: Counter[str]) -> None:
    import_user(api, "old", old_hash("old password"))
    import_user(api, "older", old_hash("old password"))
    for name in ("old", "older"):
        api.login("nobody", "a wrong password")
        assert work["$2b$04"] == 1
        assert api.login(name, "old password").status_code == 200
        work.clear()
    api.login("nobody", "a wrong password")
    assert "$2b$04" not in work


# Passwords of which bcrypt sees a part


@pytest.mark.parametrize("tail", ["", "the end", "another end"])
def test_a_password_that_bcrypt_cut_is_accepted_and_never_stored_with_an_unchecked_tail(
    api: Api, tail: str
) -> None:
    import_user(api, "old", old_hash("p" * 72 + "the end"))
    assert api.login("old", "p" * 72 + tail).status_code == 200
    for other in ("the end", "another end", ""):
        assert api.login("old", "p" * 72 + other).status_code == 200
    assert api.login("old", "p" * 71).status_code == 401


@pytest.mark.parametrize("password", ["old password", "p" * 71, "é" * 35])
def test_a_password_that_bcrypt_saw_whole_is_rehashed(
    api: Api, work: Counter[str], password: str
) -> None:
    import_user(api, "old", old_hash(password))
    assert api.login("old", password).status_code == 200
    work.clear()
    assert api.login("old", password).status_code == 200
    assert list(work) == ["$argon2id$v=19$m=8,t=1,p=1"]
    assert api.login("old", password + "x").status_code == 401


# One password, typed on two devices

WORD = "Crème brûlée à la carte"
FORMS = {form: unicodedata.normalize(form, WORD) for form in ("NFC", "NFD")}


@pytest.mark.parametrize("chosen", FORMS)
@pytest.mark.parametrize("typed", FORMS)
def test_a_password_is_the_same_in_either_unicode_form(api: Api, chosen: str, typed: str) -> None:
    api.register("ann", password=FORMS[chosen])
    ann = api.login("ann", FORMS[typed])
    assert ann.status_code == 200
    token = ann.json()["access_token"]
    change = {"current_password": FORMS[typed], "new_password": FORMS[chosen] + "!"}
    answer = api.request("POST", "/auth/password", json=change, token=token)
    assert answer.status_code == 204
    assert api.login("ann", FORMS[typed] + "!").status_code == 200
    erase = {"password": FORMS[typed] + "!"}
    assert api.request("DELETE", "/auth/me", json=erase, token=token).status_code == 204


@pytest.mark.parametrize("kind", ["argon2", "bcrypt"])
def test_a_hash_of_a_decomposed_password_is_good_as_typed_and_then_in_both_forms(
    api: Api, kind: str
) -> None:
    typed = FORMS["NFD"]
    import_user(api, "old", api.hasher.hash(typed) if kind == "argon2" else old_hash(typed))
    assert api.login("old", FORMS["NFC"]).status_code == 401
    assert api.login("old", typed).status_code == 200
    assert api.login("old", FORMS["NFC"]).status_code == 200
    assert api.login("old", typed).status_code == 200


def test_a_second_form_costs_the_same_whether_the_user_exists_or_not(
    api: Api, work: Counter[str]
) -> None:
    api.register("ann")
    import_user(api, "old", old_hash("x"))
    done = []
    for name in ("ann", "old", "nobody"):
        work.clear()
        assert api.login(name, FORMS["NFD"]).status_code == 401
        done.append(Counter(work))
    assert done[0] == done[1] == done[2]


@pytest.mark.parametrize(
    "password",
    [
        unicodedata.normalize("NFD", "é" * 7),  # Seven characters, typed as fourteen.
        "\u0958" * 342,  # 1,026 bytes; twice as many composed.
        "\u0958" * 200,  # 600 bytes, 1,200 in NFC.
    ],
)
def test_the_length_rules_hold_in_both_forms(api: Api, password: str) -> None:
    assert_problem(api.register("ann", password=password), 422, "validation-failed")
    api.register("ann")
    token = api.login("ann").json()["access_token"]
    change = {"current_password": PASSWORD, "new_password": password}
    answer = api.request("POST", "/auth/password", json=change, token=token)
    assert_problem(answer, 422, "validation-failed")


# One account that keeps the threads busy


def flood(name: str, token: str) -> tuple[str, str, dict[str, Any]]:
    """The right password, changed to itself, or told at a login."""
    if name == "change":
        body = {"current_password": PASSWORD, "new_password": PASSWORD}
        return ("POST", "/auth/password", {"json": body, "token": token})
    return ("POST", "/auth/login", {"json": {"username": "mallory", "password": PASSWORD}})


@pytest.mark.parametrize("attack", ["change", "login"])
def test_a_flood_of_one_account_costs_others_no_login(api: Api, attack: str) -> None:
    mallory = api.caller("mallory")
    others = [api.caller(f"other{number}") for number in range(20)]
    logins = [
        ("POST", "/auth/login", {"json": {"username": other.name, "password": PASSWORD}})
        for other in others
    ]
    answers = api.together([flood(attack, mallory.token)] * 90 + logins)
    assert [answer.status_code for answer in answers[90:]] == [200] * 20
    refused = [answer for answer in answers[:90] if answer.status_code == 429]
    assert len(refused) > 40
    for answer in refused:
        assert_problem(answer, 429, "rate-limited")
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["ratelimit"].startswith('"passwords";r=0;')


def test_a_flood_of_registrations_leaves_room_for_logins(api: Api) -> None:
    ann = {"json": {"username": api.caller("ann").name, "password": PASSWORD}}
    accounts = [
        {"username": f"new{n}", "email": f"new{n}@example.org", "password": PASSWORD}
        for n in range(90)
    ]
    flood = [("POST", "/auth/register", {"json": account}) for account in accounts]
    answers = api.together([*flood, *[("POST", "/auth/login", ann)] * 20])
    assert [answer.status_code for answer in answers[90:]] == [200] * 20


# Addresses that are guessed


def test_addresses_are_not_tested_by_a_change_of_ones_own() -> None:
    settings = quiet_settings(rate_limit_login="20/minute")
    with Api(settings) as api:
        ann = api.caller("ann")

        def tested(number: int) -> httpx.Response:
            return ann.patch("/auth/me", json={"email": f"guess{number}@example.org"})

        statuses = Counter(tested(number).status_code for number in range(40))
        assert statuses == {200: 18, 429: 22}, "beside a registration and a login"
        assert_problem(tested(99), 429, "rate-limited")
        assert ann.patch("/auth/me", json={"full_name": "Ann"}).status_code == 200


def test_a_user_with_many_addresses_tests_no_more_of_them() -> None:
    settings = quiet_settings(rate_limit_login="20/minute", trusted_proxies=("127.0.0.1",))
    with Api(settings) as api:
        ann = api.caller("ann")
        statuses = Counter(
            ann.patch(
                "/auth/me",
                json={"email": f"guess{number}@example.org"},
                headers={"x-forwarded-for": f"198.51.100.{number}"},
            ).status_code
            for number in range(40)
        )
        assert statuses == {200: 20, 429: 20}


# What the table of limits tells of the erased


@contextmanager
def limited_by(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """An app in memory whose table of limits is a file."""
    monkeypatch.setattr(services, "SharedCounters", lambda _, secret: SharedCounters(path, secret))
    with Api(quiet_settings(rate_limit_login="1000/minute")) as api:
        yield api


def confirmed(path: Path, names: Iterable[str]) -> set[str]:
    """The names of a dictionary that the file confirms, for whoever has the secret key as well."""
    content = path.read_bytes()
    table = SharedCounters(None, SECRET)
    found = set()
    for name in names:
        hidden = hashlib.blake2b(f"name {name}".encode(), digest_size=16).hexdigest()
        for rate in ("failures", "failures-hour", "email"):
            for key in (f"{rate} 127.0.0.1 {name}", f"{rate} 127.0.0.1 {hidden}"):
                bucket, tag = table._locate(key)
                if tag in struct.unpack_from("=8Q", content, bucket):
                    found.add(name)
    table.close()
    return found


def test_no_dictionary_of_names_confirms_an_erased_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "limits.table"
    with limited_by(path, monkeypatch) as api:
        ann = api.caller("ann")
        api.login("ann", "a wrong password")
        ann.patch("/auth/me", json={"email": "another@example.org"})
        ann.request("DELETE", "/auth/me", json={"password": "a wrong password"})
        erased = ann.request("DELETE", "/auth/me", json={"password": PASSWORD})
        assert erased.status_code == 204
        assert confirmed(path, ["ann", "ann@example.org", "users/1", "1"]) == set()


def test_control_a_name_that_is_counted_as_such_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "limits.table"
    with limited_by(path, monkeypatch) as api:
        api.login("nobody", "a wrong password")
        assert confirmed(path, ["ann", "nobody"]) == {"nobody"}
