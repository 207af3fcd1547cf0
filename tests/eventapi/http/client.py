"""A client of an app in the same process, with helpers that read its answers.

Tests are plain functions: the client runs an event loop of its own while a request is in progress.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Iterable, Iterator, Mapping, MutableMapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import msgspec
from argon2 import PasswordHasher

from eventapi.app import create_app
from eventapi.bootstrap.storage import SYSTEM, Overrides
from eventapi.commands.command import Command
from eventapi.commands.users import GrantRole
from eventapi.configuration.settings import Settings
from eventapi.http.middleware.tracing import Tracing
from eventapi.http.urls import is_version_1
from eventapi.journal.batch import Runtime
from eventapi.journal.journal import Journal
from eventapi.resources.registry import Registry
from eventapi.security.passwords import Passwords
from eventapi.testing.items import ITEMS
from events.log.memory import MemoryLog
from events.log.port import EventLog
from events.vault.memory import MemoryVault
from events.vault.port import Vault
from projections.snapshots import Snapshots
from tests.eventapi.http.apps import APPLICATIONS

T = TypeVar("T")

SECRET = "a secret key for tests: 0123456789abcdef"
PASSWORD = "correct horse battery staple"
PREFIXES = ("", "/api/v1", "/api/v2")
OPERATOR = "operator/test"
"""The actor of commands that a test executes without HTTP."""

CHEAP_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""Argon2id with the least cost, because most tests are not about the cost of a hash."""

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
        registry: Registry | None = None,
        snapshots: Snapshots | None = None,
    ) -> None:
        """Log and vault are in memory unless a test passes its own."""
        self.log = log or MemoryLog()
        self.vault = vault or MemoryVault()
        self.hasher = CHEAP_HASHER
        parts = Overrides(
            log=self.log,
            vault=self.vault,
            snapshots=snapshots,
            passwords=Passwords(CHEAP_HASHER),
            runtime=environment,
            registry=registry,
        )
        settings = settings or quiet_settings()
        self._reusable = APPLICATIONS.take(settings, parts) if tracing is None else None
        self.edge: Any = (
            create_app(settings, parts, tracing) if self._reusable is None else self._reusable.app
        )
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
        if self._reusable is not None:
            APPLICATIONS.give_back(self._reusable)

    def run(self, work: Awaitable[T]) -> T:
        """Run an awaitable in the app's event loop and return its result."""

        async def wait() -> T:
            return await work

        return self._runner.run(wait())

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
        """Send a request and return the answer.

        ``how`` are the arguments of httpx, and ``token``, which is an access token.
        """
        return self.run(self.request_async(method, path, **how))

    async def request_async(
        self, method: str, path: str, token: str | None = None, **how: Any
    ) -> httpx.Response:
        """Do as `request`, within the app's loop; ``path`` may be the URL of a link."""
        headers = httpx.Headers(how.pop("headers", None))
        url = path if path.startswith(("http://", "https://")) else self.url(path)
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        return await self._client.request(method, url, headers=headers, **how)

    def request_all(
        self, requests: Iterable[tuple[str, str, dict[str, Any]]]
    ) -> list[httpx.Response]:
        """Send requests concurrently and return their answers in the same order."""

        async def gather() -> list[httpx.Response]:
            return await asyncio.gather(
                *(self.request_async(method, path, **how) for method, path, how in requests)
            )

        return self.run(gather())

    def url(self, path: str) -> str:
        """The URL of a path."""
        return f"http://test{path}"

    def register(self, name: str, **changes: Any) -> httpx.Response:
        """Register a user; see `registration`."""
        return self.request("POST", "/auth/register", json=registration(name, **changes))

    def login(self, name: str, password: str = PASSWORD) -> httpx.Response:
        return self.request("POST", "/auth/login", json=credentials(name, password))

    def caller(self, name: str | None = None, prefix: str = "") -> Caller:
        """A new user who is logged in."""
        name = name or f"user-{next(_names)}"
        assert self.register(name).status_code == 200
        return Caller(self, name, self.login(name).json(), prefix)

    def auditor(self, name: str | None = None) -> Caller:
        """A new user who is logged in and has the role of an auditor."""
        caller = self.caller(name)
        self.execute(GrantRole(caller.name, "auditor", OPERATOR))
        # The app reads the event of the grant now, and not in the middle of what a test counts.
        caller.get("/auth/me").raise_for_status()
        return caller

    def execute(self, *commands: Command, environment: Runtime = SYSTEM) -> None:
        """Execute commands through a second journal, as another process would."""
        self.run(self.execute_async(*commands, environment=environment))

    async def execute_async(self, *commands: Command, environment: Runtime = SYSTEM) -> None:
        """Do as `execute`, within the app's loop."""
        journal = Journal(self.log, self.vault, ITEMS, environment)
        await journal.start()
        try:
            await journal.execute_all(list(commands))
        finally:
            await journal.close()

    def log_lines(self, after: int = 0, upto: int | None = None) -> list[bytes]:
        """The lines of the log at positions from ``after + 1`` to ``upto``."""

        async def read() -> list[bytes]:
            return [line async for lines in self.log.read(after, upto) for line in lines]

        return self.run(read())


