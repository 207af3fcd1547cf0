"""Measure what each feature costs, beside a plain request and beside the same feature of a peer.

    python -m benchmarks.features [--rounds N] [--quick] [--minutes N] [--keep]

The peer is FastAPI with SQLAlchemy's ORM on PostgreSQL. All servers run at the same time on one
core, and wrk on another loads them in turn; PostgreSQL shares wrk's core. A second factor accepts a
code only once, so both kinds of logins are sent one after the other by this process.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from msgspec import Struct
from pyotp import TOTP

from benchmarks import report
from benchmarks.client import Client, UnexpectedAnswerError, bearer
from benchmarks.http import Bench, check_answers
from benchmarks.machine import (
    command_line_of_part,
    context,
    progress,
    rounds_within,
    two_cores,
)
from benchmarks.process import Server
from benchmarks.results import Features, Measured, keep, percentile, place
from benchmarks.rung import EVENTAPI, UNLIMITED, Rung, find_rung, start_services
from benchmarks.sample_data import Account
from benchmarks.usage import cpu_seconds, memory, settle
from benchmarks.webhooks import LOCAL_RECEIVERS, create_webhook, receiver, wait_for_deliveries
from benchmarks.workload import (
    FILTERS,
    LIST_PATH,
    NEW_ITEM,
    READER,
    Request,
    Target,
    Workload,
    create,
    fill_server,
    read_one,
)
from benchmarks.wrk import LoadError
from eventapi.resources import Caller, Projection, PublicEvent
from tests.servers.service import Service

CONNECTIONS: Final = 32
LOGINS: Final = 10
BATCH: Final = 100
STEP_SECONDS: Final = 30
"""The validity of a TOTP code (RFC 6238)."""


def account(name: str) -> Account:
    """Return an account with the reader's password."""
    return replace(READER, username=name, email=f"{name}@example.com")


WRITER: Final = account("writer")


class Counts(Struct):
    """The items that users have ever created, by the number of the user."""

    by_owner: dict[int, int] = {}


class Counted(Projection):
    """Count created items: the read model of the server that has one."""

    state = Counts()

    def apply(self, event: PublicEvent) -> None:
        """Count an item."""
        if event.type == "item.created" and event.owner is not None:
            self.state.by_owner[event.owner] = self.state.by_owner.get(event.owner, 0) + 1

    def query(self, caller: Caller) -> int:
        """Return how many items exist or existed."""
        return sum(self.state.by_owner.values())


PEER: Final = "peer-postgresql"
OURS: Final = ("eventapi", "webhook", "read model")


def _server(name: str, environment: Mapping[str, str]) -> Rung:
    return Rung(name, name, EVENTAPI, {**UNLIMITED, **environment})


RUNGS: Final = (
    _server("eventapi", {}),
    _server("webhook", LOCAL_RECEIVERS),
    _server("read model", {"EVENTAPI_RESOURCES": "benchmarks.features"}),
    find_rung(PEER),
)

Requests = Callable[[Target], Sequence[Request]]


def gets(*paths: str) -> Requests:
    """Return a cycle of GET requests."""
    return lambda _: [Request("GET", path) for path in paths]


def lists(ours: str = "", theirs: str = "") -> Mapping[str, Requests]:
    """Return lists with another filter each time, and with some more parameters."""
    numbers = range(FILTERS)
    return {
        "eventapi": gets(*(f"/api/v2{LIST_PATH}&title.ne={number}{ours}" for number in numbers)),
        PEER: gets(*(f"{LIST_PATH}&differs={number}{theirs}" for number in numbers)),
    }


def batch(path: str, body: object) -> Requests:
    """Return one POST request."""
    return lambda _: [Request("POST", path, body)]


