"""Random requests of the clients of a simulated machine."""

from __future__ import annotations

from hashlib import sha256
from random import Random

import msgspec

from eventapi.commands.command import Decision
from eventapi.commands.users import RegisterUser
from eventapi.journal.batch import IdempotencyKey
from eventapi.testing.given import profile
from eventapi.testing.items import Content, Item, create_item, update_item
from events.errors import NotFound
from events.vocabulary.users import UserErased
from projections.state import State
from projections.tables.idempotency import Changed
from projections.tables.users import User
from tests.fault_injection.simulation.ledger import ClientRequest, Ledger

TEXT_LENGTHS = (3, 3, 40, 400, 1500)
"""Text lengths, such that some lines span sectors and pages."""


class Erase(msgspec.Struct, frozen=True):
    """Erase a user; the caller destroys the key once the event is written."""

    user: int

    def decide(self, state: State) -> Decision:
        user = state.users.by_id.get(self.user)
        if user is None or user.status == "erased":
            raise NotFound("there is no such user")
        return Decision(user.subject, UserErased(), user.subject)


class RequestGenerator:
    """Generates requests from what the clients have seen."""

    def __init__(self, random: Random, ledger: Ledger) -> None:
        self._random = random
        self._ledger = ledger
        self._names: dict[int, str] = {}
        self._free_names: list[str] = []
        self._erasable: list[int] = []
        self._items: list[tuple[int, int]] = []
        self._big = random.random() < 0.5
        self._registrations = random.choice((0.05, 0.2))
        self._erasures = random.choice((0.0, 0.05, 0.2))

    def on_written(self, request: ClientRequest, entity: Changed) -> None:
        """Record the entity that a successful request created or changed."""
        if isinstance(entity, Item):
            self._items.append((entity.id, entity.owner))
        elif isinstance(entity, User) and entity.status == "enabled":
            self._names[entity.id] = entity.username
            if request.idempotency is None:
                # Erasing also removes the idempotency record, and a retry would register again.
                self._erasable.append(entity.id)

    def on_erased(self, user: int) -> None:
        """Record that a user is erased, so the name is free."""
        self._free_names.append(self._names.pop(user))
        self._items = [(item, owner) for item, owner in self._items if owner != user]

    def next_request(self) -> ClientRequest:
        """Return a new request, or an idempotent one to repeat."""
        random = self._random
        again = [
            request
            for request in self._ledger.requests
            if request.idempotency is not None
            and (request.outcome == "unknown" or random.random() < 0.1)
        ]
        if again and random.random() < 0.3:
            return random.choice(again)
        request = self._new(len(self._ledger.requests))
        self._ledger.requests.append(request)
        return request

    def _new(self, number: int) -> ClientRequest:
        random = self._random
        if not self._names or random.random() < self._registrations:
            return self._maybe_idempotent(self._registration(number))
        if self._erasable and random.random() < self._erasures:
            user = self._erasable.pop(random.randrange(len(self._erasable)))
            self._ledger.erasing.add(user)
            return ClientRequest(number, user, (Erase(user),), ("",))
        count = random.choice((1, 1, 1, 1, 3))
        texts = tuple(f"text {number}.{part}" for part in range(count))
        paddings = [self._padding() for _ in range(count)]
        if count == 1 and self._items and random.random() < 0.3:
            item, owner = random.choice(self._items)
            change = update_item(owner, item, title=texts[0], description=paddings[0])
            return self._maybe_idempotent(ClientRequest(number, owner, (change,), texts))
        owner = random.choice(list(self._names))
        contents = map(Content, texts, paddings)
        items = tuple(create_item(owner, content) for content in contents)
        return self._maybe_idempotent(ClientRequest(number, owner, items, texts))

    def _registration(self, number: int) -> ClientRequest:
        name = f"user-{number}"
        if self._free_names and self._random.random() < 0.5:
            name = self._free_names.pop()
        return ClientRequest(number, 0, (RegisterUser(profile(name)),), (name,))

    def _maybe_idempotent(self, request: ClientRequest) -> ClientRequest:
        if len(request.commands) == 1 and self._random.random() < 0.3:
            key = sha256(b"%d" % request.number).hexdigest()
            request.idempotency = IdempotencyKey(key, sha256(request.texts[0].encode()).digest())
        return request

    def _padding(self) -> str:
        return "x" * (self._random.choice(TEXT_LENGTHS) if self._big else 3)
