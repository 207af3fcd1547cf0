"""The opened values of a pack of evidence, a row for each line with a seal."""

from __future__ import annotations

from typing import Final

import msgspec

from events.codec import clear_bytes, parse
from events.sealing import Keyring
from events.vocabulary.users import without_secrets

_SALT: Final = "salt"
_encode: Final = msgspec.json.Encoder().encode


class _Sealed(msgspec.Struct):
    """The only member of any event's data that matters here."""

    sealed: str = ""


def sealed_for(line: bytes) -> str:
    """The user whose key seals the values of a line; empty if nothing is sealed in it."""
    members = parse(line)
    return members.sealedfor if msgspec.json.decode(members.data, type=_Sealed).sealed else ""


def opened_row(line: bytes, keyring: Keyring) -> bytes:
    """The row of a line, with its newline; empty if nothing is sealed in the line.

    ``clear`` has the very bytes that were sealed, so that their hash can be compared with the
    commitment on the line. Passwords and other secrets are withheld: then ``shown`` has the other
    values, which only the holder of the key can check. ``unreadable`` names the user whose key is
    destroyed, or does not open the seal, which `eventapi log verify --seals` reports as damage.
    """
    user, members = sealed_for(line), parse(line)
    if not user:
        return b""
    try:
        clear = clear_bytes(members, keyring)
    except ValueError:
        clear = None
    start = b'{"position":' + members.id.encode()
    if clear is None:
        return start + b',"unreadable":' + _encode(user) + b"}\n"
    values = msgspec.json.decode(clear, type=dict[str, msgspec.Raw])
    shown = without_secrets(members.type, values)
    if len(shown) < len(values):
        shown.pop(_SALT, None)  # With it the withheld values could be guessed and checked.
        withheld = _encode([name for name in values if name not in shown])
        return start + b',"shown":' + _encode(shown) + b',"withheld":' + withheld + b"}\n"
    return start + b',"clear":' + clear + b"}\n"
