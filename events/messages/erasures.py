"""Messages about erasures that a restore undid, or that a start has repeated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from events.messages.errors import USERS_WITHOUT_KEYS
from events.messages.message import Message
from events.messages.server_log import ERASED_AGAIN

_USERS_PER_MESSAGE = 5
"""A message names that many users; further ones are an ellipsis."""


def _join_names(subjects: Sequence[str]) -> str:
    more = ", ..." if len(subjects) > _USERS_PER_MESSAGE else ""
    return ", ".join(subjects[:_USERS_PER_MESSAGE]) + more


def users_without_keys(
    subjects: Sequence[str], message: Message = USERS_WITHOUT_KEYS, **values: object
) -> Message:
    """Explain why a log with users that have neither key nor tombstone is not served."""
    is_one = len(subjects) == 1
    return message.fill(
        who="1 user has" if is_one else f"{len(subjects):,} users have",
        they="the user was" if is_one else "the users were",
        names=_join_names(subjects),
        **values,
    )


def users_erased_again(subjects: Sequence[str]) -> Message:
    """Report the users whose erasure a start appended again."""
    who = "1 user was" if len(subjects) == 1 else f"{len(subjects):,} users were"
    return ERASED_AGAIN.fill(who=who, names=_join_names(subjects))


def highest_number(subjects: Iterable[str]) -> int:
    """The highest user number among subjects such as ``users/7``."""
    return max((int(name[6:]) for name in subjects if name.startswith("users/")), default=0)
