"""Who may read and who may write a resource, now.

========  ============================  =============================
rule      reads                         writes
========  ============================  =============================
owner     the owner                     the owner
users     every user who is logged in   -
public    every caller                  -
a role    its holders, and the owner    its holders
a share   whom it is shared with        whom it is shared with to write
========  ============================  =============================
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from eventapi.resources.declared import Declared
from events.vocabulary.resources import Entity
from projections.state import State
from projections.tables.tombstones import Tombstone
from projections.tables.users import User

NO_ROLES: Final = frozenset({"owner", "users", "public"})
"""Values of an access that are not the name of a role."""


def may_read(resource: Declared, state: State, user: User | None, one: Entity | Tombstone) -> bool:
    """Whether a user may read a resource; ``None`` is a caller without a token.

    The resources of an erased owner are not readable.
    """
    if user is not None and one.owner == user.id:
        return True
    if isinstance(one, Tombstone) and _is_erased(state, one.owner):
        return False
    if may_read_all(resource, user):
        return True
    return user is not None and _share(resource, state, user, one) != ""


def may_read_all(resource: Declared, user: User | None) -> bool:
    """Whether a user may read every resource of the kind."""
    read = resource.access.read
    if read == "public":
        return True
    # A user may hold a role that is named like a rule, such as `owner`.
    return user is not None and (read == "users" or (read not in NO_ROLES and read in user.roles))


def may_write(resource: Declared, state: State, user: User, one: Entity | Tombstone) -> bool:
    """Whether a user may change a resource."""
    write = resource.access.write
    is_writer = one.owner == user.id if write == "owner" else write in user.roles
    return is_writer or _share(resource, state, user, one) == "write"


def may_create(resource: Declared, user: User) -> bool:
    """Whether a user may create resources of the kind."""
    write = resource.access.write
    return write == "owner" or write in user.roles


def readable_numbers(resource: Declared, state: State, user: User | None) -> Sequence[int]:
    """The numbers of the live resources that a user may read, ascending."""
    table = state[resource.collection]
    if may_read_all(resource, user):
        return table.numbers
    if user is None:
        return ()
    owned, shared = table.by_owner[user.id], _shared_with(resource, state, user)
    if not shared:
        return owned
    return sorted({*owned, *(number for number in shared if number in table.by_id)})


def owner_of_all(resource: Declared, state: State, user: User | None) -> int | None:
    """The owner of all resources that a user may read.

    0 if they are all of the kind; ``None`` if there are those of several owners.
    """
    if may_read_all(resource, user):
        return 0
    if user is None or _shared_with(resource, state, user):
        return None
    return user.id


def ever_readable_numbers(resource: Declared, state: State, user: User | None) -> Sequence[int]:
    """The numbers of the resources, live or deleted, that a user may read, ascending."""
    table = state[resource.collection]
    if may_read_all(resource, user):
        deleted = table.deleted.values()
        return sorted(
            [*table.by_id, *(one.id for one in deleted if not _is_erased(state, one.owner))]
        )
    if user is None:
        return ()
    owned = {*table.by_owner[user.id], *table.ever_deleted(user.id)}
    return sorted(owned | _shared_with(resource, state, user))


def _is_erased(state: State, owner: int) -> bool:
    user = state.users.by_id.get(owner)
    return user is not None and user.status == "erased"


def _shared_with(resource: Declared, state: State, user: User) -> AbstractSet[int]:
    if not resource.shareable:
        return frozenset()
    return state[resource.collection].shared_with.get(user.id, frozenset())


def _share(resource: Declared, state: State, user: User, one: Entity | Tombstone) -> str:
    """What a resource's share lets a user do: ``read``, ``write``, or nothing."""
    if not resource.shareable:
        return ""
    return state[resource.collection].shares.get(one.id, {}).get(user.id, "")
