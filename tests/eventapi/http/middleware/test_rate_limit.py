"""Rate limits over HTTP: who is counted as whom, and what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from eventapi.http.middleware.client_address import caller_address
from eventapi.ratelimit.batches import PAUSE_SECONDS
from tests.eventapi.http.client import PASSWORD, PREFIXES, Api, assert_problem, quiet_settings


@contextmanager
def limited(rate: str = "off", login: str = "off", **settings: Any) -> Iterator[Api]:
    """An app with limits."""
    with Api(quiet_settings(rate_limit=rate, rate_limit_login=login, **settings)) as api:
        yield api


def assert_limited(answer: httpx.Response) -> None:
    assert_problem(answer, 429, "rate-limited")
    assert 1 <= int(answer.headers["retry-after"]) <= 3_600
    assert "ratelimit-policy" in answer.headers
    assert "ratelimit" in answer.headers


def test_everything_counts_known_or_not_and_under_every_prefix() -> None:
    with limited("9/minute") as api:
        for prefix in PREFIXES:
            assert api.request("GET", f"{prefix}/items").status_code == 401
            assert api.request("GET", f"{prefix}/nowhere").status_code == 404
            assert api.request("PUT", f"{prefix}/items").status_code == 405
        for prefix in PREFIXES:
            assert_limited(api.request("GET", f"{prefix}/items"))
        assert_limited(api.request("GET", "/docs"))


def test_the_fields_say_what_is_left() -> None:
    with limited("3/minute") as api:
        left = []
        for _ in range(4):
            answer = api.request("GET", "/items")
            assert answer.headers["ratelimit-policy"] == '"caller";q=3;w=60'
            left.append(answer.headers["ratelimit"])
        assert left == [f'"caller";r={rest};t=60' for rest in (2, 1, 0, 0)]
        assert answer.headers["retry-after"] == "60"


def test_health_is_not_limited_and_says_nothing_of_limits() -> None:
    with limited("1/minute") as api:
        for _ in range(3):
            for prefix in PREFIXES:
                answer = api.request("GET", f"{prefix}/health")
                assert answer.status_code == 200
                assert "ratelimit" not in answer.headers


def test_users_count_for_themselves_wherever_they_are() -> None:
    with limited("6/minute") as api:
        ann, bob = api.caller(), api.caller()
        for _ in range(6):
            assert ann.get("/items").status_code == 200
        assert_limited(ann.get("/auth/me"))
        assert bob.get("/auth/me").status_code == 200


def test_a_token_that_is_not_good_counts_for_the_address() -> None:
    with limited("7/minute") as api:
        ann = api.caller()
        assert ann.request("POST", "/auth/logout").status_code == 204
        for token in (ann.token, ann.token[:-5] + "AAAAA", "no token at all", "x", "y"):
            assert api.request("GET", "/items", token=token).status_code == 401
        assert_limited(api.request("GET", "/items", token=ann.token))


@pytest.mark.parametrize("place", ["login", "register", "refresh"])
def test_login_register_and_refresh_count_together_by_address(place: str) -> None:
    with limited(login="4/minute") as api:
        ann = api.caller()
        spelled = [f"/auth/{place}/", f"/api/v2/auth/{place}"]
        for path in spelled:
            answer = api.request("POST", path, token=ann.token, json={})
            assert answer.status_code in {307, 404, 422}  # With a slash it counts as well.
        assert answer.headers["ratelimit-policy"] == '"login";q=4;w=60'
        assert_limited(api.request("POST", f"/auth/{place}", token=ann.token, json={}))
        assert ann.get("/items").status_code == 200


def test_both_limits_are_told_where_both_count() -> None:
    with limited("9/second", "4/hour") as api:
        answer = api.request("POST", "/auth/login", json={})
        assert answer.headers["ratelimit-policy"] == '"caller";q=9;w=1, "login";q=4;w=3600'
        assert answer.headers["ratelimit"] == '"caller";r=8;t=1, "login";r=3;t=3600'


@pytest.mark.long
def test_a_large_limit_is_kept_exactly_and_told_of_from_its_half_on() -> None:
    with limited("2000/minute") as api:
        ann = api.caller()
        answers = []
        for number in range(2_010):
            # An unknown path counts for the user all the same.
            answers.append(ann.get("/nowhere" if number % 7 else "/items"))
            if number % 50 == 0:
                api.run(asyncio.sleep(PAUSE_SECONDS * 2))
        assert [answer.status_code == 429 for answer in answers] == [False] * 2_000 + [True] * 10
        assert "ratelimit" not in answers[900].headers
        assert answers[1_200].headers["ratelimit"].startswith('"caller";r=799;t=')
        assert ann.api.request("GET", "/items").status_code == 401


def test_requests_under_way_count_for_a_large_limit_as_well() -> None:
    """Or any number could be begun, and then ended at once."""
    with limited("2000/minute") as api:
        ann = api.caller()
        statuses: list[int] = []
        let_go = asyncio.Event()
        head = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": "/items",
            "raw_path": b"/items",
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "client": ("127.0.0.1", 1),
            "headers": [
                (b"host", b"test"),
                (b"content-type", b"application/json"),
                (b"authorization", f"Bearer {ann.token}".encode()),
            ],
        }

        async def receive() -> dict[str, Any]:
            await let_go.wait()
            return {"type": "http.request", "body": b'{"title":"x"}', "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        async def storm() -> None:
            requests = []
            for number in range(2_300):
                requests.append(asyncio.create_task(api.edge(dict(head), receive, send)))
                if number % 100 == 0:
                    await asyncio.sleep(PAUSE_SECONDS)
            let_go.set()
            await asyncio.gather(*requests)

        api.run(storm())
        assert statuses.count(200) == 2_000
        assert statuses.count(429) == 300


def test_off_is_off() -> None:
    with limited() as api:
        answer = api.request("GET", "/items")
        assert "ratelimit" not in answer.headers


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_an_ipv6_network_is_one_address(host: str, counted: str) -> None:
    scope: Any = {"client": (host, 1)}
    assert caller_address(scope) == counted


# Wrong passwords


def guess(api: Api, name: str) -> httpx.Response:
    return api.login(name, "a wrong password")


def test_after_five_wrong_passwords_not_even_the_right_one_is_looked_at() -> None:
    with limited(login="1000/minute") as api:
        api.register("ann")
        for _ in range(5):
            assert_problem(guess(api, "ann"), 401, "invalid-credentials")
        assert_limited(guess(api, "ANN"))
        assert_limited(api.login("ann"))


def test_the_owner_comes_in_from_elsewhere_and_a_session_goes_on() -> None:
    with limited(login="1000/minute", trusted_proxies=("127.0.0.1",)) as api:
        ann = api.caller("ann")
        for _ in range(6):
            guess(api, "ann")
        assert_limited(api.login("ann"))
        body = {"username": "ann", "password": PASSWORD}
        elsewhere = {"x-forwarded-for": "198.51.100.7"}
        answer = api.request("POST", "/auth/login", json=body, headers=elsewhere)
        assert answer.status_code == 200
        renewed = {"refresh_token": ann.tokens["refresh_token"]}
        assert api.request("POST", "/auth/refresh", json=renewed).status_code == 200
        change = {"current_password": PASSWORD, "new_password": "another good one"}
        assert ann.post("/auth/password", json=change).status_code == 204


def test_a_right_password_makes_forget_the_wrong_ones() -> None:
    with limited(login="1000/minute") as api:
        api.register("ann")
        for _ in range(3):
            for _ in range(4):
                assert guess(api, "ann").status_code == 401
            assert api.login("ann").status_code == 200


def test_who_exists_is_not_told() -> None:
    with limited(login="1000/minute") as api:
        api.register("ann")
        told = []
        for name in ("ann", "nobody"):
            answers = [guess(api, name) for _ in range(7)]
            bodies = [answer.json() | {"request_id": ""} for answer in answers]
            told.append(
                [
                    (answer.status_code, str(body))
                    for answer, body in zip(answers, bodies, strict=True)
                ]
            )
        assert told[0] == told[1]


def test_many_guesses_at_once_get_no_more_answers() -> None:
    with limited(login="1000/minute") as api:
        api.register("ann")
        body = {"username": "ann", "password": "a wrong password"}
        answers = api.together([("POST", "/auth/login", {"json": body})] * 40)
        statuses = [answer.status_code for answer in answers]
        assert (statuses.count(401), statuses.count(429)) == (5, 35)


def test_many_right_logins_at_once_are_let_in() -> None:
    with limited(login="1000/minute") as api:
        api.register("ann")
        body = {"username": "ann", "password": PASSWORD}
        answers = api.together([("POST", "/auth/login", {"json": body})] * 20)
        assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize("place", ["password", "erasure"])
def test_a_stolen_session_cannot_guess_the_password_either(place: str) -> None:
    with limited(login="1000/minute") as api:
        ann = api.caller("ann")

        def tried() -> httpx.Response:
            if place == "erasure":
                return ann.request("DELETE", "/auth/me", json={"password": "a wrong password"})
            change = {"current_password": "a wrong password", "new_password": "another good one"}
            return ann.post("/auth/password", json=change)

        for _ in range(5):
            assert_problem(tried(), 401, "invalid-credentials")
        assert_limited(tried())
        assert api.login("ann").status_code == 200


# Addresses


def ask_from(api: Api, forwarded: str) -> httpx.Response:
    return api.request("GET", "/items", headers={"x-forwarded-for": forwarded})


def test_nobody_is_believed_unless_listed() -> None:
    with limited("3/minute") as api:
        statuses = [ask_from(api, f"198.51.100.{number}").status_code for number in range(5)]
        assert statuses == [401] * 3 + [429] * 2


def test_of_a_trusted_proxy_the_last_address_that_is_not_trusted_counts() -> None:
    with limited("3/minute", trusted_proxies=("127.0.0.1", "10.0.0.0/8")) as api:
        for number in range(3):
            answer = ask_from(api, f"203.0.113.{number}, 198.51.100.1, 10.1.2.3")
            assert answer.status_code == 401
        assert_limited(ask_from(api, "198.51.100.1"))
        assert ask_from(api, "198.51.100.2").status_code == 401
