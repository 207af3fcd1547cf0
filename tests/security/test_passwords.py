"""Attacks through stored hashes, and passwords in other Unicode forms."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from typing import Any

import bcrypt
import pytest
from argon2 import PasswordHasher
from argon2.low_level import Type

from eventapi.cli.db_json_reader import read
from eventapi.commands.users import RegisterUser
from events.vocabulary.users import Profile
from tests.eventapi.http.client import (
    PASSWORD,
    Api,
    assert_problem,
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


def old_hash(password: str, rounds: int = 4) -> str:
    """The bcrypt hash of an older service, which covers the first 72 bytes only."""
    return bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(rounds)).decode()


def import_user(api: Api, name: str, stored: str) -> None:
    api.execute(RegisterUser(Profile(name, f"{name}@example.org", stored)))


@pytest.fixture
def work(api: Api, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the checked hashes by kind and cost, which is the part before the salt."""
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


# Hashes that another service stored


def test_a_hostile_stored_hash_costs_no_more_than_an_unknown_user(
    api: Api, work: Counter[str]
) -> None:
    api.register("ann")
    hostile = {f"old{number}": stored for number, stored in enumerate(COSTLY + MALFORMED)}
    api.execute(
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
def test_an_import_reports_a_hostile_hash_with_its_place(stored: str) -> None:
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


def test_a_refused_login_costs_the_same_for_every_user_and_for_unknown_ones(
    api: Api, work: Counter[str]
) -> None:
    """It costs one check of each kind, because the time must not reveal users."""
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


def test_a_kind_of_hash_is_no_longer_checked_once_no_user_has_it(
    api: Api, work: Counter[str]
) -> None:
    import_user(api, "old", old_hash("old password"))
    import_user(api, "older", old_hash("old password"))
    for name in ("old", "older"):
        api.login("nobody", "a wrong password")
        assert work["$2b$04"] == 1
        assert api.login(name, "old password").status_code == 200
        work.clear()

    api.login("nobody", "a wrong password")

    assert "$2b$04" not in work


# Passwords that are longer than bcrypt's limit


@pytest.mark.parametrize("tail", ["", "the end", "another end"])
def test_a_password_that_bcrypt_truncated_is_accepted_and_not_rehashed(api: Api, tail: str) -> None:
    import_user(api, "old", old_hash("p" * 72 + "the end"))

    assert api.login("old", "p" * 72 + tail).status_code == 200
    for other in ("the end", "another end", ""):
        assert api.login("old", "p" * 72 + other).status_code == 200
    assert api.login("old", "p" * 71).status_code == 401


@pytest.mark.parametrize("password", ["old password", "p" * 71, "é" * 35])
def test_a_password_within_the_limit_of_bcrypt_is_rehashed(
    api: Api, work: Counter[str], password: str
) -> None:
    import_user(api, "old", old_hash(password))
    assert api.login("old", password).status_code == 200

    work.clear()
    assert api.login("old", password).status_code == 200
    assert list(work) == ["$argon2id$v=19$m=8,t=1,p=1"]
    assert api.login("old", password + "x").status_code == 401


# One password in two Unicode forms

WORD = "Crème brûlée à la carte"
FORMS = {form: unicodedata.normalize(form, WORD) for form in ("NFC", "NFD")}


@pytest.mark.parametrize("chosen", FORMS)
@pytest.mark.parametrize("typed", FORMS)
def test_a_password_is_accepted_in_either_unicode_form(api: Api, chosen: str, typed: str) -> None:
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
def test_a_hash_of_a_decomposed_password_accepts_that_form_and_later_both(
    api: Api, kind: str
) -> None:
    typed = FORMS["NFD"]

    import_user(api, "old", api.hasher.hash(typed) if kind == "argon2" else old_hash(typed))

    assert api.login("old", FORMS["NFC"]).status_code == 401
    assert api.login("old", typed).status_code == 200
    assert api.login("old", FORMS["NFC"]).status_code == 200
    assert api.login("old", typed).status_code == 200


def test_a_decomposed_password_costs_the_same_for_known_and_unknown_users(
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
def test_the_length_of_a_password_is_limited_in_both_forms(api: Api, password: str) -> None:
    assert_problem(api.register("ann", password=password), 422, "validation-failed")

    api.register("ann")
    token = api.login("ann").json()["access_token"]
    change = {"current_password": PASSWORD, "new_password": password}
    answer = api.request("POST", "/auth/password", json=change, token=token)
    assert_problem(answer, 422, "validation-failed")
