"""The manifest of a pack of evidence, signed with the key of the log.

It is JSON with one member or file on each line, so that a reader can name the line of a fault::

    {
    "format":"eventapi-evidence-1",
    "log":"urn:uuid:...",
    "selection":{"subject":"items/7","user":null,"since":null,"until":null,"open":false},
    "events":12,
    "files":{
    "README.txt":{"bytes":1,"sha256":"...","lines":"..."},
    ...
    },
    "checks":"...",
    "signature":"..."
    }

``lines`` has 8 hex digits for each line of a file, the beginning of the line's SHA-256, and
``checks`` has them for each line of the manifest above it, and then for itself up to there. They
only find the line of a fault. The signature covers all bytes above its line. It is not a signature
of a checkpoint, because those begin with the name of the key and never with a brace.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from eventapi.evidence.archive import Digest, check_of
from eventapi.evidence.selection import Selection

FORMAT: Final = "eventapi-evidence-1"
_encode: Final = msgspec.json.Encoder().encode


def statement_of(
    source: str, selection: Selection, events: int, digests: Mapping[str, Digest]
) -> str:
    """The manifest up to its signature."""
    files = [
        f"{_text(name)}:{_text({'bytes': one.size, 'sha256': one.sha256, 'lines': one.checks})}"
        for name, one in digests.items()
    ]
    lines = [
        "{",
        f'"format":{_text(FORMAT)},',
        f'"log":{_text(source)},',
        f'"selection":{_text(selection)},',
        f'"events":{events},',
        '"files":{',
        *(f"{file}," for file in files[:-1]),
        files[-1],
        "},",
    ]
    checks = b"".join(check_of(line.encode()) for line in lines).hex()
    return "\n".join([*lines, f'"checks":"{checks}{check_of(checks.encode()).hex()}",', ""])


def manifest_of(statement: str, signature: str) -> bytes:
    """The whole manifest; ``signature`` is base64 of key id and signature."""
    return f'{statement}"signature":"{signature}"\n}}\n'.encode()


def _text(value: object) -> str:
    return _encode(value).decode()