class Caller(msgspec.Struct, frozen=True):
    """A logged-in user of one API version; ``tokens`` is the answer to the login."""

    api: Api
    name: str
    tokens: dict[str, Any]
    prefix: str = ""

    @property
    def token(self) -> str:
        token: str = self.tokens["access_token"]
        return token

    @property
    def session_id(self) -> str:
        return session_id_of(self.tokens)

    def under(self, prefix: str) -> Caller:
        """The same user, whose requests go to another prefix."""
        return msgspec.structs.replace(self, prefix=prefix)

    def request(self, method: str, path: str, **how: Any) -> httpx.Response:
        return self.api.request(method, self.prefix + path, **{"token": self.token} | how)

    def get(self, path: str, **how: Any) -> httpx.Response:
        return self.request("GET", path, **how)

    def head(self, path: str, **how: Any) -> httpx.Response:
        return self.request("HEAD", path, **how)

    def post(self, path: str, **how: Any) -> httpx.Response:
        return self.request("POST", path, **how)

    def put(self, path: str, **how: Any) -> httpx.Response:
        return self.request("PUT", path, **how)

    def patch(self, path: str, **how: Any) -> httpx.Response:
        return self.request("PATCH", path, **how)

    def delete(self, path: str, **how: Any) -> httpx.Response:
        return self.request("DELETE", path, **how)

    def create(self, title: str = "a title", description: str | None = None) -> int:
        """Create an item and return its id."""
        answer = self.post("/items", json={"title": title, "description": description})
        assert answer.status_code in {200, 201}, answer.text
        number: int = answer.json()["id"]
        return number

    def erase(self, password: str = PASSWORD) -> httpx.Response:
        """Erase the account."""
        return self.delete("/auth/me", json={"password": password})

    def pages(self, path: str) -> Iterator[httpx.Response]:
        """Every page of a list, following the links to the next one."""
        url: str | None = self.prefix + path
        while url is not None:
            answer = self.api.request("GET", url, token=self.token)
            yield answer
            url = answer.links.get("next", {}).get("url")

    def owner_id(self, item: int) -> int:
        """The user's id, as the history of one of their items shows it."""
        actor: str = self.get(f"/items/{item}/history").json()[0]["actor"]
        return int(actor.removeprefix("users/"))


def quiet_settings(**given: Any) -> Settings:
    """Settings with a fixed secret, a silent access log and no rate limits."""
    quiet = {"secret_key": SECRET, "log_level": "warning"}
    return Settings(**quiet | {"rate_limit": "off", "rate_limit_login": "off"} | given)


def registration(name: str, **changes: Any) -> dict[str, Any]:
    """The body that registers a user, derived from the name except for ``changes``."""
    return {"username": name, "email": f"{name}@example.org", "password": PASSWORD} | changes


def credentials(name: str, password: str = PASSWORD) -> dict[str, str]:
    """The body that logs a user in."""
    return {"username": name, "password": password}


def session_id_of(tokens: Mapping[str, Any]) -> str:
    """The id of the session that a login began."""
    token: str = tokens["refresh_token"]
    return token.partition(".")[0]


def items_of(answer: httpx.Response) -> list[dict[str, Any]]:
    """The items of a page, of either version."""
    assert answer.status_code == 200, answer.text
    content = answer.json()
    items: list[dict[str, Any]] = content if isinstance(content, list) else content["items"]
    return items


def http_scope(
    path: str,
    *,
    method: str = "GET",
    query: str = "",
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> dict[str, Any]:
    """The complete ASGI scope of a request; ``members`` replace or add members."""
    given = {"host": "test"} | dict(headers or {})
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
        "state": {},
    }
    return scope | members


def assert_problem(answer: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """Assert that an answer is a complete error of a kind, and return its body.

    The body of version 1 is converted to the problem document of the other versions.
    """
    is_v1 = is_version_1(answer.request.url.path)
    media_type = "application/json" if is_v1 else "application/problem+json"
    assert (answer.status_code, answer.headers["content-type"]) == (status, media_type), answer.text
    problem: dict[str, Any] = answer.json()
    optional = {"error", "error_description"} if "error" in problem else set()
    if is_v1:
        assert problem.keys() == {"type", "title", "status", "detail", "request_id"} | optional
        if status == 422:
            problem["errors"] = [_problem_fault(fault) for fault in problem["detail"]]
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


def _problem_fault(fault: dict[str, Any]) -> dict[str, str]:
    """Convert a fault in FastAPI's shape to one of a problem document."""
    assert fault.keys() == {"type", "loc", "msg", "input"}
    assert fault["loc"][0] in {"body", "query", "header"}
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in fault["loc"][1:])
    return {"pointer": "".join(f"/{step}" for step in steps), "detail": fault["msg"]}


def _text_of(fault: dict[str, str]) -> str:
    return f"{fault['pointer']}: {fault['detail']}" if fault["pointer"] else fault["detail"]
