"""Events about security: failed logins, and opened values.

Subject: ``users/N`` for a user's account and values. Failed logins with an unknown name have
``security/NAME``, where NAME is a keyed hash of the name, or `OTHER_NAMES`.
"""

from __future__ import annotations

from typing import ClassVar, Final

from msgspec import UNSET, Struct, UnsetType, field

from events.record import Event, Number, PlainEvent
from events.vocabulary.sessions import Device

OTHER_NAMES: Final = "security/other"
"""The subject for the unknown names of an address beyond the first ones of a window."""


class LoginFailed(Event, frozen=True, gc=False):
    """Logins with one account or unknown name failed, from one address.

    ``window`` is the start of the ten minutes in which they are counted, RFC 3339. ``address_hash`` is a keyed hash, in hex: for a
    user under a key that only the user's own key yields. A user's event has the device of
    the last failed login.
    """

    type: ClassVar[str] = "security.login_failed"
    timestamp: ClassVar[str] = "window"
    window: str
    count: Number
    address_hash: str
    personal: Device | str | None = field(default=None, name="sealed")


class PackQuery(Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """What was selected: in a pack, a subject or all about a user; or in a comparison."""

    subject: str | UnsetType = UNSET
    user: Number | UnsetType = UNSET
    since: str | UnsetType = UNSET
    until: str | UnsetType = UNSET


class ValuesOpened(PlainEvent, frozen=True, gc=False):
    """Sealed values of a user were opened and shown to the actor.

    Those of the event at ``position``, or of ``count`` events in a pack of evidence, or of ``count``
    entities of a comparison.
    """

    type: ClassVar[str] = "audit.opened"
    position: Number | UnsetType = UNSET
    query: PackQuery | UnsetType = UNSET
    count: Number | UnsetType = UNSET
