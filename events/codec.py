"""Encode records to lines of the log, and decode lines: chain and seals.

A line is a CloudEvents 1.0 event in the JSON format. Its members have one fixed order, so the bytes
themselves are the record and no canonical form is needed: ``hash`` is SHA-256 over the raw hash of
the line before and this line's bytes up to ``,"hash":``.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, TypeVar

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec.structs import force_setattr, replace

from events.errors import DamagedLog, LogError, UnknownEvent
from events.record import START, Event, Line, Personal, Record
from events.sealing import Keyring, seal, unseal
from events.vocabulary.resources import ResourceEvent
from events.vocabulary.schemas import SchemaDeclared
from events.vocabulary.vocabulary import Vocabulary

MAX_LINE_BYTES = 65_535
"""The longest line, without its newline: the maximum of a 16-bit length."""

_HASH_MEMBER = b',"hash":"'
_TAIL_BYTES = len(_HASH_MEMBER) + 64 + len(b'"}')
_HASH_NAME = slice(-_TAIL_BYTES, len(_HASH_MEMBER) - _TAIL_BYTES)
"""Where the name of the hash member is on a line."""


class _Members(msgspec.Struct, omit_defaults=True, gc=False):
    """The members of a line before its hash, in their order."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: str
    actor: str
    requestid: str = ""
    idempotencykey: str = ""
    requesthash: str = ""
    remaining: str = ""
    behind: str = ""
    sealedfor: str = ""
    data: Event | None = None


_decode_line = msgspec.json.Decoder(Line).decode
_decode_values = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


def link(previous: bytes, body: bytes) -> bytes:
    """The 32-byte hash of a line whose bytes before ``,"hash":`` are ``body``."""
    return sha256(previous + body).digest()


def context_of(record: Record, type_on_line: str) -> bytes:
    """The context of a seal, which opens only in its log, for its type and subject.

    It also opens in another event of the same type, subject and key. Only the hash chain shows that
    two such seals were not exchanged, against a hash or checkpoint kept elsewhere.
    """
    return f"{record.source}|{type_on_line}|{record.subject}".encode()


_E = TypeVar("_E", bound=Event)


def _with_personal(event: _E, personal: Personal | str | None) -> _E:
    return msgspec.structs.replace(event, personal=personal)


def encode(
    record: Record,
    previous: bytes,
    keyring: Keyring,
    nonce: bytes,
    remaining: int = 0,
    *,
    behind: int | None = None,
) -> tuple[bytes, bytes]:
    """The line of a record, without its newline, and its 32-byte hash.

    ``record.hash`` is ignored. ``nonce`` is 12 random bytes, used if there are values to seal.
    ``remaining`` counts the records after this one that are valid only together with it. ``behind``
    is the position at which the log ended when the first line of the same write was begun. Raises
    `KeyError` if the keyring lacks the key of ``sealedfor``, and `ValueError` if
    the line would be longer than `MAX_LINE_BYTES`.
    """
    event = record.event
    personal = getattr(event, "personal", None)
    if isinstance(personal, Personal):
        context = context_of(record, event.type)
        sealed = seal(keyring[record.sealedfor], nonce, _encode(personal), context)
        event = _with_personal(event, sealed)
    members = _Members(
        "1.0",
        str(record.position),
        record.source,
        event.type,
        record.subject,
        record.time,
        record.actor,
        record.requestid,
        record.idempotencykey,
        record.requesthash,
        str(remaining) if remaining else "",
        "" if behind is None else str(behind),
        record.sealedfor,
        event,
    )
    body = _encode(members)[:-1]
    digest = link(previous, body)
    line = body + _HASH_MEMBER + digest.hex().encode() + b'"}'
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"a line of {len(line)} bytes is longer than {MAX_LINE_BYTES}")
    return line, digest


def check_link(line: bytes, previous: bytes) -> bytes:
    """The 32-byte hash of a line; raises `ValueError` if it breaks the chain."""
    digest = link(previous, line[:-_TAIL_BYTES])
    if line[-_TAIL_BYTES:] != _HASH_MEMBER + digest.hex().encode() + b'"}':
        raise ValueError("its hash does not continue the chain")
    return digest


def check_links(lines: Iterable[bytes], last: Record) -> Record:
    """Check the hash chain of the lines after the record ``last``, and nothing else.

    The result has position, hash and end of the last line. Raises `DamagedLog`.
    """
    position, previous, end = last.position, last.hash, last.end
    for line in lines:
        position += 1
        try:
            previous = check_link(line, previous)
        except ValueError as error:
            raise DamagedLog(str(error), position=position, offset=end) from None
        end += len(line) + 1
    return replace(START, position=position, hash=previous, end=end)


