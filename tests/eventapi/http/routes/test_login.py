"""Logging in, with JSON and with the OAuth2 password form."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

import bcrypt
import httpx
import jwt
import pytest

from eventapi.bootstrap.storage import SYSTEM
from eventapi.commands.users import DisableUser, RegisterUser
from eventapi.journal.journal import Journal
from events.vocabulary.users import Profile
from tests.eventapi.http.client import PASSWORD, SECRET, Api, Caller, assert_problem, elsewhere

FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def known(api: Api) -> Caller:
    """The user who logs in here."""
    return api.caller("known")


def test_an_existing_user_whose_name_begins_with_a_dash_logs_in(api: Api) -> None:
    """New names cannot begin with one; earlier versions allowed it."""
    password_hash = api.hasher.hash(PASSWORD)
    profile = Profile("--help", "help@example.org", password_hash)
    elsewhere(api, RegisterUser(profile, imported=True))
    assert api.login("--help").status_code == 200


def by_form(api: Api, content: str | bytes, prefix: str = "") -> httpx.Response:
    headers = {"content-type": FORM}
    return api.request("POST", f"{prefix}/auth/login", content=content, headers=headers)


@pytest.mark.parametrize("content", ["%" * 60_000, "username=" + "%41" * 20_000])
def test_a_form_of_thousands_of_escapes_is_malformed(api: Api, content: str) -> None:
    """Decoding each costs far more than its bytes."""
    assert_problem(by_form(api, content), 400, "malformed-body")


def test_control_a_form_may_escape_each_byte_of_the_longest_password(api: Api) -> None:
    everything = "".join(f"%{byte:02X}" for byte in b"a" * 1_024)
    assert by_form(api, f"username=abc&password={everything}").status_code == 401


@pytest.mark.parametrize("kind", ["json", "form"])
def test_json_and_form_answer_the_same_shape(
    api: Api, known: Caller, prefix: str, kind: str
) -> None:
    body = {"username": "known", "password": PASSWORD}
    if kind == "json":
        answer = api.request("POST", f"{prefix}/auth/login", json=body)
    else:
        answer = by_form(api, urlencode({"grant_type": "password"} | body), prefix)
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["access_token", "token_type", "expires_in", "refresh_token"]
    assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("bearer", 1800)
    assert answer.headers["event-position"] == str(api.log.position)
    assert answer.headers["cache-control"] == "no-store"


def test_the_access_token_says_what_the_contract_says(known: Caller) -> None:
    token = known.token
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    assert sorted(claims) == ["exp", "iat", "sid", "sub", "type"]
    assert (claims["sub"], claims["type"]) == ("known", "access")
    assert claims["exp"] - claims["iat"] == 1800


def test_every_login_is_a_session_of_its_own(api: Api, known: Caller) -> None:
    other = api.login("known").json()
    assert other["access_token"] != known.token
    assert other["refresh_token"] != known.tokens["refresh_token"]


def test_a_username_logs_in_in_any_case(api: Api, known: Caller) -> None:
    assert api.login("KNOWN").status_code == 200


def test_nobody_learns_from_a_refusal_who_exists(api: Api, known: Caller) -> None:
    answers = [
        api.login("known", "a wrong password"),
        api.login("nobody", "a wrong password"),
        api.login("n/o body at all", "a wrong password"),
        by_form(api, urlencode({"username": "known", "password": "wrong"})),
        by_form(api, urlencode({"username": "nobody", "password": "é" * 1000})),
        by_form(api, urlencode({"username": "known", "password": "é" * 1000})),
    ]
    problems = [assert_problem(answer, 401, "invalid-credentials") for answer in answers]
    bodies = {tuple((problem | {"request_id": ""}).items()) for problem in problems}
    assert len(bodies) == 1
    assert {answer.headers["www-authenticate"] for answer in answers} == {"Bearer"}


@pytest.mark.parametrize("name", ["known", "nobody"])
def test_a_password_that_is_far_too_long_is_refused_whoever_exists(
    api: Api, known: Caller, prefix: str, name: str
) -> None:
    body = {"username": name, "password": "x" * 2000}
    for answer in (
        api.request("POST", f"{prefix}/auth/login", json=body),
        by_form(api, urlencode(body), prefix),
    ):
        problem = assert_problem(answer, 422, "validation-failed")
        assert problem["errors"] == [
            {"pointer": "/password", "detail": "must have at most 1024 characters"}
        ]


def test_a_login_that_is_refused_writes_nothing(api: Api, known: Caller) -> None:
    before = api.log.position
    api.login("known", "a wrong password")
    assert api.log.position == before


def test_oauth_clients_may_send_more_fields(api: Api, known: Caller) -> None:
    more = {"scope": "", "client_id": "web", "client_secret": "", "grant_type": "password"}
    form = urlencode({"username": "known", "password": PASSWORD} | more)
    assert by_form(api, form).status_code == 200
    assert by_form(api, f"{form}&resource=a&resource=b").status_code == 200


@pytest.mark.parametrize(
    "form",
    [
        "grant_type=&{}&scope=&client_id=&client_secret=",
        "{}&",
        "&{}",
        "{}&scope",
        "&".join(f"field{number}=x" for number in range(30)) + "&{}",
    ],
)
def test_forms_are_read_as_browsers_and_generated_clients_write_them(
    api: Api, known: Caller, form: str
) -> None:
    """The first is what Swagger UI makes of FastAPI's form when nothing else is filled in."""
    credentials = urlencode({"username": "known", "password": PASSWORD})
    assert by_form(api, form.format(credentials)).status_code == 200


