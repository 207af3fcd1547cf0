"""The vocabulary of a log: its event types, with the decoders of their data.

The types about users, sessions and the log itself are the same in every log. Those about resources
follow from the kinds that a `Vocabulary` is made of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import suppress
from functools import cache, cached_property, reduce
from hashlib import sha256
from operator import attrgetter, or_
from typing import Any, Final

import msgspec

from events.errors import UnknownEvent
from events.record import Event, Line, Personal, PlainEvent
from events.vocabulary import keys, security, sessions, signing_keys, users, webhooks
from events.vocabulary.compatibility import unreadable
from events.vocabulary.resources import Created, ResourceEvent, ResourceType, Restored
from events.vocabulary.schemas import SchemaDeclared

CORE: Final[tuple[type[Event], ...]] = (
    users.UserRegistered,
    users.UserUpdated,
    users.UserPasswordChanged,
    users.UserDisabled,
    users.UserEnabled,
    users.UserRoleGranted,
    users.UserRoleRevoked,
    users.UserErased,
    users.UserEmailChanged,
    users.UserEmailVerificationRequested,
    users.UserEmailVerified,
    users.UserPasswordResetRequested,
    users.UserPasswordReset,
    users.UserTotpStarted,
    users.UserTotpEnabled,
    users.UserTotpDisabled,
    users.UserSecondFactorUsed,
    keys.KeyCreated,
    keys.KeyUsed,
    keys.KeyRevoked,
    sessions.SessionStarted,
    sessions.SessionRefreshed,
    sessions.SessionEnded,
    signing_keys.LogResumed,
    SchemaDeclared,
    webhooks.WebhookCreated,
    webhooks.WebhookUpdated,
    webhooks.WebhookDeleted,
    webhooks.WebhookDisabled,
    webhooks.WebhookEnabled,
    webhooks.WebhookSecretRotated,
    webhooks.WebhookReplayed,
    security.LoginFailed,
    security.ValuesOpened,
)
"""The types of every log."""

_PERSONAL: Final[Mapping[type[Event], type[Personal]]] = {
    users.UserRegistered: users.Profile,
    users.UserUpdated: users.ProfileChanges,
    users.UserPasswordChanged: users.PasswordHash,
    users.UserEmailChanged: users.EmailChange,
    users.UserEmailVerificationRequested: sessions.Device,
    users.UserEmailVerified: users.VerifiedEmail,
    users.UserPasswordResetRequested: sessions.Device,
    users.UserPasswordReset: users.PasswordHash,
    users.UserTotpStarted: users.TotpSecret,
    users.UserTotpEnabled: users.RecoveryHashes,
    keys.KeyCreated: keys.KeyName,
    keys.KeyUsed: sessions.Device,
    sessions.SessionStarted: sessions.Device,
    sessions.SessionRefreshed: sessions.Device,
    security.LoginFailed: sessions.Device,
}

RESERVED_KINDS: Final = frozenset(
    {
        *("audit", "batch", "key", "keys", "log", "mail", "projections", "schema", "schemas"),
        *("security", "session", "sessions", "user", "users", "webhook", "webhooks"),
    }
)
"""Kinds that no resource may have: they are those of the server, now or later."""

_TYPE: Final = re.compile(r"([a-z][a-z0-9_]{0,62})\.([a-z][a-z0-9_]{0,62})")
_TYPE_MEMBER: Final = re.compile(rb',"type":"([a-z0-9_]{1,63}\.[a-z0-9_]{1,63})","subject":')
_MAX_FOREIGN: Final = 1_000
"""Kinds that one process meets without knowing them; more are not of a log."""

Decode = Callable[[Any], Any]
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_decode_nothing = msgspec.json.Decoder(Personal).decode


class Decoders(msgspec.Struct, frozen=True):
    """The decoders of ``data``, and of the values sealed in it, if there are any."""

    data: Decode
    personal: Decode | None


class Vocabulary:
    """The event types of a log whose resources have these kinds."""

    def __init__(self, resources: Iterable[ResourceType] = ()) -> None:
        self.resources = tuple(sorted(resources, key=attrgetter("collection")))
        self.kinds = {resource.kind: resource for resource in self.resources}
        self.collections = {resource.collection: resource for resource in self.resources}
        self.events = (
            *CORE,
            *(event for resource in self.resources for event in resource.events.values()),
        )
        self.decoders = {event.type: _decoders(event) for event in self.events}
        self._foreign: dict[str, ResourceType] = {}
        self._foreign_decoders: dict[str, Decoders] = {}
        self._met: list[type[Event]] = []
        self._without: dict[frozenset[str], Vocabulary] = {}

    def __reduce__(self) -> Any:
        return Vocabulary, (self.resources,)

    @property
    def types(self) -> frozenset[str]:
        """The names of all types."""
        return frozenset(self.decoders)

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of everything in the declarations that a State depends on."""
        digest = sha256()
        for resource in self.resources:
            digest.update(resource.fingerprint.encode() + b"\0")
        return digest.hexdigest()

    def after(self, event: SchemaDeclared, collection: str) -> Vocabulary:
        """The vocabulary after a declaration: a kind that contradicts it becomes foreign."""
        lost = frozenset(
            resource.kind
            for resource in (self.kinds.get(event.kind), self.collections.get(collection))
            if resource is not None and contradictions(resource, event, collection)
        )
        if not lost:
            return self
        without = self._without.get(lost)
        if without is None:
            others = [one for one in self.resources if one.kind not in lost]
            without = self._without[lost] = self._with(others)
            without._foreign = self._foreign  # One type for each foreign kind of a log.
        return without

    def after_all(self, declared: Iterable[tuple[SchemaDeclared, str]]) -> Vocabulary:
        """The vocabulary after declarations, each with its collection."""
        vocabulary = self
        for event, collection in declared:
            vocabulary = vocabulary.after(event, collection)
        return vocabulary

    def _with(self, resources: Iterable[ResourceType]) -> Vocabulary:
        """The same vocabulary of other kinds."""
        return Vocabulary(resources)

    def foreign(self, kind: str) -> ResourceType:
        """A kind of which only the verbs are known."""
        found = self._foreign.get(kind)
        if found is None:
            if len(self._foreign) >= _MAX_FOREIGN:
                raise UnknownEvent(f"the log has more than {_MAX_FOREIGN} kinds of resources")
            found = self._foreign[kind] = ResourceType(kind, "", foreign=True)
        return found

    def foreign_decoders(self, name: str) -> Decoders:
        """The decoders of a type that no kind of this vocabulary has.

        Raises `UnknownEvent` if it cannot be a type of a resource.
        """
        found = self._foreign_decoders.get(name)
        if found is None:
            found = self._foreign_decoders[name] = _decoders(self._foreign_event(name))
        return found

    def _foreign_event(self, name: str) -> type[ResourceEvent]:
        match = _TYPE.fullmatch(name)
        if match is None or match[1] in RESERVED_KINDS or match[1] in self.kinds:
            raise UnknownEvent(f"event type {name!r} is unknown")
        return self.foreign(match[1]).event_of(match[2])

    def parse_all(self, lines: bytes) -> list[Any]:
        """Decode lines at once: `Line`s with an event as ``data``.

        Nothing else is checked, not even the places of newlines. Raises `ValueError`.
        """
        try:
            parsed = self._parse_typed(lines)
            if self._converts:
                for line in parsed:
                    _check_clear(line.data)
        except (RecursionError, UnknownEvent) as error:
            raise ValueError(f"they are not events: {error}") from None
        return parsed

    def _parse_typed(self, lines: bytes) -> list[Any]:
        try:
            return self._decode_typed_lines(lines)
        except msgspec.ValidationError:
            if not self._meet_types(lines):
                raise
            return self._decode_typed_lines(lines)

    @cached_property
    def _converts(self) -> bool:
        return any(resource.converts for resource in self.resources)

    @cached_property
    def _decode_typed_lines(self) -> Callable[[bytes], list[Any]]:
        types = map(_typed_line, (*self.events, *self._met))
        return msgspec.json.Decoder(reduce(or_, types)).decode_lines

    def _meet_types(self, lines: bytes) -> bool:
        """Make the types of foreign kinds that lines have known; false if there is none."""
        met = {event.type for event in self._met}
        for name in {found.decode() for found in _TYPE_MEMBER.findall(lines)} - met:
            with suppress(UnknownEvent):
                if name not in self.decoders:
                    self._met.append(self._foreign_event(name))
        if len(self._met) == len(met):
            return False
        del self._decode_typed_lines
        return True


