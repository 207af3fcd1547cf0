"""Links that a person follows begin with an address of the settings, not of a request.

An attacker who sets Host would get the token of whoever follows the link.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.server import Server, by_serve
from tests.eventapi.cli.running import output_of
from tests.security.raw import ask, json_request, login

EVIL = "evil.example"
PLACE = "/api/v2/users/1/password-reset"
POISONS = {
    "Host": (PLACE, [f"Host: {EVIL}"]),
    "an absolute target": (f"http://{EVIL}{PLACE}", ["Host: test"]),
    "an absolute target and Host": (f"http://{EVIL}{PLACE}", [f"Host: {EVIL}"]),
    "X-Forwarded-Host": (PLACE, ["Host: test", f"X-Forwarded-Host: {EVIL}"]),
    "X-Forwarded-Proto": (PLACE, ["Host: test", f"X-Forwarded-Proto: {EVIL}"]),
    "X-Forwarded-Prefix": (PLACE, ["Host: test", f"X-Forwarded-Prefix: //{EVIL}"]),
    "Forwarded": (PLACE, ["Host: test", f"Forwarded: host={EVIL};proto=https"]),
    "other headers": (
        PLACE,
        ["Host: test", *(f"{name}: {EVIL}" for name in ("X-Host", "X-Original-Host", "Origin"))],
    ),
}


@pytest.mark.parametrize("settings", [{}, {"EVENTAPI_TRUSTED_PROXIES": "127.0.0.1"}])
def test_links_never_contain_an_address_from_a_request(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    with Server(tmp_path / "data", 1, by_serve, settings) as server:
        operator = login(server.port, "root")
        output_of(server.data, "users", "grant", "root", "operator")
        for name, (target, fields) in POISONS.items():
            request = json_request("POST", target, {"link": True}, operator, *fields)
            answer = ask(server.port, request)
            assert answer.status == 200, (name, answer)
            assert EVIL not in str(answer.fields) + answer.body.decode(), name
            start = f"http://127.0.0.1:{server.port}/reset-password?token="
            assert answer.json()["link"].startswith(start), name
