"""Encode records to lines of the log, and decode lines: chain and seals.

A line is a CloudEvents 1.0 event in the JSON format. Its members have one fixed order, so the bytes
themselves are the record and no canonical form is needed: ``hash`` is SHA-256 over the raw hash of
the line before and this line's bytes up to ``,"hash":``.

The clear bytes of a seal are a JSON object. On a line with a ``commitment``, which is their SHA-256,
they begin with a member ``salt`` and, if the event has a reason, a member ``$reason``; the personal
values follow. A field may be named ``salt``, too, so these two are found by their place, not by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Any, TypeVar

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec.structs import force_setattr, replace

from events.errors import DamagedLog, LogError, UnknownEvent
from events.record import START, Event, Line, Personal, Record
from events.sealing import Keyring, base64url, damage_of, seal, unseal
from events.vocabulary.resources import ResourceEvent
from events.vocabulary.schemas import SchemaDeclared
from events.vocabulary.vocabulary import Decode, Vocabulary

MAX_LINE_BYTES = 65_535
"""The longest line, without its newline: the maximum of a 16-bit length."""

_HASH_MEMBER = b',"hash":"'
_TAIL_BYTES = len(_HASH_MEMBER) + 64 + len(b'"}')
_HASH_NAME = slice(-_TAIL_BYTES, len(_HASH_MEMBER) - _TAIL_BYTES)
"""Where the name of the hash member is on a line."""

_SALT_START = b'{"salt":"'
_SALT_END = len(_SALT_START) + 22
_AFTER_SALT = slice(_SALT_END, _SALT_END + 2)
_TO_MEMBER = slice(_SALT_END, _SALT_END + 3)
_VALUES = slice(_SALT_END + 2, None)
_FIRST = slice(_SALT_END + 3, _SALT_END + 4)
_REASON_START = b',"$reason":'
_REASON = re.compile(rb'"(?:[^"\\]|\\.)*"')
_NO_VALUES = b"{}"


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
    session: str = ""
    apikey: str = ""
    idempotencykey: str = ""
    requesthash: str = ""
    remaining: str = ""
    behind: str = ""
    sealedfor: str = ""
    commitment: str = ""
    data: Event | None = None


class _Data(msgspec.Struct, gc=False):
    """The data of any event."""

    sealed: str | None = None


_decode_line = msgspec.json.Decoder(Line).decode
_decode_data = msgspec.json.Decoder(_Data).decode
_decode_values = msgspec.json.Decoder(dict[str, Any]).decode
_decode_text = msgspec.json.Decoder(str).decode
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


def commitment_of(clear: bytes) -> str:
    """The commitment to the clear bytes of a seal: base64url of their SHA-256."""
    return base64url(sha256(clear).digest()).decode()


def _salted(salt: bytes, reason: str, values: bytes) -> bytes:
    """The clear bytes of a seal with these values, a JSON object."""
    start = _SALT_START + base64url(salt) + b'"'
    if reason:
        start += _REASON_START + _encode(reason)
    return start + b"}" if values == _NO_VALUES else start + b"," + values[1:]


def _unsalted(clear: bytes) -> tuple[str, bytes]:
    """The reason in clear bytes that begin with a salt, and the values as JSON.

    Raises `ValueError`.
    """
    end, reason = _SALT_END + 1, ""
    if not clear.startswith(_SALT_START) or clear[_AFTER_SALT] not in {b'",', b'"}'}:
        raise ValueError("what is sealed does not begin with a salt")
    if clear.startswith(_REASON_START, end):
        found = _REASON.match(clear, end + len(_REASON_START))
        if found is None:
            raise ValueError("the reason that is sealed is no text")
        end, reason = found.end(), _decode_text(found[0])
    if clear.startswith(b",", end):
        end += 1
    return reason, b"{" + clear[end:]


def encode(
    record: Record,
    previous: bytes,
    keyring: Keyring,
    nonce: bytes,
    remaining: int = 0,
    *,
    behind: int | None = None,
    salt: bytes = b"",
) -> tuple[bytes, bytes]:
    """The line of a record, without its newline, and its 32-byte hash.

    ``record.hash`` is ignored. ``nonce`` is 12 and ``salt`` 16 random bytes, used if there are
    values to seal; without a salt, the line is one of an earlier version.
    ``remaining`` counts the records after this one that are valid only together with it. ``behind``
    is the position at which the log ended when the first line of the same write was begun. Raises
    `KeyError` if the keyring lacks the key of ``sealedfor``, and `ValueError` if
    the line would be longer than `MAX_LINE_BYTES`.
    """
    event = record.event
    personal = getattr(event, "personal", None)
    commitment = ""
    if record.reason and not salt:
        raise ValueError("a reason is sealed only beside a salt")
    if isinstance(personal, Personal) or record.reason:
        clear = _encode(personal) if isinstance(personal, Personal) else _NO_VALUES
        if salt:
            clear = _salted(salt, record.reason, clear)
            commitment = commitment_of(clear)
        context = context_of(record, event.type)
        event = _with_personal(event, seal(keyring[record.sealedfor], nonce, clear, context))
    members = _Members(
        "1.0",
        str(record.position),
        record.source,
        event.type,
        record.subject,
        record.time,
        record.actor,
        record.requestid,
        record.session,
        record.apikey,
        record.idempotencykey,
        record.requesthash,
        str(remaining) if remaining else "",
        "" if behind is None else str(behind),
        record.sealedfor,
        commitment,
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


def stated_hash(line: bytes) -> bytes:
    """The 32-byte hash that a line states, without a check; raises `ValueError`."""
    return bytes.fromhex(line[-_TAIL_BYTES + len(_HASH_MEMBER) : -2].decode())


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
    """Open the seal of a line, and compare it with its commitment.

    ``line`` is from `Vocabulary.parse_all`. Raises `ValueError`.
    """
    event = line.data
    sealed = getattr(event, "personal", None)
    if sealed is None:
        return
    clear = unseal(cipher, sealed, f"{line.source}|{event.type}|{line.subject}".encode())
    if line.commitment and line.commitment != commitment_of(clear):
        raise ValueError("what is sealed is not what its commitment states")
    known = None if _is_foreign(event) else vocabulary.decoders[event.type].personal
    try:
        _content_of(clear, line.commitment, known or _decode_values)
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

    Checks chain, positions and shapes, and opens the seals whose keys are in the keyring. Raises
    `DamagedLog` and `UnknownEvent`. The inner loop of a replay, so calls are inlined where they cost.
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
            reason = ""
            known = decoders.get(parsed.type) or foreign_decoders(parsed.type)
            event: Any = known.data(parsed.data)
            decode_personal = known.personal
            if decode_personal is not None:
                sealed = event.personal
                if type(sealed) is str:
                    cipher = keyring.get(parsed.sealedfor)
                    if cipher is not None:
                        reason = _open(event, parsed, cipher, decode_personal)
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
            parsed.apikey,
            parsed.session,
            reason,
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
    return damage_of(error, parsed.sealedfor, position, offset)


def _open(event: Event, line: Line, cipher: AESGCM, decode_values: Decode) -> str:
    """Replace the seal of an event by its personal values, and return its reason.

    Raises `ValueError`. The commitment is not compared: the seal itself authenticates its text.
    """
    clear = _unsealed(line, cipher, event.personal)  # type: ignore[attr-defined]  # it has a seal
    reason, personal = _content_of(clear, line.commitment, decode_values)
    # No other code has a reference to the event yet, so change it in place.
    force_setattr(event, "personal", personal)
    return reason


def _unsealed(line: Line, cipher: AESGCM, sealed: str) -> bytes:
    return unseal(cipher, sealed, f"{line.source}|{line.type}|{line.subject}".encode())


def _content_of(clear: bytes, commitment: str, decode_values: Decode) -> tuple[str, Any]:
    """The reason and the values in the clear bytes of a seal; raises `ValueError`."""
    if not commitment:
        return "", decode_values(clear)
    if clear[_TO_MEMBER] == b'","' and clear[_FIRST] != b"$" and clear.startswith(_SALT_START):
        return "", decode_values(b"{" + clear[_VALUES])  # Nearly every seal of a log.
    reason, values = _unsalted(clear)
    return reason, None if reason and values == _NO_VALUES else decode_values(values)


def clear_bytes(line: Line, keyring: Keyring) -> bytes | None:
    """The exact bytes that are sealed on a line, of any kind of any version.

    On a line with a commitment they begin with the salt, and their SHA-256 is the commitment, so they
    prove themselves to a reader without keys. ``None`` if nothing is sealed, or without the key.
    Raises `ValueError` if the seal does not open for this log, type, subject and key.
    """
    sealed = _decode_data(line.data).sealed
    cipher = keyring.get(line.sealedfor)
    if not sealed or cipher is None:
        return None
    return _unsealed(line, cipher, sealed)


def reason_and_values(line: Line, clear: bytes) -> tuple[str, dict[str, Any]]:
    """The reason and the values in the `clear_bytes` of a line.

    Without a reason it is an empty text. The values are as they were written. Raises `ValueError`.
    """
    reason, values = _unsalted(clear) if line.commitment else ("", clear)
    return reason, _decode_values(values)


def open_seal(record: Record, line: bytes, keyring: Keyring, vocabulary: Vocabulary) -> None:
    """Replace a record's seal by its values and reason, or by ``None`` without a key.

    ``line`` is that of the record. Changes the record and its event in place. Raises `ValueError` if
    the seal does not open for this log, type, subject and key.
    """
    event = record.event
    if type(getattr(event, "personal", None)) is not str:
        return
    cipher = keyring.get(record.sealedfor)
    if cipher is None:
        force_setattr(event, "personal", None)
        return
    known = vocabulary.decoders.get(event.type)
    if known is None or known.personal is None or _is_foreign(event):
        return  # This vocabulary may be an older one, which knew the kind.
    # No other code has a reference to the record yet, so change it in place.
    force_setattr(record, "reason", _open(event, parse(line), cipher, known.personal))


def _is_foreign(event: Event) -> bool:
    return isinstance(event, ResourceEvent) and event.resource.foreign
