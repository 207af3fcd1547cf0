"""A client of an app in the same process: its requests run to their end, its lifespan is entered.

Tests stay plain functions: a loop of the app's own turns only while a request is under way.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Iterable, MutableMapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import msgspec
from argon2 import PasswordHasher

from eventapi.app import create_app
from eventapi.bootstrap.storage import SYSTEM, Overrides
from eventapi.commands.command import Command
from eventapi.configuration.settings import Settings
from eventapi.http.middleware.tracing import Tracing
from eventapi.http.urls import is_version_1
from eventapi.journal.batch import Runtime
from eventapi.journal.journal import Journal
from eventapi.security.passwords import Passwords
from events.log.memory import MemoryLog
from events.log.port import EventLog
from events.vault.memory import MemoryVault
from events.vault.port import Vault

T = TypeVar("T")

SECRET = "a secret key for tests: 0123456789abcdef"
PASSWORD = "correct horse battery staple"
PREFIXES = ("", "/api/v1", "/api/v2")

CHEAP_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""Argon2id as quick as it gets: what it costs is not what these tests are about."""

_names = itertools.count(1)


class Api:
    """A running app. Use it in a ``with`` statement."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        log: EventLog | None = None,
        vault: Vault | None = None,
        tracing: Tracing | None = None,
        environment: Runtime = SYSTEM,
    ) -> None:
        """Settings, log and vault are a test's own where it has any; else all is in memory."""
        self.log = log or MemoryLog()
        self.vault = vault or MemoryVault()
        self.hasher = CHEAP_HASHER
        parts = Overrides(
            log=self.log,
            vault=self.vault,
            passwords=Passwords(CHEAP_HASHER),
            runtime=environment,
        )
        self.edge: Any = create_app(settings or quiet_settings(), parts, tracing)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self.run(self._start())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.run(self._stop())
        finally:
            self._runner.close()

    def run(self, work: Awaitable[T]) -> T:
        """Wait for something in the app's loop."""

        async def waited() -> T:
            return await work

        return self._runner.run(waited())

    async def _start(self) -> None:
        transport = httpx.ASGITransport(self.edge)
        self._client = httpx.AsyncClient(transport=transport, timeout=10)
        self._messages: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete":
                started.set_result(None)
            elif message["type"] == "lifespan.startup.failed":
                started.set_exception(RuntimeError(message["message"]))

        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._messages.put_nowait({"type": "lifespan.startup"})
        self._lifespan = asyncio.ensure_future(self.edge(scope, self._messages.get, send))
        await asyncio.wait([started, self._lifespan], return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            self._lifespan.result()
        started.result()

    async def _stop(self) -> None:
        await self._client.aclose()
        self._messages.put_nowait({"type": "lifespan.shutdown"})
        await self._lifespan

    def request(self, method: str, path: str, **how: Any) -> httpx.Response:
        """Ask, and wait for the answer; ``how`` is httpx's, and ``token`` an access token."""
        return self.run(self.ask(method, path, **how))

    def together(self, requests: Iterable[tuple[str, str, dict[str, Any]]]) -> list[httpx.Response]:
        """Ask all at once, and wait for all answers."""

        async def gathered() -> list[httpx.Response]:
            return await asyncio.gather(
                *(self.ask(method, path, **how) for method, path, how in requests)
            )

        return self.run(gathered())

    async def ask(
        self, method: str, path: str, token: str | None = None, **how: Any
    ) -> httpx.Response:
        """As `request`, within the app's loop; ``path`` may be a URL, such as that of a link."""
        headers = httpx.Headers(how.pop("headers", None))
        url = path if path.startswith(("http://", "https://")) else self.url(path)
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        return await self._client.request(method, url, headers=headers, **how)

    def url(self, path: str) -> str:
        """Where a path is."""
        return f"http://test{path}"

    def register(self, name: str, **body: Any) -> httpx.Response:
        """Register a user in whom everything follows from the name, unless it is told."""
        body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD} | body
        return self.request("POST", "/auth/register", json=body)

    def login(self, name: str, password: str = PASSWORD) -> httpx.Response:
        body = {"username": name, "password": password}
        return self.request("POST", "/auth/login", json=body)

    def caller(self, name: str | None = None, prefix: str = "") -> Caller:
        """A new user, logged in."""
        name = name or f"user-{next(_names)}"
        assert self.register(name).status_code == 200
        return Caller(self, name, self.login(name).json(), prefix)


