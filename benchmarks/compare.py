"""Ask two services the same questions and compare the answers.

    python -m benchmarks.compare OLD_URL NEW_URL --known known.json

For the move from the old service to the new one: every user of `benchmarks.fill` logs in at both
and reads all own data. Times are compared as instants (the old service writes naive UTC), other
values of successful bodies must be equal, refusals need only the same status. A question that both
answer wrongly is a difference too. Exits with 1 on any difference.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from benchmarks.client import Client, bearer
from benchmarks.fill import KnownUser, read_known

LOGIN_POOL = 4
NEVER_AN_ID = 2_000_000_000
DIFFERENCES_SHOWN = 20  # differences
ANSWER_CHARACTERS_SHOWN = 400  # characters of an answer


@dataclass(frozen=True)
class Outcome:
    """A status, and the body of a success with its times as instants."""

    status: int
    body: object = None


@dataclass(frozen=True)
class Comparison:
    """A question, the expected status, and the outcomes of both services."""

    kind: str
    question: str
    expected: int
    old: Outcome
    new: Outcome

    @property
    def passed(self) -> bool:
        """Whether both gave the same, right answer."""
        return self.old == self.new and self.old.status == self.expected


def compare_user(old: Client, new: Client, user: KnownUser) -> Iterator[Comparison]:
    """Log one user in at both services and read everything of theirs."""
    account = user.account
    body = {"username": account.username, "password": account.password}
    logins = [client.http.post("/auth/login", json=body) for client in (old, new)]
    question = f"login of {account.username}"
    yield Comparison("login", question, 200, *map(_login_outcome, logins))
    if not all(login.is_success for login in logins):
        return
    old_token, new_token = (str(login.json()["access_token"]) for login in logins)

    def ask(kind: str, path: str, expected: int = 200) -> Comparison:
        return Comparison(
            kind,
            f"GET {path} as {account.username}",
            expected,
            _outcome(old.http.get(path, headers=bearer(old_token))),
            _outcome(new.http.get(path, headers=bearer(new_token))),
        )

    yield ask("me", "/auth/me")
    yield ask("list", "/items?limit=1000")
    for item_id in old.item_ids(old_token):
        yield ask("item", f"/items/{item_id}")
    for item_id in (*user.deleted_items, NEVER_AN_ID):
        yield ask("404", f"/items/{item_id}", expected=404)


def compare_refusals(old: Client, new: Client, user: KnownUser) -> Iterator[Comparison]:
    """Compare refusals: no token, a bad token, a wrong password."""
    wrong = {"username": user.account.username, "password": "not the password"}
    questions: dict[str, Callable[[httpx.Client], httpx.Response]] = {
        "no token": lambda http: http.get("/items"),
        "bad token": lambda http: http.get("/items", headers=bearer("not.a.token")),
        "wrong password": lambda http: http.post("/auth/login", json=wrong),
    }
    for question, ask in questions.items():
        yield Comparison("401", question, 401, _outcome(ask(old.http)), _outcome(ask(new.http)))


def _login_outcome(answer: httpx.Response) -> Outcome:
    """The part of a login that is not secret; the new service adds other fields."""
    return Outcome(answer.status_code, answer.is_success and answer.json()["token_type"])


def _outcome(answer: httpx.Response) -> Outcome:
    return Outcome(answer.status_code, _as_instants(answer.json()) if answer.is_success else None)


def _as_instants(value: Any) -> Any:
    """The same JSON value with every `created_at` as an instant; naive times are UTC."""
    if isinstance(value, list):
        return [_as_instants(element) for element in value]
    if isinstance(value, dict):
        return {
            key: _instant(member) if key == "created_at" else _as_instants(member)
            for key, member in value.items()
        }
    return value


def _instant(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def compare(old: Client, new: Client, users: list[KnownUser]) -> list[Comparison]:
    """All questions of all users, a few users at a time."""
    with ThreadPoolExecutor(LOGIN_POOL) as pool:
        answers = pool.map(lambda user: list(compare_user(old, new, user)), users)
        comparisons = [comparison for user in answers for comparison in user]
    return [*comparisons, *compare_refusals(old, new, users[0])]


def print_report(comparisons: list[Comparison]) -> None:
    """Print counts by kind of question, then the first differences."""
    compared = Counter(comparison.kind for comparison in comparisons)
    differing = [comparison for comparison in comparisons if not comparison.passed]
    by_kind = Counter(comparison.kind for comparison in differing)
    print(f"{'question':<10} {'compared':>9} {'different':>9}")
    for kind, count in compared.items():
        print(f"{kind:<10} {count:>9} {by_kind[kind]:>9}")
    for difference in differing[:DIFFERENCES_SHOWN]:
        print(f"\n{difference.question}, expected {difference.expected}")
        print(f"  old: {str(difference.old)[:ANSWER_CHARACTERS_SHOWN]}")
        print(f"  new: {str(difference.new)[:ANSWER_CHARACTERS_SHOWN]}")
    if len(differing) > DIFFERENCES_SHOWN:
        print(f"\n... and {len(differing) - DIFFERENCES_SHOWN} more")


def main() -> None:
    """Compare the services that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("old_url")
    parser.add_argument("new_url")
    parser.add_argument("--known", type=Path, required=True, help="written by benchmarks.fill")
    options = parser.parse_args()
    with Client(options.old_url) as old, Client(options.new_url) as new:
        comparisons = compare(old, new, read_known(options.known))
    print_report(comparisons)
    sys.exit(0 if all(comparison.passed for comparison in comparisons) else 1)


if __name__ == "__main__":
    main()
