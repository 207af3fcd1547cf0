"""``python -m tests.security.logins``: measure what logins reveal and cost.

Prints three figures of one server on the loopback, measured in alternating rounds:
- the area under the ROC curve of a classifier that uses the time of a refused login to distinguish
  known users from unknown ones (0.5: the time reveals nothing);
- the rate of logins as a share of the rate of bare argon2 on the same cores;
- the p99 of reading an item while others log in, as a multiple of its p99 on an idle server.
With ``--imported`` only the areas, also of users with imported hashes of several kinds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import bcrypt
from argon2 import PasswordHasher
from argon2.profiles import RFC_9106_LOW_MEMORY

from eventapi.bootstrap.storage import open_journal
from eventapi.commands.users import RegisterUser
from eventapi.configuration.settings import Settings
from eventapi.security.passwords import OWASP_HASHER
from events.vocabulary.users import Profile
from tests.end_to_end.client import Connection
from tests.end_to_end.server import Server, by_serve
from tests.security.reader import PASSWORD, USER, log_in, p99_of_reads, register

ROUNDS = 5


def roc_area(some: Sequence[float], others: Sequence[float]) -> float:
    """The probability that one of ``others`` exceeds one of ``some`` (Mann-Whitney)."""
    ranked = sorted([(value, 0) for value in some] + [(value, 1) for value in others])
    greater = ties = seen = at = 0.0
    while at < len(ranked):
        end = at = int(at)
        while end < len(ranked) and ranked[end][0] == ranked[at][0]:
            end += 1
        here = sum(kind for _, kind in ranked[at:end])
        greater += here * seen
        ties += here * (end - at - here)
        seen += end - at - here
        at = end
    return (greater + ties / 2) / (len(some) * len(others))


UNKNOWN = "no-such-one"
IMPORTED = {
    "bcrypt-10": bcrypt.hashpw(b"x", bcrypt.gensalt(10)).decode(),
    "argon2-rfc9106": PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY).hash("x"),
    "malformed": "$argon2id$v=19$m=8,t=1,p=1$é$é",
}
"""Users with hashes of other kinds, and one with a malformed hash."""


async def import_users(data: Path) -> None:
    """Write the imported users into a log; older imports accepted any hash."""
    async with open_journal(Settings(data=str(data)), begin=True) as (journal, _):
        for name, stored in IMPORTED.items():
            await journal.execute(RegisterUser(Profile(name, f"{name}@example.org", stored)))


async def measure_areas(
    port: int, samples: int, imported: Collection[str] = ()
) -> dict[str, float]:
    """The area of each known user, from ``samples`` refused logins of each."""
    connection = await Connection.open(port)
    await register(connection, USER)
    kinds = [name for name in (USER, *imported, UNKNOWN) for _ in range(samples)]
    random.shuffle(kinds)
    times: dict[str, list[float]] = {name: [] for name in set(kinds)}
    for name in kinds:
        started = time.perf_counter()
        answer = await log_in(connection, name, "a wrong password")
        times[name].append(time.perf_counter() - started)
        assert answer.status == 401, answer
    connection.close()
    return {name: roc_area(times[UNKNOWN], times[name]) for name in (USER, *imported)}


def _argon2_rate(seconds: float) -> float:
    """Verifications per second of argon2 alone, with a thread for each core."""
    stored = OWASP_HASHER.hash(PASSWORD)
    end = time.perf_counter() + seconds

    def verify() -> int:
        for done in count(1):
            OWASP_HASHER.verify(stored, PASSWORD)
            if time.perf_counter() >= end:
                return done
        raise AssertionError

    cores = os.cpu_count() or 1
    started = time.perf_counter()
    with ThreadPoolExecutor(cores) as threads:
        done = sum(threads.map(lambda _: verify(), range(cores)))
    return done / (time.perf_counter() - started)


async def _login_rate(port: int, seconds: float) -> float:
    """Logins per second of enough clients to keep every core busy."""
    end = time.perf_counter() + seconds

    async def client() -> int:
        connection = await Connection.open(port)
        done = 0
        while time.perf_counter() < end:
            answer = await log_in(connection, USER, PASSWORD)
            assert answer.status == 200, answer
            done += 1
        connection.close()
        return done

    started = time.perf_counter()
    done = sum(await asyncio.gather(*(client() for _ in range(2 * (os.cpu_count() or 1)))))
    return done / (time.perf_counter() - started)


async def _reads_during_logins(port: int, seconds: float) -> tuple[float, float]:
    return await asyncio.gather(p99_of_reads(port, seconds), _login_rate(port, seconds))


async def measure_costs(port: int, seconds: float) -> tuple[float, float]:
    """Medians of the rate over that of argon2, and of the p99 over that when idle."""
    rates, pauses = [], []
    for _ in range(ROUNDS):
        rates.append(await _login_rate(port, seconds) / _argon2_rate(seconds))
        idle = await p99_of_reads(port, seconds)
        busy, _ = await _reads_during_logins(port, seconds)
        pauses.append(busy / idle)
    return median(rates), median(pauses)


def main() -> int:
    """Print the figures; return 1 if the time reveals which users exist."""
    parser = argparse.ArgumentParser(prog="python -m tests.security.logins", description=__doc__)
    parser.add_argument("--samples", type=int, default=5000, help="refused logins of each kind")
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement of a round")
    parser.add_argument("--imported", action="store_true", help="only users of several hashes")
    options = parser.parse_args()
    imported = IMPORTED if options.imported else ()
    with TemporaryDirectory() as directory:
        data = Path(directory) / "data"
        if imported:
            asyncio.run(import_users(data))
        with Server(data, 1, by_serve) as server:
            areas = asyncio.run(measure_areas(server.port, options.samples, imported))
            for name, area in areas.items():
                _print(f"area under the ROC curve, {options.samples:,} of each, {name}", area)
            if not imported:
                rate, pause = asyncio.run(measure_costs(server.port, options.seconds))
                _print("logins, as a share of bare argon2", rate)
                _print("p99 of reads during logins, over that when idle", pause)
    return any(abs(area - 0.5) > 0.02 for area in areas.values())


def _print(name: str, value: float) -> None:
    print(f"{name:60}{value:8.3f}", flush=True)  # noqa: T201  # it prints its figures


if __name__ == "__main__":
    sys.exit(main())