def is_undeclared(event: Event, declared: Container[str]) -> bool:
    """Whether neither the code nor the log before an event declares its kind."""
    return (
        isinstance(event, ResourceEvent)
        and event.resource.foreign
        and event.resource.kind not in declared
    )


def contradictions(resource: ResourceType, event: SchemaDeclared, collection: str) -> list[str]:
    """The reasons why code with this kind cannot read what a declaration announces."""
    if resource.kind != event.kind:
        return [
            f"collection: the log has the kind {event.kind!r} in {collection}; "
            "set another collection, or give the class its old name again"
        ]
    if resource.collection != collection:
        return [
            f"collection: it is {collection!r} in the log; set collection = {collection!r} again"
        ]
    return unreadable(
        event, resource.declaration, resource.renamed, has_upcast=resource.upcast is not None
    )


def _decoders(event: type[Event]) -> Decoders:
    decode = msgspec.json.Decoder(event).decode
    if not issubclass(event, ResourceEvent):
        personal = _PERSONAL.get(event)
        if personal is not None:
            return Decoders(decode, msgspec.json.Decoder(personal).decode)
        return Decoders(decode, _no_values if issubclass(event, PlainEvent) else None)
    resource = event.resource
    sealed = resource.sealed_type(event)
    if resource.foreign:
        return Decoders(decode, None)
    if sealed is None:
        return Decoders(decode, _no_values)
    if not resource.converts:
        return Decoders(decode, msgspec.json.Decoder(sealed).decode)
    return Decoders(_upcast_data(event), _upcast_personal(resource, sealed))


