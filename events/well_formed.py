"""Well-formedness of a line: rules that JSON types cannot express.

A line that passes has its members in the order of the format, each once and without white space;
its subject fits its type; its times exist; its numbers fit 64 bits; its seals are texts. Every line
of a log that `log verify` calls whole has passed, so a server can start on it and answer all reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from events.record import Event
from events.vocabulary.resources import ResourceEvent

MAX_NUMBER: Final = 2**63 - 1

_SUBJECTS: Final = {
    "user": re.compile(r"users/(?P<number>[1-9][0-9]{0,18})", re.ASCII),
    "session": re.compile(r"sessions/(?P<number>)[!#-\[\]-~]{1,55}"),
    "key": re.compile(r"keys/(?P<number>)[!#-\[\]-~]{1,55}"),
    "webhook": re.compile(r"webhooks/(?P<number>[1-9][0-9]{0,18})", re.ASCII),
    "security": re.compile(
        r"users/(?P<number>[1-9][0-9]{0,18})|security/[!#-\[\]-~]{1,55}", re.ASCII
    ),
    "audit": re.compile(r"users/(?P<number>[1-9][0-9]{0,18})", re.ASCII),
    "log": re.compile(r"log/(?P<number>)checkpoints"),
    "schema": re.compile(r"schemas/(?P<number>)[a-z][a-z0-9_]{0,62}"),
}
_RESOURCE: Final = re.compile(r"[a-z][a-z0-9_]{0,62}/(?P<number>[1-9][0-9]{0,18})", re.ASCII)
_USER: Final = re.compile(r"users/[1-9][0-9]{0,18}")
_ACTOR: Final = re.compile(r"users/[1-9][0-9]{0,18}|operator/.*", re.DOTALL)
_SOURCE: Final = re.compile(r"urn:uuid:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+")
_COMMITMENT: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_FIRST_REQUEST: Final = "1970"
"""No request is older. A day before the year 1 could not be computed."""

_COUNT: Final = re.compile(r"0|[1-9][0-9]{0,17}")
_TEXT: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')

_encode = msgspec.json.Encoder().encode


def data_timestamps(events: Iterable[Event]) -> list[str]:
    """All times in the data of events."""
    return [
        time
        for event in events
        if event.timestamp and (time := getattr(event, event.timestamp)) is not None
    ]


def _subject_fits(event: Event, kind: str, subject: str) -> bool:
    """Whether a subject is one of an event's kind, with a number of 64 bits."""
    pattern = _SUBJECTS.get(kind.partition(".")[0], _RESOURCE)
    match = pattern.fullmatch(subject)
    if match is None or int(match["number"] or 1) > MAX_NUMBER:
        return False
    if isinstance(event, ResourceEvent) and not event.resource.foreign:
        return subject.startswith(f"{event.resource.collection}/")
    return True


def can_be_subject(text: str) -> bool:
    """Whether events of any kind have subjects of this form."""
    return any(pattern.fullmatch(text) for pattern in (*_SUBJECTS.values(), _RESOURCE))


def can_be_actor(text: str) -> bool:
    """Whether actors of events have this form."""
    return _ACTOR.fullmatch(text) is not None


def check_well_formed(raw: bytes, line: Any, kind: str) -> None:
    """Raise `ValueError` if a line is not well formed.

    ``line`` has the members of the bytes ``raw``, from `Vocabulary.parse_all`, and ``kind`` is its
    type. Times, chain and position are not checked here.
    """
    if not _subject_fits(line.data, kind, line.subject):
        raise ValueError(f"its subject is {line.subject!r}, which does not fit {kind}")
    start = (
        f'{{"specversion":"1.0","id":"{line.id}","source":"{line.source}","type":"{kind}",'
        f'"subject":"{line.subject}","time":"{line.time}","actor":"'
    )
    if not raw.startswith(start.encode()):
        raise ValueError("its first members are not those of the format, in its order")
    # Duplicate members, white space and unknown extensions make a line longer.
    if len(_encode(line)) != len(raw):
        _check_text(raw)
    _check_envelope(line)
    _check_data(line)


def _check_text(raw: bytes) -> None:
    """Raise `ValueError` for white space between members and for duplicate members."""
    if re.search(rb"\s", _TEXT.sub(b"", raw)):
        raise ValueError("there is white space between its members")
    try:
        json.loads(raw, object_pairs_hook=_check_unique)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _check_unique(pairs: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"its member {name!r} appears twice")


def _check_envelope(line: Any) -> None:
    if not _SOURCE.fullmatch(line.source):
        raise ValueError(f"its source is {line.source!r}")
    if not _ACTOR.fullmatch(line.actor):
        raise ValueError(f"its actor is {line.actor!r}")
    if line.sealedfor and not _USER.fullmatch(line.sealedfor):
        raise ValueError(f"it is sealed for {line.sealedfor!r}, which is not a user")
    for name in ("remaining", "behind"):
        value = getattr(line, name)
        if value and not _COUNT.fullmatch(value):
            raise ValueError(f"its {name} is {value!r}")
    if line.idempotencykey or line.requesthash:
        if line.time < _FIRST_REQUEST:
            raise ValueError(f"it is of a request at {line.time}")
        if not _SHA256.fullmatch(line.idempotencykey):
            raise ValueError(f"its idempotencykey is {line.idempotencykey!r}")
        if not (line.sealedfor and _BASE64URL.fullmatch(line.requesthash)):
            raise ValueError("its requesthash is not sealed")


def _check_data(line: Any) -> None:
    sealed = getattr(line.data, "personal", None)
    if line.commitment and (sealed is None or not _COMMITMENT.fullmatch(line.commitment)):
        raise ValueError(f"its commitment is {line.commitment!r}")
    if sealed is not None:
        if type(sealed) is not str or not _BASE64URL.fullmatch(sealed):
            raise ValueError("its seal is not base64url text")
        if not line.sealedfor:
            raise ValueError("it has a seal, but no user that it is sealed for")