def test_a_password_with_nul_is_good_in_both_shapes(new_api: Api) -> None:
    password = "before\0after"
    new_api.register("someone", password=password)
    assert new_api.login("someone", password).status_code == 200
    form = urlencode({"username": "someone", "password": password})
    assert by_form(new_api, form).status_code == 200
    assert by_form(new_api, form.partition("%00")[0]).status_code == 401


@pytest.mark.parametrize(
    ("form", "status", "slug"),
    [
        ("username=known&username=known&password=x", 422, "validation-failed"),
        (f"username=known&password={PASSWORD}&password=x", 422, "validation-failed"),
        ("grant_type=refresh_token&username=known&password=x", 422, "validation-failed"),
        ("username=known", 422, "validation-failed"),
        ("password=x", 422, "validation-failed"),
        ("username=known&password=", 401, "invalid-credentials"),
        ("username=known%00&password=x", 401, "invalid-credentials"),
        ("username=%ff&password=x", 400, "malformed-body"),
        ("username=%ed%a0%80&password=x", 400, "malformed-body"),
        (b"username=\xff&password=x", 400, "malformed-body"),
        ("", 422, "validation-failed"),
        ("username", 422, "validation-failed"),
        ('{"username": "known", "password": "x"}', 422, "validation-failed"),
        ("&".join(f"field{number}=x" for number in range(100)), 400, "malformed-body"),
        ("username=known&password=" + "x" * 70_000, 413, "body-too-large"),
    ],
)
def test_a_form_that_is_not_right_is_refused(
    api: Api, known: Caller, form: str | bytes, status: int, slug: str
) -> None:
    assert_problem(by_form(api, form), status, slug)


@pytest.mark.parametrize(
    ("prefix", "kind"),
    [
        *(("/api/v2", kind) for kind in ("multipart/form-data; boundary=x", "text/plain", "")),
        *((prefix, "text/plain") for prefix in ("", "/api/v1")),
    ],
)
def test_a_login_of_another_media_type_is_refused(api: Api, prefix: str, kind: str) -> None:
    answer = api.request(
        "POST",
        f"{prefix}/auth/login",
        content="username=a&password=b",
        headers={"content-type": kind},
    )
    assert_problem(answer, 415, "unsupported-media-type")


def test_a_password_is_never_cut(new_api: Api) -> None:
    password = "x" * 72 + "the end that bcrypt would never see"
    new_api.register("careful", password=password)
    assert new_api.login("careful", password).status_code == 200
    assert new_api.login("careful", password[:72]).status_code == 401
    assert new_api.login("careful", password[:-1]).status_code == 401
    assert new_api.login("careful", password + "x").status_code == 401


def old_profile(password_hash: str) -> Profile:
    return Profile("old", "old@example.org", password_hash)


def stored_hash(api: Api) -> str:
    """The hash that a journal of another process reads for the old user."""

    async def read() -> str:
        journal = Journal(api.log, api.vault, SYSTEM)
        await journal.start()
        try:
            user = (await journal.state()).users.find_by_username("old")
            assert user is not None
            return user.password_hash
        finally:
            await journal.close()

    return api.run(read())


def test_a_bcrypt_hash_is_good_once_and_then_argon2id(new_api: Api) -> None:
    password = "p" * 70
    old = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    assert old.startswith("$2b$")
    elsewhere(new_api, RegisterUser(old_profile(old)))
    assert new_api.login("old", "wrong").status_code == 401
    assert stored_hash(new_api) == old
    assert new_api.login("old", password).status_code == 200
    assert stored_hash(new_api).startswith("$argon2id$")
    assert new_api.login("old", password).status_code == 200
    assert new_api.login("old", password + "p").status_code == 401
    assert new_api.login("old", "wrong").status_code == 401


