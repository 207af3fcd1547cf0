"""Access tokens: every invalid one is refused with the same answer."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

import httpx
import jwt
import pytest

from eventapi.commands.users import DisableUser
from tests.eventapi.http.client import OPERATOR, SECRET, Api, Caller, assert_problem


def me(api: Api, authorization: str | None) -> httpx.Response:
    headers = {} if authorization is None else {"authorization": authorization}
    return api.request("GET", "/auth/me", headers=headers)


def assert_refused(api: Api, token: str) -> None:
    answer = me(api, f"Bearer {token}")
    assert_problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, SECRET, algorithms=["HS256"])
    return claims


def signed(
    claims: object,
    header: dict[str, Any] | None = None,
    secret: str = SECRET,
    function: str = "sha256",
) -> str:
    """A token with any claims and header; by default it is signed as the server signs."""
    head = json.dumps(header or {"alg": "HS256", "typ": "JWT"}).encode()
    return signed_bytes(head, json.dumps(claims).encode(), secret, function)


def signed_bytes(
    header: bytes, claims: bytes, secret: str = SECRET, function: str = "sha256"
) -> str:
    """A token with any bytes as header and claims."""
    message = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, claims))
    signature = hmac.digest(secret.encode(), message, function)
    return (message + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def test_control_a_token_signed_by_the_test_is_accepted(api: Api, ann: Caller) -> None:
    assert me(api, f"Bearer {signed(claims_of(ann.token))}").status_code == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_case_insensitive(api: Api, ann: Caller, scheme: str) -> None:
    assert me(api, f"{scheme} {ann.token}").status_code == 200


@pytest.mark.parametrize("written", ["Bearer  {}", "Bearer {} ", " Bearer {}", "Bearer {}\t"])
def test_blanks_around_a_token_are_ignored(api: Api, ann: Caller, written: str) -> None:
    """RFC 6750, section 2.1, and RFC 9110, section 5.5, allow them."""
    headers = [(b"authorization", written.format(ann.token).encode())]

    answer = api.request("GET", "/auth/me", headers=headers)

    assert answer.status_code == 200


@pytest.mark.parametrize("authorization", [None, "", "Basic YW5uOnB3", "Token x", "Bearer", "x"])
def test_a_request_without_a_token_gets_a_challenge(api: Api, authorization: str | None) -> None:
    answer = me(api, authorization)

    assert_problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/auth/me"),
        ("HEAD", "/auth/me"),
        ("PATCH", "/auth/me"),
        ("POST", "/auth/logout"),
        ("GET", "/items"),
        ("HEAD", "/items"),
        ("POST", "/items"),
        ("GET", "/items/1"),
        ("HEAD", "/items/1"),
        ("PUT", "/items/1"),
        ("PATCH", "/items/1"),
        ("DELETE", "/items/1"),
    ],
)
def test_personal_data_needs_a_token(api: Api, prefix: str, method: str, path: str) -> None:
    answer = api.request(method, prefix + path)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_token_with_any_flipped_bit_is_refused(api: Api, ann: Caller) -> None:
    good = ann.token.encode()
    for at in range(len(good)):
        for bit in range(8):
            changed = good[at] ^ 1 << bit
            if changed in b"\r\n\0":
                continue  # A header cannot contain these bytes.
            token = good[:at] + bytes([changed]) + good[at + 1 :]
            answer = api.request(
                "GET", "/auth/me", headers=[(b"authorization", b"Bearer " + token)]
            )
            assert answer.status_code == 401, (at, bit)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: token + "=",
        lambda token: token + "A",
        lambda token: token[:-1],
        lambda token: token + ".",
        lambda token: token + ".x",
        lambda token: "." + token,
        lambda token: token.rpartition(".")[0],
        lambda token: token.rpartition(".")[0] + ".",
        lambda token: token.replace(".", "..", 1),
        lambda token: f'"{token}"',
        lambda token: token.swapcase(),
        lambda _: "..",
        lambda _: "a.b.c",
        lambda _: "\udc80".encode("utf-8", "surrogateescape").decode("latin-1"),
        lambda _: "é.é.é",
        lambda _: "A" * 8192,
        lambda token: token + " " + token,
        lambda token: token + "," + token,
    ],
)
def test_a_malformed_token_is_refused(api: Api, ann: Caller, spoil: Any) -> None:
    headers = [(b"authorization", f"Bearer {spoil(ann.token)}".encode("latin-1"))]
    answer = api.request("GET", "/auth/me", headers=headers)

    assert_problem(answer, 401, "unauthenticated")


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "HS384", "HS512", "RS256"])
def test_a_token_that_names_another_algorithm_is_refused(
    api: Api, ann: Caller, algorithm: str
) -> None:
    header = {"alg": algorithm, "typ": "JWT"}
    token = signed(claims_of(ann.token), header)

    assert_refused(api, token)
    assert_refused(api, token.rpartition(".")[0] + ".")


@pytest.mark.parametrize("bits", ["384", "512"])
def test_a_valid_signature_of_another_algorithm_is_refused(
    api: Api, ann: Caller, bits: str
) -> None:
    header = {"alg": f"HS{bits}", "typ": "JWT"}
    assert_refused(api, signed(claims_of(ann.token), header, function=f"sha{bits}"))


@pytest.mark.parametrize(
    "more",
    [
        {"kid": "../../../../dev/null"},
        {"kid": "key' UNION SELECT 'x"},
        {"jku": "http://127.0.0.1:1/keys"},
        {"jwk": {"kty": "oct", "k": "AA"}},
        {"x5u": "http://127.0.0.1:1/cert"},
        {"crit": ["exp"]},
        {"b64": False},
        {"cty": "JWT"},
        {"typ": "at+jwt"},
        {"typ": None},
    ],
)
def test_a_header_with_other_members_is_refused(
    api: Api, ann: Caller, more: dict[str, Any]
) -> None:
    header = {"alg": "HS256", "typ": "JWT"} | more
    assert_refused(api, signed(claims_of(ann.token), header))


CODINGS = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-8-sig"]


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("place", ["header", "claims"])
def test_a_signed_token_in_another_encoding_is_refused(
    api: Api, ann: Caller, place: str, coding: str
) -> None:
    parts = {"header": '{"alg":"HS256","typ":"JWT"}', "claims": json.dumps(claims_of(ann.token))}
    raw = {name: text.encode(coding if name == place else "utf-8") for name, text in parts.items()}

    assert_refused(api, signed_bytes(raw["header"], raw["claims"]))


@pytest.mark.parametrize(
    "header",
    [
        b'{"alg":"HS256","alg":"HS256","typ":"JWT"}',
        b'{"alg":"none","alg":"HS256","typ":"JWT"}',
        b'{"alg":"HS256","typ":"JWT","typ":"JWT"}',
        b'\xc2\xa0{"alg":"HS256","typ":"JWT"}',
        b'{"alg":"HS256","typ":"JWT"}\0',
        b'{"alg":"HS256","typ":"JWT"}{}',
    ],
)
def test_an_ambiguous_signed_header_is_refused(api: Api, ann: Caller, header: bytes) -> None:
    assert_refused(api, signed_bytes(header, json.dumps(claims_of(ann.token)).encode()))


@pytest.mark.parametrize("claim", ["sub", "exp", "iat", "type", "sid"])
def test_signed_claims_with_a_duplicate_member_are_refused(
    api: Api, ann: Caller, claim: str
) -> None:
    claims = claims_of(ann.token)
    text = json.dumps(claims)
    for other in (claims[claim], "nobody", 0):
        member = f'"{claim}": {json.dumps(other)}'
        for doubled in (f"{{{member}, {text[1:]}", f"{text[:-1]}, {member}}}"):
            header = b'{"alg":"HS256","typ":"JWT"}'
            assert_refused(api, signed_bytes(header, doubled.encode()))


@pytest.mark.parametrize("number", ["1e10", "10000000000.0", "1E+10"])
@pytest.mark.parametrize("claim", ["exp", "iat"])
def test_times_in_a_token_must_be_plain_integers(
    api: Api, ann: Caller, claim: str, number: str
) -> None:
    claims = json.dumps(claims_of(ann.token) | {claim: "HERE"}).replace('"HERE"', number)
    assert_refused(api, signed_bytes(b'{"alg":"HS256","typ":"JWT"}', claims.encode()))


@pytest.mark.parametrize("secret", ["", "x", SECRET + " ", SECRET.upper(), SECRET[:-1]])
def test_a_token_signed_with_another_secret_is_refused(api: Api, ann: Caller, secret: str) -> None:
    assert_refused(api, signed(claims_of(ann.token), secret=secret))


def test_a_token_is_valid_until_it_expires(api: Api, ann: Caller) -> None:
    claims = claims_of(ann.token)

    assert me(api, f"Bearer {signed(claims | {'exp': int(time.time()) + 2})}").status_code == 200
    assert_refused(api, signed(claims | {"exp": int(time.time())}))
    assert_refused(api, signed(claims | {"exp": 0}))


@pytest.mark.parametrize(
    "change",
    [
        {"exp": "99999999999"},
        {"exp": 10**400},
        {"exp": 2**63},
        {"exp": -1},
        {"exp": True},
        {"exp": None},
        {"exp": [99999999999]},
        {"exp": 99999999999.5},
        {"exp": float("inf")},
        {"iat": 99999999999},
        {"iat": "0"},
        {"iat": True},
        {"iat": None},
        {"nbf": 99999999999},
        {"sub": "nobody"},
        {"sub": ""},
        {"sub": None},
        {"sub": 1},
        {"sub": ["ann"]},
        {"sub": "x" * 5000},
        {"sid": ""},
        {"sid": None},
        {"sid": 1},
        {"sid": "0" * 32},
        {"type": "refresh"},
        {"type": "ACCESS"},
        {"type": None},
        {"roles": ["auditor"]},
        {"aud": "somewhere"},
    ],
)
def test_a_token_with_an_invalid_claim_is_refused(
    api: Api, ann: Caller, change: dict[str, Any]
) -> None:
    assert_refused(api, signed(claims_of(ann.token) | change))


@pytest.mark.parametrize("claim", ["sub", "exp", "iat", "type", "sid"])
def test_a_token_without_a_required_claim_is_refused(api: Api, ann: Caller, claim: str) -> None:
    claims = claims_of(ann.token)
    del claims[claim]

    assert_refused(api, signed(claims))


@pytest.mark.parametrize("claims", [[], "text", 5, None, True, {}])
def test_claims_must_be_an_object(api: Api, claims: object) -> None:
    assert_refused(api, signed(claims))


def test_a_session_is_valid_for_its_own_user_only(api: Api, ann: Caller, bob: Caller) -> None:
    theirs = claims_of(bob.token)["sid"]
    assert_refused(api, signed(claims_of(ann.token) | {"sid": theirs}))


def test_a_refresh_token_is_refused_as_an_access_token(api: Api, ann: Caller) -> None:
    assert_refused(api, ann.tokens["refresh_token"])


def test_a_token_that_was_valid_before_is_checked_again(api: Api, ann: Caller) -> None:
    for _ in range(3):
        assert ann.get("/auth/me").status_code == 200
    ann.post("/auth/logout")
    assert_refused(api, ann.token)


def test_a_token_of_a_disabled_user_is_refused_at_once(api: Api, ann: Caller) -> None:
    assert ann.get("/auth/me").status_code == 200

    api.execute(DisableUser(ann.name, OPERATOR))

    assert_refused(api, ann.token)


def test_a_token_over_8_kib_is_refused_as_too_large(api: Api) -> None:
    assert_problem(me(api, "Bearer " + "A" * 8193), 431, "headers-too-large")