@dataclass(frozen=True)
class Feature:
    """A request that uses a feature, and the ``base`` request without it.

    ``requests`` has the requests of each server; a server that is left out has no such feature. Each
    request writes or reads ``units``; figures are those of one of them. ``caller`` is a caller of
    `Running`.
    """

    name: str
    base: str
    requests: Mapping[str, Requests]
    caller: str = "reader"
    units: int = 1

    def workload(self, server: str) -> Workload:
        """Return the feature's requests to a server."""
        return Workload(self.name, self.name, self.requests[server])


_CREATES: Final = [{"method": "POST", "path": "/items", "body": NEW_ITEM}] * BATCH
FEATURES: Final = (
    Feature("read", "", {"eventapi": read_one, PEER: read_one}),
    Feature("read, API key", "read", {"eventapi": read_one, PEER: read_one}, "key"),
    Feature("list", "", {"eventapi": gets(f"/api/v2{LIST_PATH}"), PEER: gets(LIST_PATH)}),
    Feature("list, filtered", "list", lists()),
    Feature("list, filtered and sorted", "list, filtered", lists("&sort=-title", "&sort=-title")),
    Feature("list, filtered and searched", "list, filtered", lists("&q=e", "&contains=e")),
    Feature("create", "", {"eventapi": create, PEER: create}, "writer"),
    Feature(
        "create, 100 in a batch, each",
        "create",
        {
            "eventapi": batch("/api/v2/batch", {"requests": _CREATES}),
            PEER: batch("/items/batch", [NEW_ITEM] * BATCH),
        },
        "writer",
        BATCH,
    ),
    Feature("create, a webhook subscribed", "create", {"webhook": create}, "writer"),
    Feature("create, a read model declared", "create", {"read model": create}, "writer"),
)
LOGIN, LOGIN_WITH_CODE = "login", "login, with TOTP"
BASES: Final = {**{one.name: one.base for one in FEATURES}, LOGIN: "", LOGIN_WITH_CODE: LOGIN}
"""By feature, the request that it is compared with; empty for a plain one."""


@dataclass
class Running:
    """A running server, and its callers by name.

    The reader has items, the key is an API key of the reader, and the writer creates items, so that
    the reader's lists stay as they are.
    """

    name: str
    server: Server
    client: Client
    callers: Mapping[str, Target]
    database: Service | None = None
    accounts: list[tuple[Account, TOTP]] = field(default_factory=list)
    """Accounts with a second factor, each for one login."""


def post(client: Client, path: str, token: str | None, body: object, status: int) -> dict[str, str]:
    """Send a POST request that must have this status, and return its answer."""
    headers = bearer(token) if token else None
    answer = client.http.post(path, json=body, headers=headers)
    if answer.status_code != status:
        raise UnexpectedAnswerError(f"POST {path}: {answer.status_code} {answer.text[:500]}")
    found: dict[str, str] = answer.json()
    return found


def start(
    bench: Bench, rung: Rung, up: Mapping[type[Service], Service], stack: ExitStack
) -> Running:
    """Start a server, fill it, and make an API key."""
    folder = bench.scratch / rung.name.replace(" ", "-")
    database = up[rung.database] if rung.database else None
    server = stack.enter_context(rung.running(folder, bench.cores, database))
    client = stack.enter_context(Client(server.base_url))
    target = fill_server(client)
    status = 200 if rung.name == PEER else 201
    key = post(client, "/auth/keys", target.token, {"name": "key"}, status)["key"]
    client.register(WRITER)
    if rung.name == "webhook":
        create_webhook(client, target, folder / "data", stack.enter_context(receiver(0.0)))
    bench.warm_up(server, target)
    callers = {
        "reader": target,
        "key": Target(target.account, key, target.item_ids),
        "writer": Target(WRITER, client.login(WRITER), []),
    }
    return Running(rung.name, server, client, callers, database)


def measure(bench: Bench, one: Running, feature: Feature) -> Measured:
    """Load a server with a feature's requests."""
    target, workload = one.callers[feature.caller], feature.workload(one.name)
    first = replace(workload, requests=lambda target: workload.requests(target)[:1])
    check_answers(one.client, first, target)

    def finish() -> None:
        if one.name == "webhook":
            wait_for_deliveries(one.client, one.callers["reader"])

    return bench.measure(one.server, workload, target, CONNECTIONS, one.database, finish=finish)