def check_seal(line: Any, cipher: AESGCM, vocabulary: Vocabulary) -> None:
    """Open the seal of a line from `Vocabulary.parse_all`; raises `ValueError`."""
    event = line.data
    context = f"{line.source}|{event.type}|{line.subject}".encode()
    if isinstance(event, ResourceEvent) and event.resource.foreign:
        sealed = getattr(event, "personal", None)
        if sealed is not None:
            _decode_values(unseal(cipher, sealed, context))
        return
    try:
        _open_personal(event, cipher, context, vocabulary)
    except UnknownEvent as error:
        raise ValueError(str(error)) from None


def parse(line: bytes) -> Line:
    """The members of a line, without a check of the chain; raises `ValueError`."""
    try:
        return _decode_line(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"it is not an event: {error}") from None


def decode(
    lines: Iterable[bytes],
    keyring: Keyring,
    vocabulary: Vocabulary,
    last: Record = START,
) -> list[Record]:
    """The records of lines that follow the record ``last``.

    Checks chain, positions and shapes, and opens the seals whose keys are in the keyring; the
    others stay closed. Raises `DamagedLog` and `UnknownEvent`. This is the inner loop of a replay,
    so calls are inlined where they cost.
    """
    records = []
    decoders, foreign_decoders = vocabulary.decoders, vocabulary.foreign_decoders
    position, previous, end = last.position, last.hash, last.end
    for line in lines:
        position += 1
        try:
            parsed = _decode_line(line)
            previous = sha256(previous + line[:-_TAIL_BYTES]).digest()
            if previous.hex() != parsed.hash or line[_HASH_NAME] != _HASH_MEMBER:
                raise ValueError("its hash does not continue the chain")
            if parsed.id != str(position):
                raise ValueError(f"its id is {parsed.id!r}")
            known = decoders.get(parsed.type) or foreign_decoders(parsed.type)
            event: Any = known.data(parsed.data)
            decode_personal = known.personal
            if decode_personal is not None:
                sealed = event.personal
                if type(sealed) is str:
                    cipher = keyring.get(parsed.sealedfor)
                    if cipher is not None:
                        context = f"{parsed.source}|{parsed.type}|{parsed.subject}".encode()
                        personal = decode_personal(unseal(cipher, sealed, context))
                        # No other code has a reference yet, so change it in place.
                        force_setattr(event, "personal", personal)
                elif sealed is not None:
                    raise ValueError("its seal is not text")
        except (ValueError, RecursionError, UnknownEvent) as error:
            raise _explain(error, line, position, end) from None
        end += len(line) + 1
        record = Record(
            position,
            parsed.source,
            parsed.subject,
            parsed.time,
            parsed.actor,
            event,
            parsed.sealedfor,
            parsed.requestid,
            previous,
            end,
            parsed.idempotencykey,
            parsed.requesthash,
        )
        records.append(record)
        if type(event) is SchemaDeclared:
            vocabulary = vocabulary.after(event, parsed.subject.partition("/")[2])
            decoders, foreign_decoders = vocabulary.decoders, vocabulary.foreign_decoders
    return records


def _explain(error: Exception, line: bytes, position: int, offset: int) -> LogError:
    """The error to raise: damage, or in an intact chain an event of a newer version."""
    if isinstance(error, UnknownEvent):
        return UnknownEvent(f"position {position}: {error}")
    try:
        parsed = parse(line)
    except ValueError as reason:
        return DamagedLog(str(reason), position=position, offset=offset)
    if isinstance(error, msgspec.MsgspecError):
        return UnknownEvent(f"position {position}: {parsed.type} has another shape: {error}")
    return DamagedLog(str(error), position=position, offset=offset)


def _open_personal(event: Event, cipher: AESGCM, context: bytes, vocabulary: Vocabulary) -> None:
    if isinstance(event, ResourceEvent) and event.resource.foreign:
        return  # This vocabulary may be an older one, which knew the kind.
    known = vocabulary.decoders.get(event.type)
    sealed = getattr(event, "personal", None)
    if known is not None and known.personal is not None and type(sealed) is str:
        personal = known.personal(unseal(cipher, sealed, context))
        # No other code has a reference to the event yet, so change it in place.
        force_setattr(event, "personal", personal)


def open_seal(record: Record, keyring: Keyring, vocabulary: Vocabulary) -> None:
    """Replace a record's seal by its personal values, or by ``None`` without a key.

    Changes the record's event in place. Raises `ValueError` if the seal does not open for this log,
    type, subject and key.
    """
    cipher = keyring.get(record.sealedfor)
    if cipher is not None:
        context = context_of(record, record.event.type)
        _open_personal(record.event, cipher, context, vocabulary)
    elif type(getattr(record.event, "personal", None)) is str:
        force_setattr(record.event, "personal", None)
