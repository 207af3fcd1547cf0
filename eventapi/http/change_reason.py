"""The Change-Reason header: why a client changes something."""

from __future__ import annotations

from typing import Final

from eventapi.values.reasons import reason_fault
from events.errors import Fault, Invalid

CHANGE_REASON: Final = "Change-Reason"
HEADER: Final = b"change-reason"


def parse_reason(header: str) -> str:
    """The reason in a Change-Reason header, whose bytes are decoded as Latin-1.

    An empty header is none. Raises `Invalid`.
    """
    try:
        reason = header.encode("latin-1").decode()
    except UnicodeDecodeError:
        raise _invalid("must be UTF-8") from None
    fault = reason_fault(reason) if reason else None
    if fault is not None:
        raise _invalid(fault)
    return reason


def _invalid(fault: str) -> Invalid:
    return Invalid(Fault("", f"{CHANGE_REASON} {fault}", where="header"))
