"""Rate limits over HTTP: the counted caller, and the header fields."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from eventapi.http.middleware.client_address import caller_address
from tests.eventapi.http.client import PASSWORD, PREFIXES, Api, assert_problem, quiet_settings


@contextmanager
def limited(rate: str = "off", login: str = "off", **settings: Any) -> Iterator[Api]:
    """An app with these limits."""
    with Api(quiet_settings(rate_limit=rate, rate_limit_login=login, **settings)) as api:
        yield api


def assert_limited(answer: httpx.Response) -> None:
    assert_problem(answer, 429, "rate-limited")
    assert 1 <= int(answer.headers["retry-after"]) <= 3_600
    assert "ratelimit-policy" in answer.headers
    assert "ratelimit" in answer.headers


def test_every_path_counts_under_every_prefix() -> None:
    with limited("9/minute") as api:
        for prefix in PREFIXES:
            assert api.request("GET", f"{prefix}/items").status_code == 401
            assert api.request("GET", f"{prefix}/nowhere").status_code == 404
            assert api.request("PUT", f"{prefix}/items").status_code == 405
        for prefix in PREFIXES:
            assert_limited(api.request("GET", f"{prefix}/items"))
        assert_limited(api.request("GET", "/docs"))


def test_the_fields_report_the_remaining_requests() -> None:
    with limited("3/minute") as api:
        left = []
        for _ in range(4):
            answer = api.request("GET", "/items")
            assert answer.headers["ratelimit-policy"] == '"caller";q=3;w=60'
            left.append(answer.headers["ratelimit"])
        assert left == [f'"caller";r={rest};t=60' for rest in (2, 1, 0, 0)]
        assert answer.headers["retry-after"] == "60"


def test_health_is_not_limited_and_has_no_limit_fields() -> None:
    with limited("1/minute") as api:
        for _ in range(3):
            for prefix in PREFIXES:
                answer = api.request("GET", f"{prefix}/health")
                assert answer.status_code == 200
                assert "ratelimit" not in answer.headers


def test_each_user_has_a_limit_of_their_own() -> None:
    with limited("6/minute") as api:
        ann, bob = api.caller(), api.caller()
        for _ in range(6):
            assert ann.get("/items").status_code == 200
        assert_limited(ann.get("/auth/me"))
        assert bob.get("/auth/me").status_code == 200


def test_a_request_with_an_invalid_token_counts_for_its_address() -> None:
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


def test_both_limits_are_reported_where_both_count() -> None:
    with limited("9/second", "4/hour") as api:
        answer = api.request("POST", "/auth/login", json={})
        assert answer.headers["ratelimit-policy"] == '"caller";q=9;w=1, "login";q=4;w=3600'
        assert answer.headers["ratelimit"] == '"caller";r=8;t=1, "login";r=3;t=3600'


def test_requests_in_progress_count_too() -> None:
    """Else a client could begin any number of requests, and then finish all of them."""
    with limited("100/minute") as api:
        ann = api.caller()
        statuses: list[int] = []
        may_finish = asyncio.Event()
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
            await may_finish.wait()
            return {"type": "http.request", "body": b'{"title":"x"}', "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        async def begin_many() -> None:
            requests = [
                asyncio.create_task(api.edge(dict(head), receive, send)) for _ in range(130)
            ]
            await asyncio.sleep(0)
            may_finish.set()
            await asyncio.gather(*requests)

        api.run(begin_many())
        assert statuses.count(200) == 100
        assert statuses.count(429) == 30


def test_off_turns_the_limit_off() -> None:
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
def test_an_ipv6_network_counts_as_one_address(host: str, counted: str) -> None:
    scope: Any = {"client": (host, 1)}
    assert caller_address(scope) == counted


# Wrong passwords


def guess(api: Api, name: str) -> httpx.Response:
    return api.login(name, "a wrong password")


def test_after_five_wrong_passwords_the_right_one_is_refused_too() -> None:
    with limited(login="1000/minute") as api:
        api.register("ann")
        for _ in range(5):
            assert_problem(guess(api, "ann"), 401, "invalid-credentials")
        assert_limited(guess(api, "ANN"))
        assert_limited(api.login("ann"))


def test_the_owner_can_log_in_from_another_address_and_sessions_continue() -> None:
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


def test_a_right_password_resets_the_count_of_wrong_ones() -> None:
    with limited(login="1000/minute") as api:
        api.register("ann")
        for _ in range(3):
            for _ in range(4):
                assert guess(api, "ann").status_code == 401
            assert api.login("ann").status_code == 200


def test_limits_do_not_reveal_whether_a_user_exists() -> None:
    with limited(login="1000/minute") as api:
        api.register("ann")
        outcomes = []
        for name in ("ann", "nobody"):
            answers = [guess(api, name) for _ in range(7)]
            bodies = [answer.json() | {"request_id": ""} for answer in answers]
            outcomes.append(
                [
                    (answer.status_code, str(body))
                    for answer, body in zip(answers, bodies, strict=True)
                ]
            )
        assert outcomes[0] == outcomes[1]


def test_parallel_guesses_get_no_more_answers_than_sequential_ones() -> None:
    with limited(login="1000/minute") as api:
        api.register("ann")
        body = {"username": "ann", "password": "a wrong password"}
        answers = api.request_all([("POST", "/auth/login", {"json": body})] * 40)
        statuses = [answer.status_code for answer in answers]
        assert (statuses.count(401), statuses.count(429)) == (5, 35)


def test_many_parallel_logins_succeed() -> None:
    with limited(login="1000/minute") as api:
        api.register("ann")
        body = {"username": "ann", "password": PASSWORD}
        answers = api.request_all([("POST", "/auth/login", {"json": body})] * 20)
        assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize("place", ["password", "erasure"])
def test_a_stolen_session_cannot_guess_the_password(place: str) -> None:
    with limited(login="1000/minute") as api:
        ann = api.caller("ann")

        def tried() -> httpx.Response:
            if place == "erasure":
                return ann.delete("/auth/me", json={"password": "a wrong password"})
            change = {"current_password": "a wrong password", "new_password": "another good one"}
            return ann.post("/auth/password", json=change)

        for _ in range(5):
            assert_problem(tried(), 401, "invalid-credentials")
        assert_limited(tried())
        assert api.login("ann").status_code == 200


# Addresses


def ask_from(api: Api, forwarded: str) -> httpx.Response:
    return api.request("GET", "/items", headers={"x-forwarded-for": forwarded})


def test_x_forwarded_for_is_ignored_without_trusted_proxies() -> None:
    with limited("3/minute") as api:
        statuses = [ask_from(api, f"198.51.100.{number}").status_code for number in range(5)]
        assert statuses == [401] * 3 + [429] * 2


def test_behind_trusted_proxies_the_last_untrusted_address_counts() -> None:
    with limited("3/minute", trusted_proxies=("127.0.0.1", "10.0.0.0/8")) as api:
        for number in range(3):
            answer = ask_from(api, f"203.0.113.{number}, 198.51.100.1, 10.1.2.3")
            assert answer.status_code == 401
        assert_limited(ask_from(api, "198.51.100.1"))
        assert ask_from(api, "198.51.100.2").status_code == 401
