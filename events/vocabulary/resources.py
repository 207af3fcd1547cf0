"""Events about a resource of any kind. Subject: ``COLLECTION/N``.

The verbs are closed: a reader that has never heard of a kind can fold its events. `ResourceType`
makes the event classes of a kind, which differ only in their content.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from events.errors import UnknownEvent
from events.record import Event, Number, Personal, PlainEvent
from events.vocabulary.compiled import changes_maker, content_maker, merger
from events.vocabulary.schemas import SchemaDeclared

ARGUMENTS: Final = "$arguments"
"""The member of an action's sealed values that has its arguments; no field has such a name."""


class ResourceEvent(Event, frozen=True, gc=False):
    """Base of the events about a resource.

    ``clear`` has the values that stay readable for ever, ``personal`` the others; each has all
    fields of the content, or only the changed ones.
    """

    resource: ClassVar[ResourceType]
    verb: ClassVar[str]


class Created(ResourceEvent, frozen=True, gc=False):
    """A resource was created; ``owner`` is a user's number.

    ``created_at`` is there only if it differs from the record's time, as after an import.
    """

    verb: ClassVar[str] = "created"
    timestamp: ClassVar[str] = "created_at"
    owner: Number
    created_at: str | None = None
    clear: Any = None
    personal: Any = msgspec.field(default=None, name="sealed")


class Updated(ResourceEvent, frozen=True, gc=False):
    """Values of a resource changed."""

    verb: ClassVar[str] = "updated"
    clear: Any = None
    personal: Any = msgspec.field(default=None, name="sealed")


class Deleted(ResourceEvent, PlainEvent, frozen=True, gc=False):
    """A resource was deleted; its number is never used again."""

    verb: ClassVar[str] = "deleted"


class Restored(ResourceEvent, frozen=True, gc=False):
    """A resource, deleted or not, has its content at position ``as_of`` again."""

    verb: ClassVar[str] = "restored"
    as_of: Number
    clear: Any = None
    personal: Any = msgspec.field(default=None, name="sealed")


class Shared(ResourceEvent, PlainEvent, frozen=True, gc=False):
    """The user with the number ``user`` may read the resource now, or write it, too."""

    verb: ClassVar[str] = "shared"
    user: Number
    can: Literal["read", "write"]


class Unshared(ResourceEvent, PlainEvent, frozen=True, gc=False):
    """The user with the number ``user`` lost what `Shared` gave."""

    verb: ClassVar[str] = "unshared"
    user: Number


class Acted(Updated, frozen=True, gc=False):
    """An action changed values of a resource; its arguments are among the sealed."""

    verb: ClassVar[str] = "acted"


VERBS: Final = frozenset(
    event.verb for event in (Created, Updated, Deleted, Restored, Shared, Unshared)
)
"""The verbs of every kind; the others are actions."""


class Content(Personal, frozen=True, gc=False):
    """Base of the values of a resource: all of them, or the changed ones."""