def _no_values(values: bytes) -> None:
    """Decode the sealed values of a `PlainEvent`: there are none."""
    _decode_nothing(values)


def _upcast_data(event: type[ResourceEvent]) -> Decode:
    """Decode data whose clear values may be those of an older declaration."""
    convert = event.resource.convert

    def decode(data: bytes) -> Any:
        members = msgspec.json.decode(data)
        if isinstance(members, dict) and isinstance(members.get("clear"), dict):
            members["clear"] = convert(members["clear"])
        return msgspec.convert(members, event)

    return decode


def _upcast_personal(resource: ResourceType, sealed: type[Personal]) -> Decode:
    """Decode sealed values that may be those of an older declaration."""

    def decode(values: bytes) -> Any:
        return msgspec.convert(resource.convert(_decode_object(values)), sealed)

    return decode


def _check_clear(event: Event) -> None:
    """Check clear values that may be those of an older declaration."""
    if isinstance(event, ResourceEvent) and event.resource.converts:
        clear = getattr(event, "clear", None)
        if isinstance(clear, dict):
            is_whole = isinstance(event, Created | Restored)
            resource = event.resource
            shape = resource.clear_content if is_whole else resource.clear_changes
            msgspec.convert(resource.convert(clear), shape)


@cache
def _line_fields() -> tuple[msgspec.structs.FieldInfo, ...]:
    """The fields of a `Line`; msgspec evaluates its annotations anew with each call."""
    return msgspec.structs.fields(Line)


def _typed_line(event: type[Event]) -> type[msgspec.Struct]:
    """A `Line` of this one type, with the event as ``data``."""
    members: list[Any] = []
    data = event
    if issubclass(event, ResourceEvent) and event.resource.converts:
        data = _with_any_clear(event)
    for field in _line_fields():
        if field.name == "data":
            members.append(("data", data))
        elif field.name != "type":
            members.append((field.name, field.type, *([] if field.required else [field.default])))
    return msgspec.defstruct(
        event.type, members, tag_field="type", tag=event.type, gc=False, omit_defaults=True
    )


def _with_any_clear(event: type[ResourceEvent]) -> type[ResourceEvent]:
    """The same event, with clear values of any shape."""
    if "clear" not in event.__struct_fields__:
        return event
    clear: Any = dict[str, Any] | None
    any_clear: Any = msgspec.defstruct(
        event.__name__, [("clear", clear, None)], bases=(event,), frozen=True, gc=False
    )
    return any_clear  # type: ignore[no-any-return]
