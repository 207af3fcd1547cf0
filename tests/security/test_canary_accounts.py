"""Keys, second factors and addresses of an erased account are in no file and no output."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from pyotp import TOTP

from eventapi.security.totp import recovery_hash
from tests.end_to_end.server import Server, by_serve
from tests.eventapi.cli.running import output_of
from tests.security.test_canary import PASSWORD, TYPED, Client, files, find, run_cli

V2 = "/api/v2"
PERSONAL = {
    "name of a key": "canary key of the nightly job",
    "pending address": "canary.pending@example.org",
    "address of the client": "198.51.100.237",
    "device of a key": "canary-key-agent/7.7",
    "device of a login": "canary-login-agent/8.8",
    "device of a mailed link": "canary-link-agent/9.9",
}


def use_the_account(client: Client) -> dict[str, str]:
    """Use keys, a second factor and mailed links; return the secrets."""
    device = {"X-Forwarded-For": PERSONAL["address of the client"]}

    def ask(method: str, path: str, body: object = None, agent: str = "", **named: str) -> Any:
        headers = device | ({"User-Agent": agent} if agent else {}) | named
        return client.ask(method, V2 + path, body, private=True, **headers)

    body: dict[str, object] = {"name": PERSONAL["name of a key"]}
    key = ask("POST", "/auth/keys", body)
    bearer = {"Authorization": f"Bearer {key['key']}"}
    ask("GET", "/items", None, PERSONAL["device of a key"], **bearer)
    deadline = time.monotonic() + 20
    while ask("GET", "/auth/keys")[0]["last_used_at"] is None and time.monotonic() < deadline:
        time.sleep(0.05)
    revoked = ask("POST", "/auth/keys", body | {"scopes": ["read"]})
    ask("DELETE", f"/auth/keys/{revoked['id']}")
    ask("PATCH", "/auth/me", {"email": PERSONAL["pending address"]})
    for path, address in (
        ("/auth/email/verification", PERSONAL["pending address"]),
        ("/auth/password/forgot", TYPED["email"]),
    ):
        ask("POST", path, {"email": address}, PERSONAL["device of a mailed link"])
    setup = ask("POST", "/auth/totp")
    code = TOTP(setup["secret"]).at(int(time.time()) - 30)
    codes = ask("POST", "/auth/totp/confirm", {"code": code})["recovery_codes"]
    known = {"username": TYPED["username"], "password": PASSWORD}
    challenge = ask("POST", "/auth/login", known)["challenge"]
    wrong = {"challenge": challenge, "code": "000000"}
    ask("POST", "/auth/login/second-factor", wrong, PERSONAL["device of a login"])
    right = {"challenge": challenge, "code": codes[0]}
    tokens = ask("POST", "/auth/login/second-factor", right, PERSONAL["device of a login"])
    ask("GET", "/auth/me/events")
    ask("GET", "/auth/me/export")
    return {
        "key": key["key"],
        "secret of a key": key["key"].split("_")[2],
        "secret of a revoked key": revoked["key"].split("_")[2],
        "TOTP secret": setup["secret"],
        "challenge": challenge,
        "access token": tokens["access_token"],
        **{f"recovery code {number}": text for number, text in enumerate(codes)},
        **{f"hash of code {number}": recovery_hash(text) for number, text in enumerate(codes)},
    }


def settings_of(data: Path) -> dict[str, str]:
    return {
        "EVENTAPI_LOG_LEVEL": "debug",
        "EVENTAPI_LOG_FILE": str(data / "server.log"),
        "EVENTAPI_TRUSTED_PROXIES": "127.0.0.1",
    }


def without_address(places: dict[str, bytes]) -> dict[str, bytes]:
    """The access log is a record of addresses, whoever they belong to."""
    return {
        name: content.replace(PERSONAL["address of the client"].encode(), b"")
        if name in {"server.log", "its output"}
        else content
        for name, content in places.items()
    }


def test_an_erased_account_leaves_no_key_second_factor_or_address(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", 2, by_serve, settings_of(tmp_path / "data"))
    with server:
        client = Client(server.port)
        client.use_everything()
        secrets = use_the_account(client)
        output_of(server.data, "snapshot")
        kept = {name: one for name, one in files(server).items() if not name.startswith("outbox")}
        assert find(without_address(kept), secrets | PERSONAL) == [], "sealed while it exists"
        export = client.ask("GET", f"{V2}/auth/me/export", private=True)
        readable = {"the export": export if isinstance(export, bytes) else str(export).encode()}
        found = {name.removesuffix(" in the export") for name in find(readable, PERSONAL)}
        assert found == PERSONAL.keys(), "the control: the owner reads all of it"
        before = server.log.read_bytes()
        client.ask("DELETE", "/auth/me", {"password": PASSWORD})
        me = client.ask("GET", f"{V2}/items", Authorization=f"Bearer {secrets['key']}")
        assert me["type"] == "/problems/unauthenticated"
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and find(files(server), {"address": TYPED["email"]}):
            time.sleep(0.1)
    kept = without_address(files(server) | {"a copy of the log": before})
    assert find(kept, secrets | PERSONAL | TYPED) == []
    assert json.loads(server.log.read_bytes().splitlines()[-1])["type"] == "user.erased"
    for command in (("log", "show"), ("state", "show"), ("log", "verify")):
        done = run_cli(server, *command)
        assert done.returncode == 0, done.stderr
        assert find({" ".join(command): done.stdout.encode()}, secrets | PERSONAL | TYPED) == []
