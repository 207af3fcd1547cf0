"""Errors of databases: their kinds, and their translation for callers and people."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from events.errors import EventapiError, LogConflict, StorageFull

ERRORS: Final[tuple[type[Exception], ...]] = (
    SQLAlchemyError,
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    EOFError,
)
"""Every error that the use of a database may raise; SQLAlchemy does not wrap all of the drivers'."""

_DISK_FULL_CODES: Final = ("53100", 1021, 1114)
"""PostgreSQL's disk_full; MySQL's ER_DISK_FULL and ER_RECORD_FILE_FULL."""

_LOCK_TIMEOUT_CODES: Final = ("55P03", 1205)
"""PostgreSQL's lock_not_available; MySQL's ER_LOCK_WAIT_TIMEOUT."""

_CONFLICT_CODES: Final = ("40001", "40P01", 1020, 1213)
"""PostgreSQL's serialization_failure and deadlock_detected; MySQL's ER_CHECKREAD and
ER_LOCK_DEADLOCK, which is also Galera's answer if another node has changed the same rows."""

NOT_READY_CODES: Final = (1047,)
"""ER_UNKNOWN_COM_ERROR: a node of Galera is not in the primary component, or has not all data."""

_NO_TLS: Final = re.compile(r"\[SSL: (?!CERTIFICATE_|\w*ALERT_|UNSUPPORTED_PROTOCOL)")
"""How asyncmy reports an answer that is not TLS; an alert or a refused certificate is TLS."""


@contextmanager
def translate_errors(unavailable: Callable[[str], EventapiError], what: str) -> Iterator[None]:
    """Raise `StorageFull` or ``unavailable`` in place of the errors of a database."""
    try:
        yield
    except ERRORS as error:
        if has_code(error, _DISK_FULL_CODES):
            raise StorageFull(f"no room for {what}: {reason_of(error)}") from error
        raise unavailable(f"{what} cannot be reached: {reason_of(error)}") from error


@contextmanager
def translate_conflicts() -> Iterator[None]:
    """Raise `LogConflict` if a transaction was surely refused because of another."""
    try:
        yield
    except ERRORS as error:
        if is_conflict(error):
            raise LogConflict(f"another transaction was first: {reason_of(error)}") from error
        raise


def is_conflict(error: BaseException) -> bool:
    """Whether a transaction was refused because of another one, and can be done again.

    This is certain, even if COMMIT raised the error.
    """
    return has_code(error, _CONFLICT_CODES)


def is_lock_timeout(error: BaseException) -> bool:
    """Whether a statement failed because a lock was not free in time."""
    return has_code(error, _LOCK_TIMEOUT_CODES)


def reason_of(error: BaseException) -> str:
    """Return the cause of an error in one line, without statement and parameters."""
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    reason = error.orig if isinstance(error, DBAPIError) else error
    first, *_ = str(reason).splitlines() or [type(reason).__name__]
    if _NO_TLS.search(first):
        return f"it does not support TLS, which its address requires: {first}"
    return first.rpartition("'>: ")[2] or type(reason).__name__


def has_code(error: BaseException, codes: tuple[object, ...]) -> bool:
    """Whether an error of a database has one of these codes."""
    original = error.orig if isinstance(error, DBAPIError) else None
    found = (getattr(original, "sqlstate", None), *getattr(original, "args", ())[:1])
    return any(code in codes for code in found)
