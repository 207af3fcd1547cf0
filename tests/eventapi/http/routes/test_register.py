"""Registration, and the rules for names, addresses and passwords."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.eventapi.http.client import PASSWORD, PREFIXES, Api, assert_problem, registration

V1_MEMBERS = ["username", "email", "full_name", "disabled", "created_at"]
BIDI = "\u202e"


@pytest.mark.parametrize(
    ("prefix", "status", "members"),
    [
        ("", 200, V1_MEMBERS),
        ("/api/v1", 200, V1_MEMBERS),
        ("/api/v2", 201, [*V1_MEMBERS, "roles", "email_verified"]),
    ],
)
def test_register_answers_the_user_in_the_shape_of_the_version(
    new_api: Api, prefix: str, status: int, members: list[str]
) -> None:
    answer = new_api.request("POST", f"{prefix}/auth/register", json=registration("ann"))

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["event-position"] == "1"
    assert answer.headers.get("location") == (
        f"http://test{prefix}/auth/me" if status == 201 else None
    )
    user = answer.json()
    assert list(user) == members
    assert (user["username"], user["full_name"], user["disabled"]) == ("ann", None, False)
    assert user.get("roles", []) == []


def test_times_are_in_utc_with_microseconds(api: Api, prefix: str) -> None:
    """Version 1 has no offset, as the replaced service had none; version 2 has `Z`."""
    me = api.caller(f"timely{prefix[-2:]}").under(prefix)

    created_at = me.get("/auth/me").json()["created_at"]
    form = "%Y-%m-%dT%H:%M:%S.%f" + ("Z" if prefix == "/api/v2" else "")
    datetime.strptime(created_at, form)  # noqa: DTZ007 - always UTC

    assert len(created_at) == len("2026-01-02T03:04:05.678901") + form.count("Z")


def test_the_answer_does_not_contain_the_password(api: Api) -> None:
    assert PASSWORD not in api.register("secretive").text


@pytest.mark.parametrize("name", ["taken", "TAKEN", "Taken"])
def test_a_username_differs_from_others_in_more_than_case(new_api: Api, name: str) -> None:
    new_api.register("taken")

    answer = new_api.register(name, email="other@example.org")

    assert_problem(answer, 400, "username-taken")
    assert new_api.log.position == 1


@pytest.mark.parametrize("email", ["a.b@example.org", "A.B@EXAMPLE.ORG", "a.B@Example.org"])
def test_an_email_address_differs_from_others_in_more_than_case(new_api: Api, email: str) -> None:
    new_api.register("first", email="a.b@example.org")

    assert_problem(new_api.register("second", email=email), 400, "email-taken")
    assert new_api.log.position == 1


@pytest.mark.parametrize("name", ["abc", "x" * 32, "A_b.c-9", "...", "123"])
def test_usernames_at_the_limits_are_stored_unchanged(new_api: Api, name: str) -> None:
    answer = new_api.register(name, email="someone@example.org")

    assert answer.status_code == 200, answer.text
    assert answer.json()["username"] == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ab",
        "x" * 33,
        "a b",
        "abc\n",
        "\nabc",
        "abc\x00",
        "a\tb",
        f"abc{BIDI}",
        "søren",
        "аnn-cyrillic",
        "a@b",
        "a/b",
        "１２３",
        "-ann",
        "--help",
    ],
)
def test_invalid_usernames_are_refused(api: Api, name: str) -> None:
    assert_refused(api, "username", name)


@pytest.mark.parametrize(
    "email",
    ["a@b.co", "a@host.test", "a@host.local", f"{'a' * 64}@example.org", "o'neil+x@ex-ample.org"],
)
def test_email_addresses_at_the_limits_are_accepted(new_api: Api, email: str) -> None:
    assert new_api.register("someone", email=email).json()["email"] == email


def test_an_email_address_has_at_most_254_characters(new_api: Api) -> None:
    domain = f"{'d' * 60}.{'d' * 60}.{'d' * 60}"
    longest = f"{'a' * (254 - len(domain) - 5)}@{domain}.org"

    assert len(longest) == 254
    assert new_api.register("someone", email=longest).status_code == 200
    assert_refused(new_api, "email", f"a{longest}")


@pytest.mark.parametrize(
    "email",
    [
        "",
        "a",
        "a@",
        "@b.co",
        "a@b",
        "a@@b.co",
        "a b@c.co",
        "a@b.co\n",
        "a@b.co\x00",
        f"a{BIDI}@b.co",
        "a@b..co",
        "a@-b.co",
        "a@[127.0.0.1]",
        '"a b"@c.co',
        "Ann <a@b.co>",
    ],
)
def test_invalid_email_addresses_are_refused(api: Api, email: str) -> None:
    assert_refused(api, "email", email)


@pytest.mark.parametrize(
    "password", ["x" * 8, "x" * 1024, "é" * 512, "\t\n \x00~~~~", "pässwörter!", " " * 8]
)
def test_passwords_at_the_limits_log_in(new_api: Api, password: str) -> None:
    assert new_api.register("someone", password=password).status_code == 200
    assert new_api.login("someone", password).status_code == 200


@pytest.mark.parametrize("password", ["", "x" * 7, "x" * 1025, "é" * 513, "é" * 7])
def test_passwords_beyond_the_limits_are_refused(api: Api, password: str) -> None:
    assert_refused(api, "password", password)


@pytest.mark.parametrize("full_name", ["", "x" * 100, "Søren Ærø", "名前", None])
def test_full_names_are_stored_unchanged(new_api: Api, full_name: str | None) -> None:
    assert new_api.register("someone", full_name=full_name).json()["full_name"] == full_name


@pytest.mark.parametrize("full_name", ["x" * 101, "a\nb", "a\n", "\x07", f"a{BIDI}b", "\x7f"])
def test_invalid_full_names_are_refused(api: Api, full_name: str) -> None:
    assert_refused(api, "full_name", full_name)


@pytest.mark.parametrize("field", ["disabled", "roles", "id", "created_at", "password_hash"])
def test_a_registration_cannot_set_other_members(api: Api, field: str) -> None:
    assert_refused(api, field, True)


@pytest.mark.parametrize("field", ["username", "email", "password"])
def test_a_registration_without_a_required_member_is_refused(api: Api, field: str) -> None:
    body = registration("incomplete")
    del body[field]

    problem = assert_problem(
        api.request("POST", "/auth/register", json=body), 422, "validation-failed"
    )
    assert problem["errors"] == [{"pointer": f"/{field}", "detail": "is required"}]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_concurrent_registrations_of_one_name_create_one_account(new_api: Api, prefix: str) -> None:
    bodies = [registration("wanted", email=f"{number}@example.org") for number in range(8)]

    answers = new_api.request_all(
        ("POST", f"{prefix}/auth/register", {"json": body}) for body in bodies
    )

    created, *refused = sorted(answer.status_code for answer in answers)
    assert (created, tuple(refused)) in {(200, (400,) * 7), (201, (409,) * 7)}
    assert new_api.log.position == 1


def assert_refused(api: Api, field: str, value: object) -> None:
    """Assert that a registration is refused because of one field, and writes nothing."""
    before = api.log.position
    body = registration("refused") | {field: value}
    answer = api.request("POST", "/api/v2/auth/register", json=body)
    problem = assert_problem(answer, 422, "validation-failed")
    assert [error["pointer"] for error in problem["errors"]] == [f"/{field}"]
    assert api.log.position == before
