"""What the log and the command line say about erasures that a restore brought to light."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_NAMED = 5
"""How many users a message names."""


def _named(subjects: Sequence[str]) -> str:
    more = ", ..." if len(subjects) > _NAMED else ""
    return ", ".join(subjects[:_NAMED]) + more


def users_without_keys(subjects: Sequence[str]) -> str:
    """Explain why a log with users that have neither key nor tombstone is not served."""
    count = "1 user has" if len(subjects) == 1 else f"{len(subjects)} users have"
    user = "the user was" if len(subjects) == 1 else "the users were"
    return (
        f"{count} no key ({_named(subjects)}). Either this vault belongs to another log, or {user} "
        "erased after this copy was made. Nothing was changed. Next: run "
        "`eventapi log restore --vault KEYS` with the newest copy of the keys, which has every key "
        "and every erasure"
    )


def users_erased_again(subjects: Sequence[str]) -> str:
    """Report the users whose erasure a start appended again."""
    if len(subjects) == 1:
        start = "1 user was erased after this log was copied; the erasure was appended again"
    else:
        start = (
            f"{len(subjects)} users were erased after this log was copied; "
            "their erasure was appended again"
        )
    return f"{start}: {_named(subjects)}"


def highest_number(subjects: Iterable[str]) -> int:
    """The highest user number among subjects such as ``users/7``."""
    return max((int(name[6:]) for name in subjects if name.startswith("users/")), default=0)