@pytest.mark.parametrize("stored", ["", "$2b$", "$2b$04$short", "$argon2id$", "plain"])
def test_a_stored_hash_that_is_none_lets_nobody_in(new_api: Api, stored: str) -> None:
    elsewhere(new_api, RegisterUser(old_profile(stored)))
    assert_problem(new_api.login("old", stored), 401, "invalid-credentials")


def test_a_disabled_account_is_told_only_to_who_has_the_password(new_api: Api) -> None:
    caller = new_api.caller("locked-out")
    elsewhere(new_api, DisableUser("locked-out", "operator/test"))
    assert_problem(new_api.login("locked-out"), 403, "account-disabled")
    assert_problem(new_api.login("locked-out", "wrong"), 401, "invalid-credentials")
    assert_problem(caller.get("/auth/me"), 401, "unauthenticated")


def test_as_much_work_is_done_for_who_does_not_exist(
    new_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_api.register("someone")
    checked: list[str] = []
    verify = type(new_api.hasher).verify

    def counted(hasher: object, stored: str, password: str) -> bool:
        checked.append(stored[:40])
        return verify(hasher, stored, password)  # type: ignore[arg-type]  # the hasher

    monkeypatch.setattr(type(new_api.hasher), "verify", counted)
    new_api.login("someone", "wrong")
    new_api.login("nobody", "wrong")
    assert len(checked) == 2
    parameters = {stored.rsplit("$", 1)[0] for stored in checked}
    assert len(parameters) == 1


@pytest.mark.parametrize("name", ["someone", "old", "nobody"])
def test_while_hashes_of_two_kinds_stand_a_wrong_password_costs_both(
    new_api: Api, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """An imported user would else be told from one who does not exist by the time."""
    new_api.register("someone")
    elsewhere(new_api, RegisterUser(old_profile(bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode())))
    checked: list[str] = []
    verify, check = type(new_api.hasher).verify, bcrypt.checkpw

    def argon2(hasher: object, stored: str, password: str) -> bool:
        checked.append("argon2")
        return verify(hasher, stored, password)  # type: ignore[arg-type]  # the hasher

    def old(password: bytes, stored: bytes) -> bool:
        checked.append("bcrypt")
        return check(password, stored)

    monkeypatch.setattr(type(new_api.hasher), "verify", argon2)
    monkeypatch.setattr(bcrypt, "checkpw", old)
    assert new_api.login(name, "wrong").status_code == 401
    assert sorted(checked) == ["argon2", "bcrypt"]
    assert new_api.login("old", "x").status_code == 200
    checked.clear()
    new_api.login(name, "wrong")
    assert checked == ["argon2"], "none of the old kind is left"


def test_right_logins_at_once_of_an_imported_user_are_all_let_in(new_api: Api) -> None:
    elsewhere(new_api, RegisterUser(old_profile(bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode())))
    body = {"username": "old", "password": "x"}
    answers = new_api.together([("POST", "/auth/login", {"json": body})] * 12)
    assert [answer.status_code for answer in answers] == [200] * 12


def test_a_name_that_is_far_too_long_is_refused_in_both_shapes(api: Api) -> None:
    """It would be remembered for a while, to count wrong passwords."""
    name = "n" * 255
    assert_problem(api.login(name), 422, "validation-failed")
    assert_problem(by_form(api, f"username={name}&password=x"), 422, "validation-failed")


def test_many_logins_at_once_are_answered_or_told_to_come_back(new_api: Api) -> None:
    new_api.register("popular")
    body = {"username": "popular", "password": PASSWORD}
    answers = new_api.together(("POST", "/auth/login", {"json": body}) for _ in range(200))
    assert {answer.status_code for answer in answers} == {200, 429}
    for answer in answers:
        if answer.status_code == 429:
            assert_problem(answer, 429, "rate-limited")
            assert int(answer.headers["retry-after"]) >= 1
    assert new_api.login("popular").status_code == 200


def test_a_client_that_gives_up_does_not_hold_a_place(new_api: Api) -> None:
    new_api.register("hasty")

    async def given_up() -> None:
        for _ in range(300):
            body = {"username": "hasty", "password": PASSWORD}
            task = asyncio.ensure_future(new_api.ask("POST", "/auth/login", json=body))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])

    new_api.run(given_up())
    assert new_api.login("hasty").status_code == 200