class Entity(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Base of the current values of a resource: its content, and the following.

    ``owner`` is a user's number, ``version`` the position of the resource's last event.
    """

    if TYPE_CHECKING:
        id: int
        owner: int
        created_at: str
        updated_at: str
        version: int

        def __getattr__(self, name: str) -> Any: ...


class Field(msgspec.Struct, frozen=True):
    """A field of a content.

    ``type`` has no constraints, because a log may have older values. ``default`` is `UNSET` for a
    required field; ``is_clear`` fields are not sealed. Values of the classes ``same`` are the same
    after the log as before.
    """

    name: str
    type: Any
    default: Any = UNSET
    is_clear: bool = False
    same: frozenset[type] = frozenset()

    @property
    def blank(self) -> Any:
        """Replaces a value whose key is destroyed."""
        if self.default is not UNSET:
            return self.default
        return "" if self.type is str else None


class Unique(msgspec.Struct, frozen=True):
    """Fields whose values no two live resources share: of one owner, or of all."""

    fields: tuple[str, ...]
    is_global: bool = False


class ResourceType:
    """A kind of resources, and the Structs that follow from its declaration.

    - ``content`` and ``changes``: the sealed values, all of them or some.
    - ``clear_content`` and ``clear_changes``: the same for the clear ones.
    - ``entity``: the current values, ``names`` in the order of its fields.
    - ``events``: the event classes by type, such as ``invoice.created``.

    ``upcast`` converts the values that an event of an older declaration sets, as JSON values, and
    ``renamed`` has the new names of fields by their old ones. Of a ``foreign`` kind only the verbs
    are known. ``declaration`` is the one that the log gets; ``None`` if the kind is built in or
    foreign.
    """

    def __init__(
        self,
        kind: str,
        collection: str,
        fields: Sequence[Field] = (),
        actions: Sequence[str] = (),
        unique: Sequence[Unique] = (),
        *,
        upcast: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        renamed: Mapping[str, str] = MappingProxyType({}),
        declaration: SchemaDeclared | None = None,
        fingerprint: str = "",
        foreign: bool = False,
    ) -> None:
        self._arguments = (kind, collection, tuple(fields), tuple(actions), tuple(unique))
        self._options = {
            "upcast": upcast,
            "renamed": dict(renamed),
            "declaration": declaration,
            "fingerprint": fingerprint,
            "foreign": foreign,
        }
        self.kind = kind
        self.collection = collection
        self.fields = tuple(fields)
        self.unique = tuple(unique)
        self.upcast = upcast
        self.renamed = renamed
        self.declaration = declaration
        self.fingerprint = fingerprint
        self.foreign = foreign
        self.sealed = tuple(field for field in fields if not field.is_clear)
        self.clear = tuple(field for field in fields if field.is_clear)
        self.names = tuple(field.name for field in (*self.sealed, *self.clear))
        self.content = self._struct("Content", self.sealed)
        self.changes = self._struct("Changes", self.sealed, partial=True)
        self.clear_content = self._struct("Clear", self.clear)
        self.clear_changes = self._struct("ClearChanges", self.clear, partial=True)
        self.unchanged = self.changes()
        self.unchanged_clear = self.clear_changes()
        self.arguments = self._arguments_of_actions()
        self.entity = self._entity()
        self.created = self._event(Created, self.content, self.clear_content)
        self.updated = self._event(Updated, self.changes, self.clear_changes)
        self.deleted = self._event(Deleted)
        self.restored = self._event(Restored, self.content, self.clear_content)
        self.shared = self._event(Shared)
        self.unshared = self._event(Unshared)
        self.actions: Mapping[str, type[Acted]] = {
            action: self._event(Acted, self.arguments, self.clear_changes, action)
            for action in actions
        }
        every_kind = (self.created, self.updated, self.deleted, self.restored)
        sharing = (self.shared, self.unshared)
        self.events: dict[str, type[ResourceEvent]] = {
            event.type: event for event in (*every_kind, *sharing, *self.actions.values())
        }
        self._compile()
        self.blank = self.content_of({})
        self.blank_clear = self.clear_of({})

    def _compile(self) -> None:
        """Compile the functions that writes and replays call for each event."""
        self.make_content = content_maker(self.content)
        self.make_clear_content = content_maker(self.clear_content)
        self.make_changes = changes_maker(self.changes)
        self.make_clear_changes = changes_maker(self.clear_changes)
        self.merge = merger(
            self.entity, self.changes.__struct_fields__, self.clear_changes.__struct_fields__
        )

    def __reduce__(self) -> Any:
        return _rebuilt, (self._arguments, self._options)

    def content_of(self, values: Mapping[str, Any]) -> Content:
        """The sealed content with these values; the others are blank."""
        return _filled(self.content, self.sealed, values)

    def clear_of(self, values: Mapping[str, Any]) -> Content:
        """The clear content with these values; the others are blank."""
        return _filled(self.clear_content, self.clear, values)

    @property
    def converts(self) -> bool:
        """Whether values of older declarations are converted."""
        return self.upcast is not None or bool(self.renamed)

    def convert(self, values: dict[str, Any]) -> dict[str, Any]:
        """Convert values of an older declaration: first the upcast, then the new names.

        Raises `UnknownEvent` if the upcast fails.
        """
        arguments = {ARGUMENTS: values.pop(ARGUMENTS)} if ARGUMENTS in values else {}
        found = values
        if self.upcast is not None:
            try:
                found = dict(self.upcast(values))
            except Exception as error:
                # Not the text of the error, which may quote personal values.
                raise UnknownEvent(
                    f"the upcast of {self.entity_name} raised {type(error).__name__}"
                ) from error
        for old, new in self.renamed.items():
            if old in found:
                found.setdefault(new, found.pop(old))
        return found | arguments

    def event_of(self, verb: str) -> type[ResourceEvent]:
        """The event class of a verb; of a foreign kind, any other verb is an action."""
        name = f"{self.kind}.{verb}"
        if self.foreign and name not in self.events:
            self.events[name] = self._event(Acted, self.arguments, self.clear_changes, verb)
        return self.events[name]

    def sealed_type(self, event: type[ResourceEvent]) -> type[Content] | None:
        """The Struct of the values that are sealed in an event, if any are."""
        if issubclass(event, Created | Restored):
            return self.content
        if issubclass(event, Acted):
            return self.arguments
        return self.changes if issubclass(event, Updated) else None

    def subject(self, number: int) -> str:
        """The subject of a resource in the log."""
        return f"{self.collection}/{number}"

    def _struct(
        self,
        name: str,
        fields: Sequence[Field],
        *,
        partial: bool = False,
    ) -> type[Any]:
        members: list[Any] = []
        for one in fields:
            if partial:
                members.append((one.name, one.type | UnsetType, UNSET))
            elif one.default is UNSET:
                members.append((one.name, one.type))
            elif isinstance(one.default, (list, dict, msgspec.Struct)):
                default = msgspec.field(default_factory=functools.partial(deepcopy, one.default))
                members.append((one.name, one.type, default))
            else:
                members.append((one.name, one.type, one.default))
        has_default = [len(member) > 2 for member in members]
        return msgspec.defstruct(
            f"{self.entity_name}{name}",
            members,
            bases=(Content,),
            frozen=True,
            gc=False,
            kw_only=has_default != sorted(has_default),
        )

    def _arguments_of_actions(self) -> type[Any]:
        """The sealed values that an action changed, and behind them its arguments."""
        hidden = msgspec.field(name=ARGUMENTS, default=UNSET)
        return msgspec.defstruct(
            f"{self.entity_name}Arguments",
            [("arguments_", dict[str, Any] | UnsetType, hidden)],
            bases=(self.changes,),
            frozen=True,
            gc=False,
        )

    @property
    def entity_name(self) -> str:
        """The name of the kind as that of a class."""
        return "".join(word.capitalize() for word in self.kind.split("_"))

    def _entity(self) -> type[Any]:
        values = [(field.name, Any) for field in (*self.sealed, *self.clear)]
        stamps = [("owner", int), ("created_at", str), ("updated_at", str), ("version", int)]
        return msgspec.defstruct(
            self.entity_name,
            [("id", int), *values, *stamps],
            bases=(Entity,),
            array_like=True,
            frozen=True,
            gc=False,
        )

    def _event(
        self,
        base: Any,
        sealed: type[Any] | None = None,
        clear: type[Any] | None = None,
        action: str = "",
    ) -> Any:
        members: list[Any] = []
        if clear is not None and sealed is not None:
            clear_type: Any = clear | None if self.clear else None
            sealed_type: Any = sealed | str | None
            if self.foreign:
                clear_type, sealed_type = dict[str, Any] | None, str | None
            members = [
                ("clear", clear_type, None),
                ("personal", sealed_type, msgspec.field(default=None, name="sealed")),
            ]
        verb = action or base.verb
        return msgspec.defstruct(
            f"{self.entity_name}{verb.capitalize()}",
            members,
            bases=(base,),
            namespace={"type": f"{self.kind}.{verb}", "resource": self, "__doc__": base.__doc__},
            frozen=True,
            gc=False,
            omit_defaults=True,
            forbid_unknown_fields=True,
        )


def _rebuilt(arguments: Any, options: Any) -> ResourceType:
    """A resource type in another process."""
    return ResourceType(*arguments, **options)


def _filled(kind: type[Any], fields: Sequence[Field], values: Mapping[str, Any]) -> Content:
    filled: Content = kind(**{field.name: values.get(field.name, field.blank) for field in fields})
    return filled
