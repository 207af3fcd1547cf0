"""Commands about the shares of resources of any kind."""

from __future__ import annotations

from eventapi.commands.command import Decision
from eventapi.commands.quota import NO_QUOTA, Quota
from eventapi.commands.resources import (
    ResourceCommand,
    active_user,
    check_version,
    decision_on,
    not_found,
    owned,
)
from eventapi.resources import access
from events.errors import Fault, Forbidden, Invalid, NotFound
from events.vocabulary.resources import Entity
from projections.state import State
from projections.tables.tombstones import Tombstone
from projections.tables.users import User


class Share(ResourceCommand, frozen=True):
    """Let another user read a live resource of the caller, or read and write it.

    ``versions`` are the versions at which the resource may be; ``None`` accepts any.
    """

    caller: int
    number: int
    username: str
    can: str
    versions: frozenset[int] | None = None
    quota: Quota = NO_QUOTA

    def decide(self, state: State) -> Decision:
        entity, user = self._checked(state)
        self.quota.check(state, entity.owner, adds_one=False)
        event = self.resource.type.shared(user.id, self.can)
        return decision_on(self.resource, entity.id, event, f"users/{self.caller}", "")

    def changes_nothing(self, state: State) -> bool:
        """Whether the user has this share already.

        Raises as `decide`, except `QuotaExceeded`.
        """
        entity, user = self._checked(state)
        shares = state[self.resource.collection].shares.get(entity.id, {})
        return shares.get(user.id) == self.can

    def _checked(self, state: State) -> tuple[Entity, User]:
        """The resource and the other user."""
        entity = owned(self.resource, state, self.caller, self.number)
        if isinstance(entity, Tombstone):
            raise not_found(self.resource)
        user = state.users.find_by_username(self.username)
        if user is None or user.disabled:
            raise NotFound("User not found")
        if user.id == self.caller:
            raise Invalid(Fault("/username", "is the owner, who may do everything already"))
        if self.can == "write" and not access.may_write(
            self.resource, state, active_user(state, self.caller), entity
        ):
            raise Forbidden("you may read this, and let others read it, but not change it")
        check_version(entity, self.versions)
        return entity, user


class Unshare(ResourceCommand, frozen=True):
    """Take back what `Share` gave, also if the resource is deleted.

    ``versions`` as in `Share`.
    """

    caller: int
    number: int
    username: str
    versions: frozenset[int] | None = None

    def decide(self, state: State) -> Decision:
        found = owned(self.resource, state, self.caller, self.number)
        user = state.users.find_by_username(self.username)
        shares = state[self.resource.collection].shares.get(found.id, {})
        if user is None or user.id not in shares:
            raise NotFound("Share not found")
        check_version(found, self.versions)
        event = self.resource.type.unshared(user.id)
        return decision_on(self.resource, found.id, event, f"users/{self.caller}", "")
