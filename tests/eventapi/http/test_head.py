"""Limits on heads: list-valued fields have a maximum number of parts."""

from __future__ import annotations

import pytest

from eventapi.http import head as message
from eventapi.http.request import ApiRequest
from tests.eventapi.http.client import Api, Caller, assert_problem, quiet_settings

LISTS = {
    "accept": 128,
    "accept-encoding": 128,
    "access-control-request-headers": 256,
    "content-type": 16,
    "if-match": 256,
    "if-none-match": 256,
    "x-forwarded-for": 64,
}
LONG = {"x-padding": "x" * 512}


def parts(name: str, count: int, separator: str = ",") -> str:
    one = {"if-match": '"1"', "if-none-match": '"1"', "x-forwarded-for": "10.0.0.1"}.get(name, "a")
    return separator.join([one] * count)


@pytest.mark.parametrize("path", ["/items", "/items/1", "/items/events", "/health/live", "/no"])
@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("separator", [",", ";", " , "])
def test_a_list_of_too_many_parts_is_refused_on_every_path(
    ann: Caller, name: str, separator: str, path: str
) -> None:
    value = parts(name, LISTS[name] + 1, separator)
    if name == "x-forwarded-for" and separator == ";":
        value = separator * 1000
    headers = {name: value} | LONG

    assert_problem(ann.get(path, headers=headers), 431, "headers-too-large")
    assert_problem(ann.get(path, headers=headers, token=None), 431, "headers-too-large")


@pytest.mark.parametrize("name", LISTS)
def test_a_list_on_several_lines_is_one_list(ann: Caller, name: str) -> None:
    half = parts(name, LISTS[name] // 2 + 1)
    lines = [(name, half), (name, half), *LONG.items()]
    headers = [*lines, ("authorization", f"Bearer {ann.token}")]

    answer = ann.api.request("GET", "/items", headers=headers)

    assert_problem(answer, 431, "headers-too-large")


@pytest.mark.parametrize("separator", ["", " ", ","])
@pytest.mark.parametrize("name", ["if-match", "if-none-match"])
def test_entity_tags_without_commas_are_counted_too(ann: Caller, name: str, separator: str) -> None:
    number = ann.create()
    answer = ann.get(f"/items/{number}", headers={name: parts(name, 300, separator)})

    assert_problem(answer, 431, "headers-too-large")


@pytest.mark.parametrize("name", LISTS)
def test_control_a_list_at_the_limit_is_accepted(ann: Caller, name: str) -> None:
    number = ann.create()
    headers = {name: parts(name, LISTS[name])} | LONG

    assert ann.get(f"/items/{number}", headers=headers).status_code in {200, 412}


def test_a_list_of_too_many_parts_is_refused_before_it_is_split(
    ann: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def split(self: ApiRequest) -> dict[str, float]:
        raise AssertionError("the field was split")

    monkeypatch.setattr(ApiRequest, "accept_weights", split)

    answer = ann.get("/items/events?access_token=x", headers={"accept": "," * 30_000}, token=None)

    assert_problem(answer, 431, "headers-too-large")


def test_control_without_the_limit_the_list_is_split(
    ann: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message, "_has_too_many_parts", lambda headers: False)
    answer = ann.get("/items/events?access_token=x", headers={"accept": "," * 30_000}, token=None)

    assert_problem(answer, 401, "unauthenticated")


@pytest.mark.parametrize("separator", [",", ", "])
def test_a_trusted_proxy_may_not_send_too_many_addresses(separator: str) -> None:
    """Not even in a small head: ignoring the list would make the proxy the client."""
    with Api(quiet_settings(trusted_proxies=("127.0.0.1",))) as api:
        ann = api.caller()

        for one in ("1", "10.0.0.1"):
            headers = {"x-forwarded-for": separator.join([one] * 65)}
            assert_problem(ann.get("/items", headers=headers), 431, "headers-too-large")
        headers = {"x-forwarded-for": separator.join(["10.0.0.1"] * 64)}

        assert ann.get("/items", headers=headers).status_code == 200