class Caller(msgspec.Struct, frozen=True):
    """A user who is logged in; ``tokens`` is what the login answered."""

    api: Api
    name: str
    tokens: dict[str, Any]
    prefix: str = ""

    @property
    def token(self) -> str:
        token: str = self.tokens["access_token"]
        return token

    def under(self, prefix: str) -> Caller:
        """The same user, who speaks another version."""
        return msgspec.structs.replace(self, prefix=prefix)

    def request(self, method: str, path: str, **how: Any) -> httpx.Response:
        return self.api.request(method, self.prefix + path, **{"token": self.token} | how)

    def get(self, path: str, **how: Any) -> httpx.Response:
        return self.request("GET", path, **how)

    def post(self, path: str, **how: Any) -> httpx.Response:
        return self.request("POST", path, **how)

    def patch(self, path: str, **how: Any) -> httpx.Response:
        return self.request("PATCH", path, **how)

    def create(self, title: str = "a title", description: str | None = None) -> int:
        """A new item; its number."""
        answer = self.post("/items", json={"title": title, "description": description})
        assert answer.status_code in {200, 201}, answer.text
        number: int = answer.json()["id"]
        return number


def elsewhere(api: Api, *commands: Command, environment: Runtime = SYSTEM) -> None:
    """Write commands beside the app, through a journal of another process."""
    api.run(written_elsewhere(api, *commands, environment=environment))


async def written_elsewhere(api: Api, *commands: Command, environment: Runtime = SYSTEM) -> None:
    """As `elsewhere`, within the app's loop."""
    journal = Journal(api.log, api.vault, environment)
    await journal.start()
    try:
        await journal.execute_all(list(commands))
    finally:
        await journal.close()


def quiet_settings(**given: Any) -> Settings:
    """Settings that keep the secret in memory and the access log silent, and limit nobody."""
    quiet = {"secret_key": SECRET, "log_level": "warning"}
    return Settings(**quiet | {"rate_limit": "off", "rate_limit_login": "off"} | given)


def assert_problem(answer: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """Assert that an answer is an error of a kind, whole and right in every member; its body.

    That of version 1 is turned into the problem document that it would be elsewhere.
    """
    is_v1 = is_version_1(answer.request.url.path)
    media_type = "application/json" if is_v1 else "application/problem+json"
    assert (answer.status_code, answer.headers["content-type"]) == (status, media_type), answer.text
    problem: dict[str, Any] = answer.json()
    optional = {"error", "error_description"} if "error" in problem else set()
    if is_v1:
        assert problem.keys() == {"type", "title", "status", "detail", "request_id"} | optional
        if status == 422:
            problem["errors"] = [_plain_fault(fault) for fault in problem["detail"]]
            problem["detail"] = "; ".join(_text_of(fault) for fault in problem["errors"])
        assert isinstance(problem["detail"], str)
    else:
        known = {"type", "title", "status", "detail", "instance", "request_id", "errors"}
        assert {"type", "title", "status", "detail", "request_id"} <= problem.keys()
        assert problem.keys() <= known | optional
    assert (problem["type"], problem["status"]) == (f"/problems/{slug}", status)
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["title"]
    assert problem["detail"]
    return problem


def _plain_fault(fault: dict[str, Any]) -> dict[str, str]:
    """A fault in the shape of FastAPI as one of a problem document."""
    assert fault.keys() == {"type", "loc", "msg", "input"}
    assert fault["loc"][0] in {"body", "query", "header"}
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in fault["loc"][1:])
    return {"pointer": "".join(f"/{step}" for step in steps), "detail": fault["msg"]}


def _text_of(fault: dict[str, str]) -> str:
    return f"{fault['pointer']}: {fault['detail']}" if fault["pointer"] else fault["detail"]
