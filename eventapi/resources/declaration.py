"""The base class of declared resources, and the markers of fields and actions.

A resource is a frozen msgspec Struct. Its fields are the content; class variables are its options::

    class Invoice(Resource):
        unique = ("number",)

        number: str
        cents: Clear[int]
        paid: Clear[bool] = False

        @action
        def pay(self) -> "Invoice":
            return structs.replace(self, paid=True)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, Final, Self, TypeVar, dataclass_transform

import msgspec

from events.errors import ApplicationFailed, ConfigurationError, EventapiError

T = TypeVar("T")
Act = TypeVar("Act", bound=Callable[..., Any])

_ACTION: Final = "__eventapi_action__"


class ClearMarker:
    """The mark of `Clear` in the metadata of a type."""


Clear = Annotated[T, ClearMarker]
"""A field whose values are not personal: they stay readable in the log for ever."""


class Access(msgspec.Struct, frozen=True):
    """Who may read and who may write the resources of a kind, besides their shares.

    ``read``: ``owner``, ``users`` for every user who is logged in, ``public`` for every caller, or a
    role. ``write``: ``owner``, or a role. An owner may always read what they own.
    """

    read: str = "owner"
    write: str = "owner"


class Global(tuple[str, ...]):
    """Fields whose values are unique for all owners: ``Global("number")``."""

    __slots__ = ()

    def __new__(cls, *fields: str) -> Self:
        return super().__new__(cls, fields)


UniqueFields = str | tuple[str, ...]
"""A field, or fields together; unique among the resources of one owner unless `Global`."""


def is_shared_default(default: Any) -> bool:
    """Whether msgspec refuses a default, because all values would share it."""
    try:
        msgspec.defstruct("One", [("value", Any, default)])
    except TypeError:
        return True
    return False


class _ResourceMeta(msgspec.StructMeta):
    def __new__(
        mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **config: Any
    ) -> Any:
        config = {"kw_only": True, "frozen": True, "forbid_unknown_fields": True} | config
        try:
            return super().__new__(mcls, name, bases, namespace, **config)
        except TypeError:
            for field in namespace.get("__annotations__", {}):
                if field in namespace and is_shared_default(namespace[field]):
                    raise ConfigurationError(
                        f"{name}: {field}: all would share the default {namespace[field]!r}; write "
                        f"msgspec.field(default_factory=lambda: {namespace[field]!r})"
                    ) from None
            raise


# Type checkers take the nearest transform in the order of bases, and msgspec's is of plain Structs.
@dataclass_transform(kw_only_default=True, field_specifiers=(msgspec.field,))
class Resource(msgspec.Struct, metaclass=_ResourceMeta):
    """Base of declared resources.

    - ``collection``: the name in paths and subjects; by default the kind with an ``s``.
    - ``unique``: fields, or tuples of fields, whose values no two live resources share.
    - ``access``: who may read and write.
    - ``shareable``: the owner may share a resource with other users.
    - ``renamed``: the new names of renamed fields by their old ones.
    - ``upcast``: converts the values that an event sets, as JSON values, to those of this
      declaration. An event sets all fields or some, and `Clear` ones and the others apart. Values
      that have the present form already must stay as they are.
    """

    collection: ClassVar[str] = ""
    unique: ClassVar[tuple[UniqueFields, ...]] = ()
    access: ClassVar[Access] = Access()
    shareable: ClassVar[bool] = False
    renamed: ClassVar[Mapping[str, str]] = {}
    upcast: ClassVar[Any] = None


CLASS_VARIABLES: Final = frozenset(Resource.__annotations__)
"""Names that neither a field nor an action can have."""


def action(function: Act) -> Act:
    """Declare a method as an action: it returns the new value, or raises `Refused`.

    Its keyword parameters are the body of the request.
    """
    setattr(function, _ACTION, True)
    return function


def is_action(value: object) -> bool:
    """Whether a member of a class is an action."""
    return callable(value) and getattr(value, _ACTION, False) is True


@contextmanager
def application_code(place: str) -> Iterator[None]:
    """Raise `ApplicationFailed`, with the ``place``, if code of the application fails.

    Errors of this project pass, such as `Refused`.
    """
    try:
        yield
    except (EventapiError, MemoryError, KeyboardInterrupt):
        raise
    except BaseException as error:  # An application may also call `sys.exit`.
        raise ApplicationFailed(f"{place} raised {type(error).__name__}") from error
