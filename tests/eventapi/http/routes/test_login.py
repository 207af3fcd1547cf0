"""Logging in with JSON and with the OAuth2 password form."""

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
from eventapi.testing.items import ITEMS
from events.vocabulary.users import Profile
from tests.eventapi.http.client import (
    OPERATOR,
    PASSWORD,
    SECRET,
    Api,
    Caller,
    assert_problem,
    credentials,
)

FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def known(api: Api) -> Caller:
    """The user whose logins are tested."""
    return api.caller("known")


def test_an_old_user_whose_name_begins_with_a_dash_can_log_in(api: Api) -> None:
    """Earlier versions allowed such names; new users cannot choose one."""
    password_hash = api.hasher.hash(PASSWORD)
    profile = Profile("--help", "help@example.org", password_hash)

    api.execute(RegisterUser(profile, imported=True))

    assert api.login("--help").status_code == 200


def post_form(api: Api, content: str | bytes, prefix: str = "") -> httpx.Response:
    headers = {"content-type": FORM}
    return api.request("POST", f"{prefix}/auth/login", content=content, headers=headers)


@pytest.mark.parametrize("content", ["%" * 60_000, "username=" + "%41" * 20_000])
def test_a_form_of_thousands_of_escapes_is_malformed(api: Api, content: str) -> None:
    """Decoding an escape costs far more than its bytes."""
    assert_problem(post_form(api, content), 400, "malformed-body")


def test_control_a_form_may_escape_each_byte_of_the_longest_password(api: Api) -> None:
    escaped = "".join(f"%{byte:02X}" for byte in b"a" * 1_024)
    assert post_form(api, f"username=abc&password={escaped}").status_code == 401


@pytest.mark.parametrize("kind", ["json", "form"])
def test_json_and_form_logins_get_answers_of_the_same_shape(
    api: Api, known: Caller, prefix: str, kind: str
) -> None:
    body = credentials("known")

    if kind == "json":
        answer = api.request("POST", f"{prefix}/auth/login", json=body)
    else:
        answer = post_form(api, urlencode({"grant_type": "password"} | body), prefix)

    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["access_token", "token_type", "expires_in", "refresh_token"]
    assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("bearer", 1800)
    assert answer.headers["event-position"] == str(api.log.position)
    assert answer.headers["cache-control"] == "no-store"


def test_the_access_token_has_the_claims_of_the_contract(known: Caller) -> None:
    token = known.token
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}

    claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    assert sorted(claims) == ["exp", "iat", "sid", "sub", "type"]
    assert (claims["sub"], claims["type"]) == ("known", "access")
    assert claims["exp"] - claims["iat"] == 1800


def test_every_login_starts_its_own_session(api: Api, known: Caller) -> None:
    other = api.login("known").json()

    assert other["access_token"] != known.token
    assert other["refresh_token"] != known.tokens["refresh_token"]


def test_a_username_in_any_case_logs_in(api: Api, known: Caller) -> None:
    assert api.login("KNOWN").status_code == 200


def test_a_refused_login_does_not_reveal_whether_the_user_exists(api: Api, known: Caller) -> None:
    answers = [
        api.login("known", "a wrong password"),
        api.login("nobody", "a wrong password"),
        api.login("n/o body at all", "a wrong password"),
        post_form(api, urlencode({"username": "known", "password": "wrong"})),
        post_form(api, urlencode({"username": "nobody", "password": "é" * 1000})),
        post_form(api, urlencode({"username": "known", "password": "é" * 1000})),
    ]
    problems = [assert_problem(answer, 401, "invalid-credentials") for answer in answers]
    bodies = {tuple((problem | {"request_id": ""}).items()) for problem in problems}

    assert len(bodies) == 1
    assert {answer.headers["www-authenticate"] for answer in answers} == {"Bearer"}


@pytest.mark.parametrize("name", ["known", "nobody"])
def test_a_far_too_long_password_is_refused_for_known_and_unknown_users(
    api: Api, known: Caller, prefix: str, name: str
) -> None:
    body = {"username": name, "password": "x" * 2000}
    for answer in (
        api.request("POST", f"{prefix}/auth/login", json=body),
        post_form(api, urlencode(body), prefix),
    ):
        problem = assert_problem(answer, 422, "validation-failed")
        assert problem["errors"] == [
            {"pointer": "/password", "detail": "must have at most 1024 characters"}
        ]


def test_a_refused_login_writes_nothing(api: Api, known: Caller) -> None:
    before = api.log.position
    api.login("known", "a wrong password")

    assert api.log.position == before


def test_oauth_clients_may_send_more_fields(api: Api, known: Caller) -> None:
    more = {"scope": "", "client_id": "web", "client_secret": "", "grant_type": "password"}
    form = urlencode({"username": "known", "password": PASSWORD} | more)

    assert post_form(api, form).status_code == 200
    assert post_form(api, f"{form}&resource=a&resource=b").status_code == 200


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
def test_forms_are_accepted_as_browsers_and_generated_clients_write_them(
    api: Api, known: Caller, form: str
) -> None:
    """The first form is that of Swagger UI for FastAPI with empty optional fields."""
    credentials = urlencode({"username": "known", "password": PASSWORD})
    assert post_form(api, form.format(credentials)).status_code == 200


