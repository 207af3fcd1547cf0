"""The records in `tests/data/golden-v*.jsonl`: every event type in every shape.

Each file was written once, by ``python -m tests.events.golden``, and is never written again, because
such a log must be readable for ever. New types and shapes go into a new golden file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from msgspec.structs import replace

from eventapi.testing.items import (
    ITEM,
    Content,
    ContentChanges,
    ItemCreated,
    ItemDeleted,
    ItemRestored,
    ItemUpdated,
)
from events.codec import encode
from events.record import GENESIS, Event, Record
from events.sealing import Keyring
from events.vocabulary.keys import KeyCreated, KeyName, KeyRevoked, KeyUsed
from events.vocabulary.resources import Field, ResourceType, Unique
from events.vocabulary.schemas import SchemaDeclared
from events.vocabulary.security import OTHER_NAMES, LoginFailed, PackQuery, ValuesOpened
from events.vocabulary.sessions import Device, SessionEnded, SessionRefreshed, SessionStarted
from events.vocabulary.signing_keys import CHECKPOINTS, LogResumed
from events.vocabulary.users import (
    EmailChange,
    PasswordHash,
    Profile,
    ProfileChanges,
    RecoveryHashes,
    TotpSecret,
    UserDisabled,
    UserEmailChanged,
    UserEmailVerificationRequested,
    UserEmailVerified,
    UserEnabled,
    UserErased,
    UserPasswordChanged,
    UserPasswordReset,
    UserPasswordResetRequested,
    UserRegistered,
    UserRoleGranted,
    UserRoleRevoked,
    UserSecondFactorUsed,
    UserTotpDisabled,
    UserTotpEnabled,
    UserTotpStarted,
    UserUpdated,
    VerifiedEmail,
)
from events.vocabulary.vocabulary import Vocabulary
from events.vocabulary.webhooks import (
    WebhookCreated,
    WebhookDeleted,
    WebhookDisabled,
    WebhookEnabled,
    WebhookReplayed,
    WebhookSecretRotated,
    WebhookUpdated,
)
from tests.events.golden_v6 import DISH, RECORDS_V6
from tests.events.log_helpers import SOURCE

DATA = Path(__file__).parents[1] / "data"
LINES = DATA / "golden-v1.jsonl"
LINES_V2 = DATA / "golden-v2.jsonl"
LINES_V3 = DATA / "golden-v3.jsonl"
LINES_V4 = DATA / "golden-v4.jsonl"
LINES_V5 = DATA / "golden-v5.jsonl"
LINES_V6 = DATA / "golden-v6.jsonl"
LINES_V7 = DATA / "golden-v7.jsonl"
KEYS = DATA / "golden-v1-keys.json"

_LATER = "2026-02-01T00:00:00.000000Z"
_SESSION = "sessions/0123456789abcdef0123456789abcdef"
_HASH = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA"
_ADA = Profile("ada", "ada@example.org", _HASH, "Ada Lovelace")
_BOB = Profile("bob", "bob@example.org", "$2b$12$imported")

_ROWS: tuple[tuple[str, str, Event, str], ...] = (
    ("users/1", "users/1", UserRegistered(personal=_ADA), "users/1"),
    ("users/2", "operator/root", UserRegistered(_LATER, personal=_BOB), "users/2"),
    (
        "users/1",
        "users/1",
        UserUpdated(personal=ProfileChanges("ada@example.net", None)),
        "users/1",
    ),
    ("users/1", "users/1", UserUpdated(personal=ProfileChanges(full_name="A. L.")), "users/1"),
    (
        "users/2",
        "users/2",
        UserPasswordChanged("rehashed", personal=PasswordHash(_HASH)),
        "users/2",
    ),
    (
        "users/1",
        "users/1",
        UserPasswordChanged("changed", "0123", personal=PasswordHash(_HASH)),
        "users/1",
    ),
    ("users/2", "operator/root", UserDisabled(), ""),
    ("users/2", "operator/root", UserEnabled(), ""),
    ("users/1", "operator/root", UserRoleGranted("auditor"), ""),
    ("users/1", "operator/root", UserRoleGranted("operator"), ""),
    ("users/1", "operator/root", UserRoleRevoked("operator"), ""),
    (
        _SESSION,
        "users/1",
        SessionStarted(1, _LATER, "ab" * 32, personal=Device("192.0.2.7", "curl/8")),
        "users/1",
    ),
    (_SESSION, "users/1", SessionRefreshed(_LATER, "cd" * 32, personal=Device()), "users/1"),
    (_SESSION, "users/1", SessionEnded("logout"), ""),
    ("sessions/1", "users/1", SessionStarted(1, _LATER, "ef" * 32), ""),
    ("sessions/1", "users/1", SessionEnded("reuse"), ""),
    ("sessions/1", "users/1", SessionEnded("revoked"), ""),
    ("items/1", "users/1", ItemCreated(1, personal=Content("milk", "two\nlitres")), "users/1"),
    ("items/2", "users/2", ItemCreated(2, _LATER, personal=Content("日本 \u2028 🙂")), "users/2"),
    ("items/1", "users/1", ItemUpdated(personal=ContentChanges("oat milk")), "users/1"),
    ("items/1", "users/1", ItemUpdated(personal=ContentChanges(description=None)), "users/1"),
    ("items/1", "users/1", ItemDeleted(), ""),
    ("items/1", "users/1", ItemRestored(18, personal=Content("milk", "two\nlitres")), "users/1"),
    ("users/2", "users/2", UserErased(), ""),
)

_VKEY = "eventapi/0123456789abcdef+89abcdef+AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
_ROOT = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

_ROWS_V2: tuple[tuple[str, str, Event, str], ...] = (
    ("users/1", "users/1", UserRegistered(personal=_ADA), "users/1"),
    (CHECKPOINTS, "operator/root", LogResumed(_VKEY), ""),
    (CHECKPOINTS, "operator/root", LogResumed(_VKEY, "eventapi/fedcba9876543210", 1, _ROOT), ""),
)

_SCHEMA = {
    "type": "object",
    "properties": {
        "number": {"type": "string", "maxLength": 20},
        "due": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}], "default": None},
        "cents": {"type": "integer", "minimum": 0},
        "paid": {"type": "boolean", "default": False},
    },
    "required": ["number", "cents"],
    "additionalProperties": False,
}
INVOICE = ResourceType(
    "invoice",
    "invoices",
    [
        Field("number", str),
        Field("due", date | None, None),
        Field("cents", int, is_clear=True),
        Field("paid", bool, False, is_clear=True),
    ],
    ["pay"],
    [Unique(("number",)), Unique(("number", "cents"), is_global=True)],
    declaration=SchemaDeclared(
        1,
        "invoice",
        _SCHEMA,
        ["cents", "paid"],
        [["number"], {"fields": ["number", "cents"], "global": True}],
        ["pay"],
    ),
)
"""A declared kind, as a log of version 3 has it."""

assert INVOICE.declaration is not None
_ACT = INVOICE.arguments(due=None, arguments_={"how": "cash"})

_ROWS_V3: tuple[tuple[str, str, Event, str], ...] = (
    ("users/1", "users/1", UserRegistered(personal=_ADA), "users/1"),
    ("users/2", "operator/root", UserRegistered(_LATER, personal=_BOB), "users/2"),
    ("items/1", "users/1", ItemCreated(1, personal=Content("milk")), "users/1"),
    ("items/1", "users/1", ITEM.type.shared(2, "write"), ""),
    ("items/1", "users/1", ITEM.type.unshared(2), ""),
    ("schemas/invoices", "operator/eventapi", INVOICE.declaration, ""),
    (
        "invoices/1",
        "users/1",
        INVOICE.created(
            1,
            clear=INVOICE.clear_content(cents=500),
            personal=INVOICE.content(number="A-1", due=date(2026, 2, 28)),
        ),
        "users/1",
    ),
    (
        "invoices/2",
        "users/1",
        INVOICE.created(
            1,
            created_at=_LATER,
            clear=INVOICE.clear_content(cents=0, paid=True),
            personal=INVOICE.content(number="日本"),
        ),
        "users/1",
    ),
    ("invoices/1", "users/1", INVOICE.shared(2, "read"), ""),
    ("invoices/1", "users/1", INVOICE.shared(2, "write"), ""),
    ("invoices/1", "users/2", INVOICE.updated(personal=INVOICE.changes(number="A-2")), "users/1"),
    ("invoices/1", "users/2", INVOICE.updated(clear=INVOICE.clear_changes(cents=501)), ""),
    (
        "invoices/1",
        "users/1",
        INVOICE.actions["pay"](clear=INVOICE.clear_changes(paid=True), personal=_ACT),
        "users/1",
    ),
    ("invoices/1", "users/1", INVOICE.actions["pay"](), ""),
    ("invoices/1", "users/1", INVOICE.unshared(2), ""),
    ("invoices/1", "users/1", INVOICE.deleted(), ""),
    (
        "invoices/1",
        "users/1",
        INVOICE.restored(
            7,
            clear=INVOICE.clear_content(cents=500),
            personal=INVOICE.content(number="A-1", due=date(2026, 2, 28)),
        ),
        "users/1",
    ),
)


_KEY = "keys/0123456789abcdef0123"
_DEVICE = Device("192.0.2.7", "curl/8")

_ROWS_V4: tuple[tuple[str, str, Event, str], ...] = (
    ("users/1", "users/1", UserRegistered(personal=_ADA), "users/1"),
    (
        "users/1",
        "users/1",
        UserEmailChanged(personal=EmailChange("ada@example.net", "ada@example.org")),
        "users/1",
    ),
    (
        "users/1",
        "users/1",
        UserEmailChanged(personal=EmailChange("a@example.net", "ada@example.org", None)),
        "users/1",
    ),
    ("users/1", "users/1", UserEmailVerificationRequested(personal=_DEVICE), "users/1"),
    ("users/1", "users/1", UserEmailVerified(personal=VerifiedEmail("a@example.net")), "users/1"),
    (
        "users/1",
        "operator/root",
        UserEmailChanged(True, personal=EmailChange("b@example.net", "a@example.net", "Ada")),
        "users/1",
    ),
    ("users/1", "users/1", UserPasswordResetRequested(_LATER, personal=_DEVICE), "users/1"),
    ("users/1", "operator/root", UserPasswordResetRequested(_LATER, "link"), ""),
    ("users/1", "users/1", UserPasswordReset(8, personal=PasswordHash(_HASH)), "users/1"),
    ("users/1", "users/1", UserPasswordReset(7, True, personal=PasswordHash(_HASH)), "users/1"),
    ("users/1", "users/1", UserTotpStarted(personal=TotpSecret("GEZDGNBVGY3TQOJQ")), "users/1"),
    (
        "users/1",
        "users/1",
        UserTotpEnabled(59_000_000, personal=RecoveryHashes(["ab" * 32, "cd" * 32])),
        "users/1",
    ),
    ("users/1", "users/1", UserSecondFactorUsed(step=59_000_001), ""),
    ("users/1", "users/1", UserSecondFactorUsed(recovery=0), ""),
    ("users/1", "users/1", UserTotpDisabled(), ""),
    (_KEY, "users/1", KeyCreated(1, ("read",), "ef" * 32, personal=KeyName("日本")), "users/1"),
    (_KEY, "users/1", KeyUsed(personal=_DEVICE), "users/1"),
    (_KEY, "users/1", KeyRevoked(), ""),
    (
        "keys/1",
        "users/1",
        KeyCreated(1, ("read", "write", "audit"), "01" * 32, _LATER, personal=KeyName("a")),
        "users/1",
    ),
    ("items/1", "users/1", ItemCreated(1, personal=Content("milk")), "users/1"),
)


_URL = "https://hooks.example/日本?a=1"

_ROWS_V5: tuple[tuple[str, str, Event, str], ...] = (
    ("users/1", "users/1", UserRegistered(personal=_ADA), "users/1"),
    ("webhooks/1", "users/1", WebhookCreated("https://hooks.example/"), ""),
    ("webhooks/2", "operator/root", WebhookCreated(_URL, ("item.*", "user.erased"), "日本"), ""),
    ("webhooks/1", "users/1", WebhookUpdated("http://hooks.example:8080/"), ""),
    ("webhooks/1", "users/1", WebhookUpdated(types=("session.*",), description="new"), ""),
    ("webhooks/2", "users/1", WebhookUpdated(types=(), description=""), ""),
    ("webhooks/1", "users/1", WebhookDisabled("operator"), ""),
    ("webhooks/1", "users/1", WebhookEnabled(), ""),
    ("webhooks/1", "operator/eventapi", WebhookDisabled("gone"), ""),
    ("webhooks/2", "operator/eventapi", WebhookDisabled("failing"), ""),
    ("webhooks/2", "operator/root", WebhookSecretRotated(), ""),
    ("webhooks/2", "operator/root", WebhookReplayed(0), ""),
    ("webhooks/2", "operator/root", WebhookDeleted(), ""),
)


_WINDOW = "2026-01-02T02:50:00.000000Z"
_MATCH = PackQuery("items/7", since=_WINDOW, until=_LATER)

_ROWS_V7: tuple[tuple[str, str, Event, str], ...] = (
    ("users/1", "users/1", UserRegistered(personal=_ADA), "users/1"),
    (
        "users/1",
        "operator/eventapi",
        LoginFailed(_WINDOW, 12, "ab" * 16, personal=_DEVICE),
        "users/1",
    ),
    (
        "users/1",
        "operator/eventapi",
        LoginFailed(_WINDOW, 1, "cd" * 16, personal=Device()),
        "users/1",
    ),
    (f"security/{'01' * 16}", "operator/eventapi", LoginFailed(_WINDOW, 3, "ef" * 16), ""),
    (OTHER_NAMES, "operator/eventapi", LoginFailed(_WINDOW, 400, "ef" * 16), ""),
    ("users/1", "users/2", ValuesOpened(2), ""),
    ("users/1", "users/2", ValuesOpened(query=PackQuery(user=1), count=3), ""),
    ("users/1", "operator/root", ValuesOpened(query=_MATCH, count=10_000), ""),
)


def _records(rows: Sequence[tuple[str, str, Event, str]]) -> tuple[Record, ...]:
    return tuple(
        Record(
            position,
            SOURCE,
            subject,
            f"2026-01-02T03:04:05.{position:06}Z",
            actor,
            event,
            sealedfor,
            "request-1" if position % 2 else "",
        )
        for position, (subject, actor, event, sealedfor) in enumerate(rows, 1)
    )


RECORDS = _records(_ROWS)
RECORDS_V2 = _records(_ROWS_V2)
RECORDS_V3 = _records(_ROWS_V3)
RECORDS_V4 = (*_records(_ROWS_V4[:-1]), replace(_records(_ROWS_V4)[-1], apikey="1"))
RECORDS_V5 = _records(_ROWS_V5)
RECORDS_V7 = _records(_ROWS_V7)
"""The records of the files, without hash and end."""

GOLDEN = {
    LINES: RECORDS,
    LINES_V2: RECORDS_V2,
    LINES_V3: RECORDS_V3,
    LINES_V4: RECORDS_V4,
    LINES_V5: RECORDS_V5,
    LINES_V6: RECORDS_V6,
    LINES_V7: RECORDS_V7,
}
"""The records of each file."""

SALTED = frozenset({LINES_V6})
"""The files whose seals have a salt."""

GOLDEN_KINDS = Vocabulary([ITEM.type, INVOICE, DISH])
"""The vocabulary of the files."""


def golden_keys() -> Mapping[str, bytes]:
    """The vault's keys, by user."""
    return {subject: bytes.fromhex(key) for subject, key in json.loads(KEYS.read_text()).items()}


def golden_keyring() -> Keyring:
    """The vault's keys as ciphers."""
    keyring = Keyring()
    for subject, key in golden_keys().items():
        keyring.add(subject, key)
    return keyring


def encode_all(keyring: Keyring, path: Path) -> bytes:
    """Encode the records of a file with today's code; nonce and salt of each are its position."""
    content, previous = b"", GENESIS
    for record in GOLDEN[path]:
        nonce = record.position.to_bytes(12)
        salt = record.position.to_bytes(16) if path in SALTED else b""
        remaining = 1 if record.position == 1 else 0
        line, previous = encode(record, previous, keyring, nonce, remaining, salt=salt)
        content += line + b"\n"
    return content


if __name__ == "__main__":
    with LINES_V7.open("xb") as file:
        file.write(encode_all(golden_keyring(), LINES_V7))
