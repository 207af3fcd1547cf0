"""What the clients of a simulated machine wish for."""

from __future__ import annotations

from hashlib import sha256
from random import Random

import msgspec

from eventapi.commands.command import Decision
from eventapi.commands.items import CreateItem, UpdateItem
from eventapi.commands.users import RegisterUser
from eventapi.journal.batch import IdempotencyKey
from eventapi.testing.given import profile
from events.errors import NotFound
from events.vocabulary.items import Content
from events.vocabulary.users import UserErased
from projections.state import State
from projections.tables.idempotency import Entity
from projections.tables.items import Item
from projections.tables.users import User
from tests.fault_injection.simulation.ledger import Ledger, Wish

SIZES = (3, 3, 40, 400, 1500)
"""Lengths of texts: a line then spans sectors and pages now and then."""


class Erase(msgspec.Struct, frozen=True):
    """Erase a user; whoever wishes it destroys the key when it is written."""

    user: int

    def decide(self, state: State) -> Decision:
        user = state.users.by_id.get(self.user)
        if user is None or user.status == "erased":
            raise NotFound("there is no such user")
        return Decision(user.subject, UserErased(), user.subject)


class Wishing:
    """Makes wishes up from what clients know."""

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

    def learn(self, wish: Wish, entity: Entity) -> None:
        """A client was told what became of its wish."""
        if isinstance(entity, Item):
            self._items.append((entity.id, entity.owner))
        elif isinstance(entity, User) and entity.status == "enabled":
            self._names[entity.id] = entity.username
            if wish.once is None:
                # The receipt of another one is erased with them: who asks again registers again.
                self._erasable.append(entity.id)

    def forget(self, user: int) -> None:
        """A client was told that a user is erased: their name is free."""
        self._free_names.append(self._names.pop(user))
        self._items = [(item, owner) for item, owner in self._items if owner != user]

    def some(self) -> Wish:
        """A new wish, or an old one of which it is to be known whether it is fulfilled."""
        random = self._random
        again = [
            wish
            for wish in self._ledger.wishes
            if wish.once is not None and (wish.told == "unknown" or random.random() < 0.1)
        ]
        if again and random.random() < 0.3:
            return random.choice(again)
        wish = self._new(len(self._ledger.wishes))
        self._ledger.wishes.append(wish)
        return wish

    def _new(self, number: int) -> Wish:
        random = self._random
        if not self._names or random.random() < self._registrations:
            return self._maybe_once(self._registration(number))
        if self._erasable and random.random() < self._erasures:
            user = self._erasable.pop(random.randrange(len(self._erasable)))
            self._ledger.erasing.add(user)
            return Wish(number, user, (Erase(user),), ("",))
        count = random.choice((1, 1, 1, 1, 3))
        texts = tuple(f"wish {number}.{part} {self._padding()}" for part in range(count))
        if count == 1 and self._items and random.random() < 0.3:
            item, owner = random.choice(self._items)
            change = UpdateItem(owner, item, title=texts[0])
            return self._maybe_once(Wish(number, owner, (change,), texts))
        owner = random.choice(list(self._names))
        items = tuple(CreateItem(owner, Content(text)) for text in texts)
        return self._maybe_once(Wish(number, owner, items, texts))

    def _registration(self, number: int) -> Wish:
        name = f"user-{number}"
        if self._free_names and self._random.random() < 0.5:
            name = self._free_names.pop()
        return Wish(number, 0, (RegisterUser(profile(name)),), (name,))

    def _maybe_once(self, wish: Wish) -> Wish:
        if len(wish.commands) == 1 and self._random.random() < 0.3:
            key = sha256(b"%d" % wish.number).hexdigest()
            wish.once = IdempotencyKey(key, sha256(wish.texts[0].encode()).digest())
        return wish

    def _padding(self) -> str:
        return "x" * (self._random.choice(SIZES) if self._big else 3)