def test_a_password_with_nul_logs_in_by_json_and_by_form(new_api: Api) -> None:
    password = "before\0after"
    new_api.register("someone", password=password)
    assert new_api.login("someone", password).status_code == 200

    form = urlencode({"username": "someone", "password": password})
    assert post_form(new_api, form).status_code == 200
    assert post_form(new_api, form.partition("%00")[0]).status_code == 401


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
def test_an_invalid_form_is_refused(
    api: Api, known: Caller, form: str | bytes, status: int, slug: str
) -> None:
    assert_problem(post_form(api, form), status, slug)


@pytest.mark.parametrize(
    ("prefix", "kind"),
    [
        *(("/api/v2", kind) for kind in ("multipart/form-data; boundary=x", "text/plain", "")),
        *((prefix, "text/plain") for prefix in ("", "/api/v1")),
    ],
)
def test_a_login_with_another_media_type_is_refused(api: Api, prefix: str, kind: str) -> None:
    answer = api.request(
        "POST",
        f"{prefix}/auth/login",
        content="username=a&password=b",
        headers={"content-type": kind},
    )
    assert_problem(answer, 415, "unsupported-media-type")


def test_a_password_is_never_truncated(new_api: Api) -> None:
    password = "x" * 72 + "the end that bcrypt ignores"

    new_api.register("careful", password=password)

    assert new_api.login("careful", password).status_code == 200
    assert new_api.login("careful", password[:72]).status_code == 401
    assert new_api.login("careful", password[:-1]).status_code == 401
    assert new_api.login("careful", password + "x").status_code == 401


def import_user(api: Api, password_hash: str) -> None:
    """Register a user named ``old`` whose hash another service computed."""
    api.execute(RegisterUser(Profile("old", "old@example.org", password_hash)))


def bcrypt_hash(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def stored_hash(api: Api) -> str:
    """The hash of the user ``old``, as another process reads it from the log."""

    async def read() -> str:
        journal = Journal(api.log, api.vault, ITEMS, SYSTEM)
        await journal.start()
        try:
            user = (await journal.state()).users.find_by_username("old")
            assert user is not None
            return user.password_hash
        finally:
            await journal.close()

    return api.run(read())


def test_the_first_login_replaces_a_bcrypt_hash_by_argon2id(new_api: Api) -> None:
    password = "p" * 70
    old = bcrypt_hash(password)
    assert old.startswith("$2b$")
    import_user(new_api, old)

    assert new_api.login("old", "wrong").status_code == 401
    assert stored_hash(new_api) == old
    assert new_api.login("old", password).status_code == 200
    assert stored_hash(new_api).startswith("$argon2id$")
    assert new_api.login("old", password).status_code == 200
    assert new_api.login("old", password + "p").status_code == 401
    assert new_api.login("old", "wrong").status_code == 401


@pytest.mark.parametrize("stored", ["", "$2b$", "$2b$04$short", "$argon2id$", "plain"])
def test_a_malformed_stored_hash_accepts_no_password(new_api: Api, stored: str) -> None:
    import_user(new_api, stored)

    assert_problem(new_api.login("old", stored), 401, "invalid-credentials")


def test_a_disabled_account_is_reported_only_with_its_password(new_api: Api) -> None:
    caller = new_api.caller("locked-out")

    new_api.execute(DisableUser("locked-out", OPERATOR))

    assert_problem(new_api.login("locked-out"), 403, "account-disabled")
    assert_problem(new_api.login("locked-out", "wrong"), 401, "invalid-credentials")
    assert_problem(caller.get("/auth/me"), 401, "unauthenticated")


def test_a_login_of_an_unknown_user_costs_the_same_hash(
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
def test_a_wrong_password_costs_every_kind_of_hash_that_some_user_has(
    new_api: Api, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Otherwise the time of a refusal would reveal imported users."""
    new_api.register("someone")
    import_user(new_api, bcrypt_hash("x"))
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
    assert checked == ["argon2"], "no user has a hash of the old kind any more"


def test_concurrent_logins_of_an_imported_user_all_succeed(new_api: Api) -> None:
    import_user(new_api, bcrypt_hash("x"))
    body = credentials("old", "x")

    answers = new_api.request_all([("POST", "/auth/login", {"json": body})] * 12)

    assert [answer.status_code for answer in answers] == [200] * 12


def test_a_far_too_long_name_is_refused_by_json_and_by_form(api: Api) -> None:
    """The server would have to keep it to count wrong passwords."""
    name = "n" * 255

    assert_problem(api.login(name), 422, "validation-failed")
    assert_problem(post_form(api, f"username={name}&password=x"), 422, "validation-failed")


def test_many_concurrent_logins_are_answered_or_refused_with_retry_after(new_api: Api) -> None:
    new_api.register("popular")
    body = credentials("popular")

    answers = new_api.request_all(("POST", "/auth/login", {"json": body}) for _ in range(200))

    assert {answer.status_code for answer in answers} == {200, 429}
    for answer in answers:
        if answer.status_code == 429:
            assert_problem(answer, 429, "rate-limited")
            assert int(answer.headers["retry-after"]) >= 1
    assert new_api.login("popular").status_code == 200


def test_cancelled_logins_leave_the_queue(new_api: Api) -> None:
    new_api.register("hasty")
    body = credentials("hasty")

    async def cancel_logins() -> None:
        for _ in range(300):
            task = asyncio.ensure_future(new_api.request_async("POST", "/auth/login", json=body))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])

    new_api.run(cancel_logins())

    assert new_api.login("hasty").status_code == 200
