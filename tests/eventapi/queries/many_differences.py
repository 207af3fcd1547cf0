"""The differences of many pairs of moments of one long history equal two folds.

python -m tests.eventapi.queries.many_differences [EVENTS PAIRS]
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from random import Random
from time import process_time
from typing import Any

from eventapi.queries.differences import Span
from eventapi.testing.given import Happened, at, registered, started
from eventapi.testing.items import ITEM, Content, ContentChanges, ItemCreated, ItemUpdated
from eventapi.testing.resources import created, deleted, shared, unshared, updated
from eventapi.testing.sample_log import Written, write
from events.vocabulary.keys import KeyCreated, KeyName, KeyRevoked, KeyUsed
from events.vocabulary.sessions import SessionRefreshed
from events.vocabulary.users import (
    ProfileChanges,
    UserErased,
    UserRoleGranted,
    UserRoleRevoked,
    UserUpdated,
)
from events.vocabulary.webhooks import WebhookCreated, WebhookDeleted, WebhookSecretRotated
from projections.replay import open_records
from projections.state import State
from tests.eventapi.queries.compared_folds import Moment, compared
from tests.eventapi.queries.test_differences import VOCABULARY, Audited, audited
from tests.events.stores import Memory
from tests.kinds import Invoice

EVENTS = 100_000
PAIRS = 500
_LINES_AT_ONCE = 1_000


class _Model:
    """Draws possible events: users come and go, and so do what they own."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.users: list[int] = []
        self.last = dict.fromkeys(("users", "items", "invoices", "keys", "webhooks", "sessions"), 0)
        self.owned: dict[str, list[tuple[int, int]]] = {
            collection: [] for collection in ("items", "invoices", "keys", "sessions")
        }
        self.webhooks: set[int] = set()

    def events(self, count: int) -> Iterator[Happened]:
        for _ in range(count):
            yield self._next()

    def _new(self, collection: str) -> int:
        self.last[collection] += 1
        return self.last[collection]

    def _next(self) -> Happened:
        draw = self.random.random()
        if len(self.users) < 3 or draw < 0.02:
            number = self._new("users")
            self.users.append(number)
            return registered(number, f"user{number}")
        user = self.random.choice(self.users)
        if draw < 0.028:
            return self._erase(user)
        for limit, make in (
            (0.08, self._user_event),
            (0.12, self._key_event),
            (0.13, self._webhook_event),
            (0.25, self._session_event),
            (0.60, self._item_event),
            (1.00, self._invoice_event),
        ):
            if draw < limit:
                return make(user)
        raise AssertionError

    def _erase(self, user: int) -> Happened:
        self.users.remove(user)
        for collection, owners in self.owned.items():
            self.owned[collection] = [one for one in owners if one[1] != user]
        return f"users/{user}", UserErased()

    def _user_event(self, user: int) -> Happened:
        name = f"name {self.random.random()}"
        event = self.random.choice(
            (
                UserRoleGranted("auditor"),
                UserRoleRevoked("auditor"),
                UserUpdated(personal=ProfileChanges(full_name=name)),
            )
        )
        return f"users/{user}", event

    def _any(self, collection: str) -> int | None:
        """An entity, which is now the last of its collection; often ``None``."""
        owned = self.owned[collection]
        if not owned or self.random.random() < 0.3:
            return None
        place = self.random.randrange(len(owned))
        owned[place], owned[-1] = owned[-1], owned[place]
        return owned[-1][0]

    def _add(self, collection: str, user: int) -> int:
        self.last[collection] += 1
        self.owned[collection].append((self.last[collection], user))
        return self.last[collection]

    def _key_event(self, user: int) -> Happened:
        key = self._any("keys")
        if key is None:
            key = self._add("keys", user)
            return f"keys/k{key}", KeyCreated(
                user, ("read",), "hash", personal=KeyName(f"key {key}")
            )
        if self.random.random() < 0.7:
            return f"keys/k{key}", KeyUsed()
        self.owned["keys"].pop()
        return f"keys/k{key}", KeyRevoked()

    def _webhook_event(self, _: int) -> Happened:
        if not self.webhooks or self.random.random() < 0.3:
            number = self._new("webhooks")
            self.webhooks.add(number)
            return f"webhooks/{number}", WebhookCreated("https://a.example/hook")
        number = self.random.choice([*self.webhooks])
        if self.random.random() < 0.7:
            return f"webhooks/{number}", WebhookSecretRotated()
        self.webhooks.remove(number)
        return f"webhooks/{number}", WebhookDeleted()

    def _session_event(self, user: int) -> Happened:
        session = self._any("sessions")
        if session is None:
            session = self._add("sessions", user)
            return started(f"s{session}", user)
        return f"sessions/s{session}", SessionRefreshed(at(9_999), "hash")

    def _item_event(self, user: int) -> Happened:
        item = self._any("items")
        text = f"text {self.random.random()}"
        if item is None:
            item = self._add("items", user)
            return f"items/{item}", ItemCreated(user, personal=Content(text, None))
        if self.random.random() < 0.8:
            change = ContentChanges(title=text) if item % 2 else ContentChanges(description=text)
            return f"items/{item}", ItemUpdated(personal=change)
        self.owned["items"].pop()
        return deleted(ITEM, item)

    def _invoice_event(self, user: int) -> Happened:
        invoice = self._any("invoices")
        if invoice is None:
            invoice = self._add("invoices", user)
            return created(Invoice(number=f"N{invoice}", year=2026), invoice, owner=user)
        draw = self.random.random()
        if draw < 0.3:
            return shared(Invoice, invoice, user=user, can="read")
        if draw < 0.4:
            return unshared(Invoice, invoice, user=user)
        if draw < 0.9:
            return updated(Invoice, invoice, note=f"note {draw}", paid=draw < 0.6)
        self.owned["invoices"].pop()
        return deleted(Invoice, invoice)


