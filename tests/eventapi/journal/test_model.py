"""The journal against a plain dictionary, and against itself on the other adapter."""

from __future__ import annotations

import asyncio
import re
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from eventapi.commands.command import Command
from eventapi.commands.users import RegisterUser, UpdateProfile
from eventapi.journal.batch import CommandResult
from eventapi.testing.given import profile
from eventapi.testing.items import create_item, delete_item, update_item
from eventapi.testing.strategies import (
    commands,
    emails,
    numbers,
    typed_contents,
    typed_profiles,
    typed_titles,
)
from events.errors import EventapiError, StorageFull
from events.vocabulary.users import Profile
from projections.state import State
from tests.eventapi.harness import JournalHarness, Storage, open_harness

_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")

Answer = list[str]
"""The results of one write as texts, which must be equal on every adapter."""

wishes = commands.map(lambda command: [command]) | st.lists(commands, min_size=2, max_size=3)


def in_words(answer: list[CommandResult] | BaseException) -> Answer:
    """An answer without the hash, which depends on random keys, and the clock."""
    if isinstance(answer, BaseException):
        assert isinstance(answer, EventapiError), answer
        return [repr(answer)]
    records = [outcome.record for outcome in answer]
    return [f"{one.position} {one.subject} {_TIME.sub('TIME', repr(one.event))}" for one in records]


class Model:
    """Names, emails and items in plain dictionaries; ids are counted."""

    def __init__(self) -> None:
        self.users: dict[int, tuple[str, str, str]] = {}
        """Name, the email address that counts, and the newest one, by number."""
        self.items: dict[int, tuple[int, str]] = {}
        self.made = 0

    def agrees_with(self, state: State) -> None:
        """Check that the state equals the dictionaries."""
        users = state.users.by_id.values()
        items = state["items"].by_id.values()
        known = {user.id: (user.username, user.email, user.newest_email) for user in users}
        assert known == self.users
        assert {item.id: (item.owner, item.title) for item in items} == self.items
        assert state["items"].last_id == self.made


class JournalMachine(RuleBasedStateMachine):
    """Two journals over one directory that restart at will, and one in memory that never does."""

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self._disk = Storage("jsonl", Path(self._directory.name))
        self._runner = asyncio.Runner()
        self._stacks: list[AsyncExitStack] = []
        self.memory = self._open(Storage("memory", Path()))
        self.on_disk = [self._open(self._disk), self._open(self._disk)]
        self.turn = 0

    def _open(self, storage: Storage) -> JournalHarness:
        stack = AsyncExitStack()
        self._stacks.append(stack)
        return self._runner.run(stack.enter_async_context(open_harness(storage)))

    def both(self, *together: list[Command]) -> list[Answer]:
        """Write concurrently, on disk and in memory, and compare the answers."""
        self.turn += 1
        on_disk = self._write(self.on_disk[self.turn % 2], together)
        assert on_disk == self._write(self.memory, together)
        return on_disk

    def _write(self, harness: JournalHarness, together: tuple[list[Command], ...]) -> list[Answer]:
        async def write() -> list[list[CommandResult] | BaseException]:
            return await asyncio.gather(
                *map(harness.journal.execute_all, together), return_exceptions=True
            )

        return [in_words(answer) for answer in self._runner.run(write())]

    @rule()
    def restart_one(self) -> None:
        at = self.turn % 2
        self._runner.run(self._stacks[1 + at].aclose())
        stack = AsyncExitStack()
        self._stacks[1 + at] = stack
        self.on_disk[at] = self._runner.run(stack.enter_async_context(open_harness(self._disk)))

    @rule(name=st.sampled_from(("zoe", "Zoe", "yan")))
    def fail_to_write(self, name: str) -> None:
        """A full disk: nothing may be left behind by it."""
        wish: list[Command] = [RegisterUser(profile(name))]
        for harness in (self.memory, *self.on_disk):
            harness.log.error = StorageFull("full")
        self.both(wish)
        for harness in (self.memory, *self.on_disk):
            harness.log.error = None

    @invariant()
    def every_journal_is_in_the_same_state(self) -> None:
        first, second = (self._runner.run(harness.sums()) for harness in self.on_disk)
        assert first == second
        assert first[0] == self._runner.run(self.memory.sums())[0]

    def teardown(self) -> None:
        for stack in self._stacks:
            self._runner.run(stack.aclose())
        self._runner.close()
        self._directory.cleanup()


class AgainstMemory(JournalMachine):
    """Any commands, alone, in one write and concurrently: all adapters answer the same."""

    @rule(wish=wishes)
    def wish_for_something(self, wish: list[Command]) -> None:
        self.both(wish)

    @rule(together=st.lists(wishes, min_size=2, max_size=4))
    def wish_at_the_same_time(self, together: list[list[Command]]) -> None:
        self.both(*together)


class AgainstDictionary(JournalMachine):
    """Few commands, whose rules a dictionary can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    def _was_granted(self, command: Command) -> bool:
        ((answer,),) = self.both([command])
        return answer[0].isdigit()

    @rule(new=typed_profiles)
    def register(self, new: Profile) -> None:
        names = {name.casefold() for name, _, _ in self.model.users.values()}
        emails = {held.casefold() for _, *both in self.model.users.values() for held in both}
        free = new.username.casefold() not in names and new.email.casefold() not in emails
        assert self._was_granted(RegisterUser(new)) == free
        if free:
            self.model.users[len(self.model.users) + 1] = (new.username, new.email, new.email)

    @rule(user=numbers, email=emails)
    def change_email(self, user: int, email: str) -> None:
        others = {
            held.casefold()
            for number, (_, *both) in self.model.users.items()
            for held in both
            if number != user
        }
        free = user in self.model.users and email.casefold() not in others
        assert self._was_granted(UpdateProfile(user, email=email)) == free
        if free:
            name, before, _ = self.model.users[user]
            counting = email if email.casefold() == before.casefold() else before
            self.model.users[user] = (name, counting, email)

    @rule(owner=numbers, content=typed_contents)
    def create(self, owner: int, content: Any) -> None:
        known = owner in self.model.users
        assert self._was_granted(create_item(owner, content)) == known
        if known:
            self.model.made += 1
            self.model.items[self.model.made] = (owner, content.title)

    @rule(caller=numbers, item=numbers, title=typed_titles)
    def retitle(self, caller: int, item: int, title: str) -> None:
        theirs = self.model.items.get(item, (0, ""))[0] == caller
        assert self._was_granted(update_item(caller, item, title=title)) == theirs
        if theirs:
            self.model.items[item] = (caller, title)

    @rule(caller=numbers, item=numbers)
    def delete(self, caller: int, item: int) -> None:
        theirs = self.model.items.get(item, (0, ""))[0] == caller
        assert self._was_granted(delete_item(caller, item)) == theirs
        if theirs:
            del self.model.items[item]

    @invariant()
    def the_state_says_what_the_dictionary_says(self) -> None:
        for harness in self.on_disk:
            self.model.agrees_with(self._runner.run(harness.state()))


BRIEF = settings(max_examples=max(5, settings().max_examples * 3 // 5), stateful_step_count=25)
"""Every step is several synced writes, so there are fewer of them than by default."""

TestAgainstMemory = AgainstMemory.TestCase
TestAgainstMemory.settings = BRIEF
TestAgainstDictionary = AgainstDictionary.TestCase
TestAgainstDictionary.settings = BRIEF
