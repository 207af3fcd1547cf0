"""Declarations that are refused: one line with class, field and cure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from eventapi.resources import Access, Clear, Global, action
from events.errors import ConfigurationError
from tests.eventapi.resources import typed_application
from tests.eventapi.resources.declaring import declared, resource_class

_SHORT = Annotated[str, Meta(max_length=20)]
_SHORT_OR_NULL = Annotated[str | None, Meta(max_length=20)]


class Flat(msgspec.Struct):
    """A Struct."""

    a: int


class Coded(msgspec.Struct):
    """A Struct that runs code."""

    a: int

    def __post_init__(self) -> None:
        """Do nothing."""


def post_init(self: Any) -> None:
    """Do nothing."""


class Node(msgspec.Struct):
    """A Struct that contains itself."""

    inner: Node | None = None


@action
def act(self: Any, *, text: str = "") -> Any:
    """Do something."""
    return self


@action
def positional(self: Any, text: str) -> Any:
    """Take a positional parameter."""
    return self


@action
def untyped(self, *, text):  # type: ignore[no-untyped-def]
    """Take a parameter without a type."""
    return self


@action
def with_bytes(self: Any, *, text: bytes) -> Any:
    """Take a parameter of a type that is not allowed."""
    return self


@action
async def waiting(self: Any) -> Any:
    """Wait."""
    return self


@action
def of_nothing() -> Any:
    """Get nothing, not even the value."""


@action
def by_name(*, self: Any) -> Any:
    """Get the value by name."""
    return self


@action
@action
def with_shared_default(self: Any, *, tags: list[str] = ["x"]) -> Any:  # noqa: B006
    """Have a default that a call could change."""
    return self


class Impossible(msgspec.Struct):
    """A Struct without a possible value."""

    size: Annotated[int, Meta(gt=4, lt=5)]


NO_METHOD = (
    "pay: it must be a method that gets `self`; write `def pay(self, ...)`, without a decorator"
)

REFUSED: Mapping[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no field": ({}, {}, "it has no field; add one, such as `name: str`"),
    "reserved field": (
        {"owner": str},
        {},
        "owner: every resource has this already; use another name",
    ),
    "class variable as a field": (
        {"access": str},
        {},
        "access: it is a class variable of every resource; write `access = ...` without a type",
    ),
    "private field": (
        {"_a": str},
        {},
        "_a: a name begins with a letter, and does not end with _; use another name",
    ),
    "other name in JSON": (
        {"a": (str, msgspec.field(name="b"))},
        {},
        "a: it has another name in JSON; name the field so",
    ),
    "bytes": ({"a": bytes}, {}, "a: the type bytes is not supported; use bool, int, float, str, "),
    "any": ({"a": Any}, {}, "a: the type Any is not supported; use bool, int, float, str, "),
    "tuple": ({"a": tuple[int, int]}, {}, "a: the type tuple is not supported; use bool, "),
    "text or list": (
        {"a": str | list[str]},
        {},
        "a: a str beside a list or a dict is not possible",
    ),
    "text or dict": ({"a": dict[str, int] | None | _SHORT}, {}, "a: a str beside a list or a dict"),
    "optional text or list": ({"a": _SHORT_OR_NULL | list[str]}, {}, "a: a str beside a list or"),
    "set": ({"a": set[int]}, {}, "a: the type set is not supported; use bool, int, "),
    "list of what": ({"a": list}, {}, "a: say what is in the list, such as list[...]"),
    "dict of what": ({"a": dict}, {}, "a: say what is in the dict, such as dict[...]"),
    "dict with other keys": ({"a": dict[int, str]}, {}, "a: the keys of a dict must be str"),
    "Struct in itself": (
        {"a": Node},
        {},
        "a: Node contains itself; name the type of the inner one",
    ),
    "union of two texts": (
        {"a": str | uuid.UUID},
        {},
        "a: Type unions may not contain more than one str-like type",
    ),
    "limit of another type": ({"a": Annotated[bool, Meta(ge=1)]}, {}, "a: "),
    "name that is not defined": (
        {"a": "Missing"},
        {},
        "name 'Missing' is not defined; import it, or define it above the class",
    ),
    "wrong default": (
        {"a": (int, "x")},
        {},
        "a: the default must be a whole number, not a string; change the default or the type",
    ),
    "default beyond a limit": (
        {"a": (Annotated[str, Meta(max_length=2)], "xyz")},
        {},
        "a: the default must have at most 2 characters; change the default or the type",
    ),
    "default with a control character": ({"a": (str, "\0")}, {}, "a: the default must have no "),
    "default that differs": (
        {"a": (uuid.UUID, msgspec.field(default_factory=uuid.uuid4))},
        {},
        "a: its default differs each time; leave the default out",
    ),
    "collection of another path": (
        {"a": str},
        {"collection": "users"},
        "collection = 'users' is not possible; use another name of lower-case letters, digits and _",
    ),
    "collection with capitals": ({"a": str}, {"collection": "A"}, "collection = 'A' is not possi"),
    "collection with a newline": ({"a": str}, {"collection": "a\n"}, "collection = 'a\\n' is not"),
    "unique without a comma": (
        {"a": str},
        {"unique": ("a")},
        'unique is a text; write unique = ("a",)',
    ),
    "unique of no field": (
        {"a": str, "b": str},
        {"unique": ("c",)},
        "unique names 'c', which is not a field; name one of a, b",
    ),
    "unique list": (
        {"a": list[str]},
        {"unique": ("a",)},
        "a: a list, dict or Struct cannot be unique; remove it from `unique`",
    ),
    "resource in a resource": (
        {"a": typed_application.Invoice},
        {},
        "a: Invoice is a resource; use its id, an int",
    ),
    "unique Struct for all": (
        {"a": Flat},
        {"unique": (Global("a"),)},
        "a: a list, dict or Struct cannot be unique; remove it from `unique`",
    ),
    "unique of nothing": (
        {"a": str},
        {"unique": ((),)},
        "unique has (); name a field, or a tuple of fields",
    ),
    "unique number": ({"a": str}, {"unique": (5,)}, "unique has 5; name a field, or a tuple of fi"),
    "code at each replay": (
        {"a": str},
        {"__post_init__": post_init},
        "__post_init__: it is not possible, because a replay runs no code; limit the fields with "
        "Meta, and remove it",
    ),
    "code of a Struct": (
        {"a": list[Coded]},
        {},
        "a: Coded: __post_init__: it is not possible, because a replay runs no code; ",
    ),
    "too long for a line": (
        {"b": str, "a": Literal.__getitem__(tuple(f"{number:05}" for number in range(9_000)))},
        {},
        "a: the JSON Schema of the class has 72,",
    ),
    "action and field": (
        {"pay": (str, act)},
        {},
        "pay: it is a field and an action; rename one of both",
    ),
    "access of a role in capitals": (
        {"a": str},
        {"access": Access(read="Editor")},
        'access: read = "Editor" is not possible; use "owner", "users", "public" or a role',
    ),
    "public writes": (
        {"a": str},
        {"access": Access(write="public")},
        'access: write = "public" is not possible; use "owner" or a role',
    ),
    "access of another type": ({"a": str}, {"access": "users"}, "access is not an Access; write "),
    "renamed to no field": (
        {"a": str},
        {"renamed": {"b": "c"}},
        'renamed = {"b": "c"}: there is no field c; name one of a',
    ),
    "renamed from a field": (
        {"a": str, "b": str},
        {"renamed": {"a": "b"}},
        'renamed = {"a": "b"}: there still is a field a; remove one of both',
    ),
    "renamed of another type": ({"a": str}, {"renamed": ("a", "b")}, "renamed is not a dict; wri"),
    "upcast of another type": ({"a": str}, {"upcast": "x"}, "upcast is not a function; write one"),
    "action of every kind": (
        {"a": str},
        {"updated": act},
        "updated: an action cannot have this name; use another one",
    ),
    "positional parameter": (
        {"a": str},
        {"pay": positional},
        "pay: text must be a keyword parameter with a type, behind a `*`",
    ),
    "parameter without a type": ({"a": str}, {"pay": untyped}, "pay: text must be a keyword par"),
    "parameter of another type": (
        {"a": str},
        {"pay": with_bytes},
        "pay: text: the type bytes is not supported; use bool, int, ",
    ),
    "action without self": ({"a": str}, {"pay": of_nothing}, NO_METHOD),
    "action whose self has a name": ({"a": str}, {"pay": by_name}, NO_METHOD),
    "static action": ({"a": str}, {"pay": staticmethod(act)}, NO_METHOD),
    "action of a static method": ({"a": str}, {"pay": action(staticmethod(post_init))}, NO_METHOD),
    "action of the class": ({"a": str}, {"pay": classmethod(act)}, NO_METHOD),
    "action as a property": ({"a": str}, {"pay": property(act)}, NO_METHOD),
    "shared default of a parameter": (
        {"a": str},
        {"pay": with_shared_default},
        "pay: tags: all calls would share the default ['x']; use None as the default",
    ),
    "shared default": (
        {"a": (list[str], ["x"])},
        {},
        "a: all would share the default ['x']; write msgspec.field(default_factory=lambda: ['x'])",
    ),
    "default that is not JSON": (
        {"a": (str, object())},
        {},
        "a: the default is no value of JSON; change the default or the type",
    ),
    "shareable text": (
        {"a": str},
        {"shareable": "no"},
        "shareable = 'no' is not possible; write shareable = True or False",
    ),
    "collection of another type": ({"a": str}, {"collection": 5}, "collection = 5 is not possi"),
    "unique of another type": (
        {"a": str},
        {"unique": None},
        'unique = None is not possible; write unique = ("a",), or leave it out',
    ),
    "unique as one key": (
        {"a": str},
        {"unique": Global("a")},
        'unique is one key; write unique = (Global("a"),), or ("a",) if a log has it already, ',
    ),
    "unique field twice": (
        {"a": str},
        {"unique": (("a", "a"),)},
        "unique names 'a' twice in ('a', 'a'); name it once",
    ),
    "unique of a list of names": ({"a": str}, {"unique": ((["a"],),)}, "unique names ['a'], whic"),
    "access of a number": (
        {"a": str},
        {"access": Access(read=5)},  # type: ignore[arg-type]
        'access: read = "5" is not possible; use "owner", "users", "public" or a role',
    ),
    "least above most": (
        {"a": Annotated[int, Meta(ge=10, le=5)]},
        {},
        "a: no value can have at least 10 and at most 5; change Meta",
    ),
    "least above 64 bits": ({"a": Annotated[int, Meta(gt=2**63 - 1)]}, {}, "a: "),
    "no number between": ({"a": Impossible}, {}, "a: size: no value can have at least 5 and at mo"),
    "no fraction between": (
        {"a": Annotated[float, Meta(gt=1, lt=1)]},
        {},
        "a: no value can have ",
    ),
    "shortest above longest": (
        {"a": list[Annotated[str, Meta(min_length=6_000)]]},
        {},
        "a: no value can have a length of at least 6000 and at most 5000; change Meta",
    ),
    "most elements below least": (
        {"a": dict[str, Annotated[list[int], Meta(min_length=2, max_length=1)]]},
        {},
        "a: no value can have a length of at least 2 and at most 1; change Meta",
    ),
    "true as a Literal": (
        {"a": Literal[True]},
        {},
        "a: True in a Literal is not possible; use bool",
    ),
    "false among Literals": ({"a": list[Literal["x", False]]}, {}, "a: False in a Literal is not "),
    "long Literal": ({"a": Literal[2**63]}, {}, "a: 9223372036854775808 in a Literal has more th"),
    "action that waits": ({"a": str}, {"pay": waiting}, "pay: an action cannot wait; remove `as"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_declaration_is_one_line_with_class_field_and_cure(case: str) -> None:
    fields, members, message = REFUSED[case]
    with pytest.raises(ConfigurationError) as caught:
        declared("Invoice", fields, **members)
    text = str(caught.value.message.text)
    assert text.startswith(f"Invoice: {message}"), text
    assert "\n" not in text


@pytest.mark.parametrize(
    "name",
    [
        *("access", "collection", "renamed", "shareable", "unique", "upcast"),
        *("created", "updated", "deleted", "restored", "shared", "unshared", "acted"),
        *("events", "history", "restore", "shares"),
    ],
)
def test_action_of_a_name_that_is_taken_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        declared("Invoice", {"a": str}, **{name: act})
    text = str(caught.value.message.text)
    assert text == f"Invoice: {name}: an action cannot have this name; use another one"


TAKEN = [
    *("User", "Session", "Schema", "Log", "Security", "Audit", "Webhook", "Key", "Projections"),
    *("Batch", "Mail", "Users", "Sessions", "Schemas", "Webhooks", "Keys"),
]


@pytest.mark.parametrize("name", TAKEN)
def test_collection_that_is_taken_is_refused(name: str) -> None:
    collection = name.lower()
    with pytest.raises(ConfigurationError, match=f"collection = '{collection}' is not possible"):
        declared("Thing", {"a": str}, collection=collection)


@pytest.mark.parametrize("name", [*TAKEN, "Ünit"])
def test_class_name_that_is_taken_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the name of a kind; rename the class"):
        declared(name, {"a": str}, collection="things")


def test_control_a_plain_class_is_accepted() -> None:
    """Control: the cases above differ from this one in one thing each."""
    assert declared("Invoice", {"a": str}, unique=("a",), pay=act).actions.keys() == {"pay"}
    assert resource_class("Invoice", {"a": Clear[str]}).__struct_fields__ == ("a",)