def long_log(events: int) -> Written:
    """A log of so many events about everything that is compared."""
    return write(_Model(7).events(events))


async def moments_of(one: Audited, positions: set[int]) -> dict[int, Moment]:
    """The folds up to these positions, with the keys that exist now."""
    found: dict[int, Moment] = {}
    state, same = State.empty(VOCABULARY), dict[tuple[str, int], Any]()
    async for lines in one.log.read():
        for start in range(0, len(lines), _LINES_AT_ONCE):
            some = lines[start : start + _LINES_AT_ONCE]
            for record in await open_records(some, state, one.keyring, one.vault):
                if state.position in positions:
                    found[state.position] = moment = Moment(state)
                    # Most rows are those of an earlier moment: keep each once.
                    for subject, row in moment.rows.items():
                        earlier = same.setdefault((subject, row["version"]), row)
                        moment.rows[subject] = earlier if earlier == row else row
                state.apply(record)
    return found


async def compare_pairs(written: Written, pairs: int, moments: int) -> dict[str, float]:
    """Compare so many random pairs of so many random moments; return figures."""
    random, figures = Random(11), dict[str, float](differences=0, seconds=0, erased=0)
    async with audited(written, Memory()) as one:
        positions = random.sample(range(len(written.lines)), moments)
        folds = await moments_of(one, set(positions))
        for _ in range(pairs):
            start, end = sorted(random.sample(positions, 2))
            begun = process_time()
            found = await one.differences(Span(start, end), opened=True, limit=10**6)
            figures["seconds"] += process_time() - begun
            assert found == compared(folds[start], folds[end], one.keyring, opened=True)
            figures["differences"] += len(found)
            figures["erased"] += sum(each["change"] == "erased" for each in found)
    return figures


def main() -> None:
    """Compare as many pairs of moments as the arguments say, and print the figures."""
    events, pairs = (int(one) for one in sys.argv[1:] or (EVENTS, PAIRS))
    figures = asyncio.run(compare_pairs(long_log(events), pairs, 60))
    per_pair = figures["seconds"] / pairs
    sys.stdout.write(
        f"{events:,} events, {pairs:,} pairs of moments: {figures['differences']:,.0f} differences, "
        f"{figures['erased']:,.0f} of them erasures; {per_pair:.2f} s of CPU a pair\n"
    )


if __name__ == "__main__":
    main()
