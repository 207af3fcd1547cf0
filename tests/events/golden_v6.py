"""The records in `tests/data/golden-v6.jsonl`: sessions, reasons and commitments.

See `tests.events.golden`. Every seal has a salt, and every line with one a commitment.
"""

from __future__ import annotations

from events.record import Event, Record
from events.vocabulary.resources import Field, ResourceType
from events.vocabulary.schemas import SchemaDeclared
from events.vocabulary.sessions import Device, SessionEnded, SessionStarted
from events.vocabulary.users import (
    Profile,
    ProfileChanges,
    UserDisabled,
    UserErased,
    UserRegistered,
    UserRoleGranted,
    UserUpdated,
)
from events.vocabulary.webhooks import WebhookCreated, WebhookDeleted
from tests.events.log_helpers import SOURCE

_LATER = "2026-02-01T00:00:00.000000Z"
_SESSION = "0123456789abcdef0123456789abcdef"
_HASH = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA"
_ADA = Profile("ada", "ada@example.org", _HASH, "Ada Lovelace")
_BOB = Profile("bob", "bob@example.org", _HASH)

DISH = ResourceType(
    "dish",
    "dishes",
    [Field("salt", str), Field("price", int, is_clear=True)],
    ["cook"],
    declaration=SchemaDeclared(
        1,
        "dish",
        {
            "type": "object",
            "properties": {"salt": {"type": "string"}, "price": {"type": "integer"}},
            "required": ["salt", "price"],
            "additionalProperties": False,
        },
        ["price"],
        [],
        ["cook"],
    ),
)
"""A declared kind, one of whose fields has the name of the first sealed member."""

assert DISH.declaration is not None
_NEW = DISH.created(
    1, clear=DISH.clear_content(price=5), personal=DISH.content(salt='"},{"salt":"sea')
)
_BACK = DISH.restored(
    6, clear=DISH.clear_content(price=5), personal=DISH.content(salt='"},{"salt":"sea')
)
_CHEAPER = DISH.updated(clear=DISH.clear_changes(price=4))
_COOK = DISH.actions["cook"](personal=DISH.arguments(salt="", arguments_={"$reason": "hunger"}))

_ROWS: tuple[tuple[str, str, Event, str, str, str], ...] = (
    ("users/1", "users/1", UserRegistered(personal=_ADA), "users/1", "", ""),
    ("users/2", "operator/root", UserRegistered(personal=_BOB), "users/2", "", "a colleague"),
    (
        f"sessions/{_SESSION}",
        "users/1",
        SessionStarted(1, _LATER, "ab" * 32, personal=Device("192.0.2.7", "curl/8")),
        "users/1",
        "",
        "",
    ),
    (
        "users/1",
        "users/1",
        UserUpdated(personal=ProfileChanges(full_name=None)),
        "users/1",
        "s",
        "",
    ),
    ("schemas/dishes", "operator/eventapi", DISH.declaration, "", "s", ""),
    ("dishes/1", "users/1", _NEW, "users/1", "s", ""),
    ("dishes/1", "users/1", _COOK, "users/1", "s", 'he said "now" \\ 日本 \U0001f35c'),
    ("dishes/1", "users/1", _CHEAPER, "", "s", ""),
    ("dishes/1", "users/1", _CHEAPER, "users/1", "s", "it did not sell"),
    ("dishes/1", "users/1", DISH.shared(2, "write"), "users/1", "s", "x"),
    ("dishes/1", "users/2", DISH.deleted(), "users/1", "", "\u00e9" * 500),
    ("dishes/1", "users/2", _BACK, "users/1", "", "too early"),
    ("dishes/1", "users/1", DISH.unshared(2), "", "s", ""),
    ("users/1", "operator/root", UserRoleGranted("operator"), "users/1", "", "she runs it now"),
    ("webhooks/1", "users/1", WebhookCreated("https://hooks.example/"), "", "s", ""),
    ("webhooks/1", "users/1", WebhookDeleted(), "users/1", "s", "moved"),
    ("users/2", "users/1", UserDisabled(), "users/2", "s", "left"),
    ("users/2", "users/1", UserErased(), "users/2", "s", "asked for it"),
    (f"sessions/{_SESSION}", "users/1", SessionEnded("logout"), "users/1", "s", "{}"),
)
"""Subject, actor, event, user of the seal, session (``s`` or none) and reason."""

RECORDS_V6 = tuple(
    Record(
        position,
        SOURCE,
        subject,
        f"2026-01-02T03:04:05.{position:06}Z",
        actor,
        event,
        sealedfor,
        "request-1" if position % 2 else "",
        apikey="" if session else "1" * (position % 3),
        session=_SESSION if session else "",
        reason=reason,
    )
    for position, (subject, actor, event, sealedfor, session, reason) in enumerate(_ROWS, 1)
)
"""The records of the file, without hash and end."""