def new_accounts(one: Running, number: int) -> None:
    """Register accounts with a second factor."""
    for at in range(LOGINS):
        made = account(f"second{number}-{at}")
        one.client.register(made)
        token = one.client.login(made)
        codes = TOTP(post(one.client, "/auth/totp", token, None, 200)["secret"])
        # The code of the step before, because the one of this step is for the login.
        code = codes.at(time.time() - STEP_SECONDS)
        post(one.client, "/auth/totp/confirm", token, {"code": code}, 200)
        one.accounts.append((made, codes))


def log_in_with_code(one: Running) -> None:
    """Log in to the next account with a second factor."""
    made, codes = one.accounts.pop()
    body = {"username": made.username, "password": made.password}
    challenge = post(one.client, "/auth/login", None, body, 401)["challenge"]
    body = {"challenge": challenge, "code": codes.now()}
    post(one.client, "/auth/login/second-factor", None, body, 200)


def measure_logins(one: Running, log_in: Callable[[], object]) -> Measured:
    """Log in some times, one after the other."""
    settle(one.server.pid)
    processes = [one.server.pid, *([one.database.pid] if one.database else [])]
    before, times = [cpu_seconds(process) for process in processes], []
    for _ in range(LOGINS):
        began = time.monotonic()
        log_in()
        times.append((time.monotonic() - began) * 1000)
    used = [cpu_seconds(process) - was for process, was in zip(processes, before, strict=True)]
    cpu, *of_database = [seconds / LOGINS * 1e6 for seconds in used]
    return Measured(
        LOGINS,
        1000 * LOGINS / sum(times),
        percentile(times, 0.5),
        percentile(times, 0.99),
        percentile(times, 0.999),
        cpu,
        memory(one.server.pid),
        *of_database,
    )


def measure_all(bench: Bench, one: Running, number: int) -> Iterator[tuple[str, Measured | None]]:
    """Measure every feature of a server once."""
    for feature in FEATURES:
        if one.name in feature.requests:
            try:
                yield feature.name, measure(bench, one, feature)
            except LoadError as error:
                progress(f"{one.name}, {feature.name} is void: {error}")
                yield feature.name, None
    if one.name in {"eventapi", PEER}:
        yield LOGIN, measure_logins(one, lambda: one.client.login(READER))
    if one.name == "eventapi":
        new_accounts(one, number)
        yield LOGIN_WITH_CODE, measure_logins(one, lambda: log_in_with_code(one))


def main() -> None:
    """Measure with the options of the command line, and print the table."""
    parser = command_line_of_part("features", __doc__, minutes=4)
    options = parser.parse_args()
    cores = two_cores("wrk")
    seconds = 1 if options.quick else 2
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch, ExitStack() as stack:
        bench = Bench(Path(scratch), cores, seconds)
        part = Features(context(Path(scratch), seconds))
        up = start_services((rung.database for rung in RUNGS if rung.database), stack)
        running = [
            start(bench, rung, up, stack)
            for rung in RUNGS
            if rung.database is None or rung.database in up
        ]
        units = {one.name: one.units for one in FEATURES}
        for number in rounds_within(options.rounds or (1 if options.quick else 3), options.minutes):
            for one in running:
                for name, found in measure_all(bench, one, number):
                    side = PEER if one.name == PEER else "eventapi"
                    rounds = part.figures.setdefault(name, {}).setdefault(side, [])
                    place(rounds, number, found and found.divided(units.get(name, 1)))
                    if found is None:
                        part.failures.append(f"{side}, {name}, round {number}")
            part.context.rounds = number
            if options.keep:
                keep(part)
    print(report.features(part, BASES, PEER).text())
    sys.exit(bool(part.failures))


if __name__ == "__main__":
    main()
