"""Twenty clients use one token, code or key at once, over three workers: it works once."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pyotp import TOTP

from eventapi.accounts.links import reset_token, verification_token
from eventapi.commands.keys import MAX_KEYS
from eventapi.security.secret_key import secret_keys
from eventapi.security.signed_texts import SignedTexts
from eventapi.testing.items import ITEMS
from events.codec import decode
from events.record import Record
from events.sealing import Keyring
from tests.end_to_end.client import Answer, Connection
from tests.end_to_end.server import Command, Server, by_serve, uvicorn_of
from tests.security.reader import PASSWORD, log_in, register

WORKERS = 3
CLIENTS = 20
NAME = "ann"
V2 = "/api/v2"


def patient(app: str) -> Command:
    """Serve an app with uvicorn, which keeps idle connections open."""

    def command(port: int, workers: int) -> Sequence[str]:
        return [*uvicorn_of(app)(port, workers), "--timeout-keep-alive", "60"]

    return command


careless = patient("tests.security.racing:careless_commands")
stale = patient("tests.end_to_end.planted:stale_reads")


class Races:
    """A user of a server, and connections to all of its workers."""

    def __init__(self, server: Server, connections: Sequence[Connection]) -> None:
        self.server = server
        self.connections = connections
        self.token = ""

    async def ask(self, method: str, path: str, body: Any = None) -> Answer:
        """Send a request of the user on the first connection."""
        return await self._send(self.connections[0], method, path, body)

    async def race(self, method: str, path: str, bodies: Sequence[Any]) -> Counter[int]:
        """Send requests at once, one on each connection, and count their statuses."""
        pairs = zip(self.connections, bodies, strict=True)
        sent = (self._send(connection, method, path, body) for connection, body in pairs)
        return Counter(answer.status for answer in await asyncio.gather(*sent))

    async def _send(self, connection: Connection, method: str, path: str, body: Any) -> Answer:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return await connection.request(method, V2 + path, body, headers)

    async def log_in(self, password: str = PASSWORD) -> Answer:
        return await log_in(self.connections[0], NAME, password)

    @property
    def records(self) -> list[Record]:
        """The records of the log, with closed seals."""
        return decode(self.server.log.read_bytes().splitlines(), Keyring(), ITEMS)

    def count(self, kind: str) -> int:
        """How many events of a type the log has."""
        return sum(record.event.type == kind for record in self.records)

    @property
    def texts(self) -> SignedTexts:
        return SignedTexts(secret_keys(None, self.server.data))

    async def turn_on_totp(self) -> tuple[str, list[str]]:
        """Turn the second factor on; return its secret and the recovery codes."""
        secret = (await self.ask("POST", "/auth/totp")).json()["secret"]
        code = TOTP(secret).at(int(time.time()) - 30)
        answer = await self.ask("POST", "/auth/totp/confirm", {"code": code})
        return secret, answer.json()["recovery_codes"]

    async def challenges(self) -> list[str]:
        """A challenge for each client."""
        answers = [await self.log_in() for _ in range(CLIENTS)]
        return [answer.json()["challenge"] for answer in answers]


@asynccontextmanager
async def racing(server: Server) -> AsyncIterator[Races]:
    """Open the connections, and register a user, who is logged in."""
    opened: list[Connection] = []
    try:
        while len({one.worker for one in opened[-CLIENTS:]}) < WORKERS or len(opened) < CLIENTS:
            opened.append(await Connection.open(server.port))
        races = Races(server, opened[-CLIENTS:])
        await register(opened[0], NAME)
        races.token = (await races.log_in()).json()["access_token"]
        yield races
    finally:
        for one in opened:
            one.close()


Race = Callable[[Races], Awaitable[tuple[Counter[int], int]]]
"""Returns the statuses, and how often the effect is in the log."""


async def reset_password(races: Races) -> tuple[Counter[int], int]:
    races.token = ""
    body = {"email": f"{NAME}@example.org"}
    assert (await races.ask("POST", "/auth/password/forgot", body)).status == 202
    token = reset_token(races.texts, races.records[-1], body["email"])
    passwords = [f"a new password {number}" for number in range(CLIENTS)]
    bodies = [{"token": token, "new_password": password} for password in passwords]
    found = await races.race("POST", "/auth/password/reset", bodies)
    logins = [(await races.log_in(password)).status for password in (PASSWORD, *passwords)]
    assert Counter(logins) == {401: CLIENTS, 200: 1}
    return found, races.count("user.password_reset")


async def verify_email(races: Races) -> tuple[Counter[int], int]:
    token = verification_token(races.texts, races.records[-1], 1, f"{NAME}@example.org")
    found = await races.race("POST", "/auth/email/verify", [{"token": token}] * CLIENTS)
    # A second use of a link that has verified the address succeeds, and writes nothing.
    return Counter({204: found[204] // CLIENTS}), races.count("user.email_verified")


async def use_code(races: Races) -> tuple[Counter[int], int]:
    secret, _ = await races.turn_on_totp()
    return await finish(races, TOTP(secret).at(int(time.time())))


async def use_recovery_code(races: Races) -> tuple[Counter[int], int]:
    _, codes = await races.turn_on_totp()
    return await finish(races, codes[0])


async def finish(races: Races, code: str) -> tuple[Counter[int], int]:
    """Finish many logins with one code."""
    before = races.count("session.started")
    bodies = [{"challenge": challenge, "code": code} for challenge in await races.challenges()]
    found = await races.race("POST", "/auth/login/second-factor", bodies)
    assert races.count("user.second_factor_used") == races.count("session.started") - before
    return found, races.count("user.second_factor_used")


async def use_challenge(races: Races) -> tuple[Counter[int], int]:
    """Send one challenge with one code from everywhere."""
    secret, _ = await races.turn_on_totp()
    challenge = (await races.log_in()).json()["challenge"]
    body = {"challenge": challenge, "code": TOTP(secret).at(int(time.time()))}
    found = await races.race("POST", "/auth/login/second-factor", [body] * CLIENTS)
    return found, races.count("user.second_factor_used")


async def confirm_totp(races: Races) -> tuple[Counter[int], int]:
    secret = (await races.ask("POST", "/auth/totp")).json()["secret"]
    body = {"code": TOTP(secret).at(int(time.time()))}
    found = await races.race("POST", "/auth/totp/confirm", [body] * CLIENTS)
    return found, races.count("user.totp_enabled")


async def create_the_last_key(races: Races) -> tuple[Counter[int], int]:
    """Make keys while there is room for one."""
    body = {"name": "a key"}
    for _ in range(MAX_KEYS - 1):
        assert (await races.ask("POST", "/auth/keys", body)).status == 201
    found = await races.race("POST", "/auth/keys", [body] * CLIENTS)
    return found, races.count("key.created") - MAX_KEYS + 1


async def revoke_key(races: Races) -> tuple[Counter[int], int]:
    key = (await races.ask("POST", "/auth/keys", {"name": "a key"})).json()
    found = await races.race("DELETE", f"/auth/keys/{key['id']}", [None] * CLIENTS)
    return found, races.count("key.revoked")


RACES: Sequence[Race] = [
    reset_password,
    verify_email,
    use_code,
    use_recovery_code,
    use_challenge,
    confirm_totp,
    create_the_last_key,
    revoke_key,
]


@pytest.mark.parametrize("race", RACES, ids=lambda one: one.__name__)
async def test_of_many_uses_at_once_one_has_an_effect(tmp_path: Path, race: Race) -> None:
    with Server(tmp_path / "data", WORKERS, by_serve) as server:
        async with racing(server) as races:
            statuses, effects = await race(races)
    successes = sum(count for status, count in statuses.items() if status < 300)
    assert (successes, effects) == (1, 1), statuses
    assert max(statuses) < 500, statuses


@pytest.mark.parametrize("race", RACES[:-1], ids=lambda one: one.__name__)
async def test_control_commands_without_checks_under_the_lock_are_detected(
    tmp_path: Path, race: Race
) -> None:
    with Server(tmp_path / "data", WORKERS, careless) as server:
        async with racing(server) as races:
            try:
                _, effects = await race(races)
            except AssertionError:  # Two passwords were set, for example.
                return
    assert effects > 1


async def count_acceptances(races: Races) -> int:
    """How often a worker accepts a key that was revoked."""
    accepted = 0
    session = races.token
    for _ in range(5):
        races.token = session
        key = (await races.ask("POST", "/auth/keys", {"name": "a key"})).json()
        races.token = key["key"]
        while (await races.race("GET", "/items", [None] * CLIENTS))[200] < CLIENTS:  # noqa: ASYNC110 - in other processes
            await asyncio.sleep(0.01)
        races.token = session
        assert (await races.ask("DELETE", f"/auth/keys/{key['id']}")).status == 204
        races.token = key["key"]
        accepted += (await races.race("GET", "/items", [None] * CLIENTS))[200]
    return accepted


async def test_a_revoked_key_is_refused_at_once_by_every_worker(tmp_path: Path) -> None:
    with Server(tmp_path / "data", WORKERS, by_serve) as server:
        async with racing(server) as races:
            assert await count_acceptances(races) == 0


async def test_control_a_worker_with_stale_reads_accepts_a_revoked_key(tmp_path: Path) -> None:
    with Server(tmp_path / "data", WORKERS, stale) as server:
        async with racing(server) as races:
            assert await count_acceptances(races) > 0


async def test_the_uses_of_a_key_on_many_workers_are_recorded_once(tmp_path: Path) -> None:
    with Server(tmp_path / "data", WORKERS, by_serve) as server:
        async with racing(server) as races:
            races.token = (await races.ask("POST", "/auth/keys", {"name": "a key"})).json()["key"]
            assert await races.race("GET", "/items", [None] * CLIENTS) == {200: CLIENTS}
            while not races.count("key.used"):  # noqa: ASYNC110 - in other processes
                await asyncio.sleep(0.01)
        assert server.stop() == 0
        assert races.count("key.used") == 1
        assert json.loads(server.log.read_bytes().splitlines()[-1])["type"] == "key.used"
