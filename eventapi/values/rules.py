"""Rules about values that users type: types for decoding, and checks of commands.

HTTP and the command line decode with the types. The `decide` of every command checks the values
with `Rules`, so no path to the log can skip a rule, except imports and restorations.
"""

from __future__ import annotations

import math
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from types import NoneType
from typing import Annotated, Any, Final

import email_validator
import msgspec
from email_validator import EmailNotValidError, validate_email
from msgspec import UNSET, Meta, inspect

from eventapi.values.explanations import CHECK, RULE
from eventapi.values.validation import faults_of
from events.errors import Fault, Invalid
from events.vocabulary.users import Role

PLAIN: Final = "plain"
"""In ``Meta(extra=...)``: printable ASCII texts that do not begin with a space are valid."""

MIN_PASSWORD_CHARACTERS: Final = 8
MAX_PASSWORD_BYTES: Final = 1024

_CONTROLS: Final = r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f"
_BIDI: Final = r"\u202a-\u202e\u2066-\u2069"
"""Direction overrides make a text read as another one (CVE-2021-42574)."""

# The look-ahead at the end refuses the newline that Python's `$` accepts.
ONE_LINE: Final = rf"^[^\t\n\r{_CONTROLS}{_BIDI}]*$(?!\n)"
_TITLE: Final = rf"^(?=.*\S)[^\t\n\r{_CONTROLS}{_BIDI}]*$(?!\n)"
_TEXT: Final = rf"^[^{_CONTROLS}{_BIDI}]*$(?!\n)"
# Not `-` first, because commands parse such a name as an option. Existing users may have one.
_USERNAME: Final = r"^[A-Za-z0-9_.][A-Za-z0-9_.\-]*$(?!\n)"

# Unless emptied, addresses at names such as `.test` and `.internal` are refused (RFC 6761).
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

_INVISIBLE_CATEGORIES: Final = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})

_VISIBLE_FORMATS: Final = frozenset(
    map(chr, (*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD))
)
"""Characters of category Cf that have a shape: Unicode's Prepended_Concatenation_Mark."""

_INVISIBLE: Final = frozenset(
    map(
        chr,
        (
            *(0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0),  # joiner, fillers, vowels
            *(0x180B, 0x180C, 0x180D, 0x180F, *range(0xFE00, 0xFE10)),  # variation selectors
            *(0x2065, *range(0xFFF0, 0xFFF9)),  # reserved for characters that are ignored
            *(0x2800, 0x1D159),  # braille without dots, a note without a head
        ),
    )
)
"""Characters without a shape in categories whose other characters have one."""

_TAGS: Final = ("\U000e0000", "\U000e0fff")
"""Tags and more variation selectors; unassigned characters in this range are ignored as well."""


def _is_invisible(character: str) -> bool:
    if character in _INVISIBLE or _TAGS[0] <= character <= _TAGS[1]:
        return True
    return (
        unicodedata.category(character) in _INVISIBLE_CATEGORIES
        and character not in _VISIBLE_FORMATS
    )


def is_blank(text: str) -> bool:
    """Whether a text is empty or has only invisible characters."""
    if "!" <= text[:1] <= "~":  # Fast path: nearly every text begins with such a character.
        return False
    return all(map(_is_invisible, text))


def nfc(password: str) -> str:
    """The form in which passwords are hashed, because systems send different ones."""
    return unicodedata.normalize("NFC", password)


def normal_email(email: str) -> str:
    """The normal form of an email address. Raises `Invalid`.

    The syntax is that of RFC 5321, without its limit of 64 characters before the ``@``, which some
    imported addresses exceed. Reserved domains are accepted, because private networks use them.
    """
    try:
        checked = validate_email(email, check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError as error:
        raise Invalid(Fault("/email", str(error))) from None
    if "." not in checked.domain:
        raise Invalid(Fault("/email", "the domain needs a dot"))
    return checked.normalized


def _title_fault(title: str) -> str | None:
    if is_blank(title):
        return "must not be blank: it has no visible character; type a word"
    return None


def _full_name_fault(full_name: str) -> str | None:
    # Plain spaces have always been accepted.
    if is_blank(full_name) and full_name.strip():
        return "has no visible character; leave it out, or type a name"
    return None


def _email_fault(email: str) -> str | None:
    try:
        normal_email(email)
    except Invalid as error:
        return error.faults[0].detail
    return None


def _password_fault(password: str) -> str | None:
    """Check the form that is hashed, and the bytes of both forms."""
    composed = nfc(password)
    if len(composed) < MIN_PASSWORD_CHARACTERS:
        return (
            f"must have at least {MIN_PASSWORD_CHARACTERS} characters; "
            "a letter with its accents is one"
        )
    if max(len(password.encode()), len(composed.encode())) > MAX_PASSWORD_BYTES:
        return f"must have at most {MAX_PASSWORD_BYTES} bytes in UTF-8"
    return None


_VISIBLE_LINE: Final = {
    RULE: "must be one line without control characters, and not blank",
    CHECK: _title_fault,
    PLAIN: True,
}

Username = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=32,
        pattern=_USERNAME,
        description="ASCII letters, digits, `_`, `.` and `-`, which is not the first; unique "
        "without regard to case.",
        examples=["john_doe"],
        extra={
            RULE: "must consist of ASCII letters, digits, `_`, `.` and `-`, and not begin with `-`"
        },
    ),
]
Email = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=254,
        description="An email address; unique without regard to case.",
        examples=["john@example.com"],
        extra_json_schema={"format": "email"},
        extra={CHECK: _email_fault},
    ),
]
NewPassword = Annotated[
    str,
    Meta(
        min_length=MIN_PASSWORD_CHARACTERS,
        max_length=MAX_PASSWORD_BYTES,
        description=f"At most {MAX_PASSWORD_BYTES} bytes in UTF-8; never cut. Unicode's NFC counts.",
        examples=["correct horse battery staple"],
        extra_json_schema={"format": "password"},
        extra={CHECK: _password_fault},
    ),
]
FullName = Annotated[
    str,
    Meta(
        max_length=100,
        pattern=ONE_LINE,
        description="A name.",
        examples=["John Doe"],
        extra={
            RULE: "must be one line without control characters",
            CHECK: _full_name_fault,
            PLAIN: True,
        },
    ),
]
KeyName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=100,
        pattern=_TITLE,
        description="A name by which the user knows the key.",
        examples=["nightly report"],
        extra=_VISIBLE_LINE,
    ),
]
Title = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        pattern=_TITLE,
        description="Not blank, no control characters.",
        examples=["First item"],
        extra=_VISIBLE_LINE,
    ),
]
Description = Annotated[
    str,
    Meta(
        max_length=5000,
        pattern=_TEXT,
        description="No control characters but tab, newline and carriage return.",
        examples=["My first item"],
        extra={
            RULE: "must have no control characters but tab, newline and carriage return",
            PLAIN: True,
        },
    ),
]


PLAIN_TEXT: Final = Meta(
    pattern=_TEXT,
    extra={
        RULE: "must have no control characters but tab, newline and carriage return",
        PLAIN: True,
    },
)
"""The rule of a declared text that has no pattern of its own."""


class _UserValues(msgspec.Struct):
    username: Username
    email: Email
    full_name: FullName | None = None


class _KeyValues(msgspec.Struct):
    name: KeyName


class _RoleValues(msgspec.Struct):
    role: Annotated[
        Role,
        Meta(extra={RULE: "must begin with a-z, and have only a-z, 0-9 and -, at most 32"}),
    ]


class Rules:
    """The rules of a few values, as `decide` checks them.

    Checks run under the lock of the log, and `msgspec.convert` would take ten times as long. Only
    the report of faults uses it.
    """

    def __init__(self, kind: type[msgspec.Struct]) -> None:
        """``kind`` has the values as fields, each with its rules in its type."""
        self._kind = kind
        self._holds = {field.name: _rule(field.type) for field in msgspec.structs.fields(kind)}

    def check(self, **values: object) -> None:
        """Raise `Invalid` with the faults, at least one; `UNSET` has none."""
        holds = self._holds
        for name, value in values.items():
            if value is not UNSET and not holds[name](value):
                raise Invalid(*self.faults(values) or [Fault(f"/{name}", "is not possible")])

    def faults(self, values: Mapping[str, object]) -> list[Fault]:
        """Every fault of these values, in the words of a refused request."""
        given = msgspec.to_builtins(
            {name: value for name, value in values.items() if value is not UNSET}
        )
        unstorable = [
            Fault(f"/{name}", detail)
            for name, value in values.items()
            if (detail := _unstorable(value)) is not None
        ]
        places = {fault.pointer for fault in unstorable}
        found = [
            fault
            for fault in faults_of(given, self._kind)
            if fault.pointer not in places
            and (fault.kind != "missing" or fault.pointer.count("/") > 1)
        ]
        return found + unstorable


Holds = Callable[[Any], bool]
"""Whether a value obeys its rule."""

_WITHOUT_LIMITS: Final[Mapping[type[inspect.Type], type]] = {
    inspect.BoolType: bool,
    inspect.DateType: date,
}
"""Types all of whose values obey, unless they are of a subclass."""

_STORABLE: Final = frozenset({bool, int, str, date, NoneType})


def _rule(kind: Any) -> Holds:
    """The rule of a type: fast for texts, whole numbers, dates and literals."""
    info = inspect.type_info(kind)
    if isinstance(info, inspect.LiteralType):
        return partial(_is_among, frozenset((type(one), one) for one in info.values))
    is_optional = False
    if isinstance(info, inspect.UnionType):
        others = [one for one in info.types if not isinstance(one, inspect.NoneType)]
        is_optional = len(others) < len(info.types)
        info = others[0] if len(others) == 1 else info
    if not isinstance(info, inspect.Metadata) or not isinstance(info.type, inspect.StrType):
        return _scalar_rule(kind, info, is_optional=is_optional)
    extra = info.extra or {}
    matches = re.compile(info.type.pattern or "").search
    shortest, longest = info.type.min_length or 0, info.type.max_length or sys.maxsize
    has_fast_path: bool = extra.get(PLAIN, False)
    check: Callable[[str], str | None] = extra.get(CHECK, lambda _: None)

    def holds(value: Any) -> bool:
        if value is None:
            return is_optional
        if type(value) is not str or not shortest <= len(value) <= longest:
            return False
        if has_fast_path and value[:1] > " " and value.isascii() and value.isprintable():
            return True
        return matches(value) is not None and check(value) is None

    return holds


def _scalar_rule(kind: Any, info: inspect.Type, *, is_optional: bool) -> Holds:
    """The rule of a type that is no text: a fast test, then a decoder of JSON."""
    decodes = partial(_is_decodable, msgspec.json.Decoder(kind).decode)
    obeying = {_WITHOUT_LIMITS.get(type(info)), NoneType if is_optional else None}
    info = info.type if isinstance(info, inspect.Metadata) else info
    whole = range(0)
    if isinstance(info, inspect.IntType) and {info.gt, info.lt, info.multiple_of} == {None}:
        least, most = info.ge, info.le
        whole = range(0) if least is None or most is None else range(least, most + 1)
    return lambda value: (
        type(value) in obeying or (type(value) is int and value in whole) or decodes(value)
    )


def _is_among(allowed: frozenset[tuple[type, Any]], value: Any) -> bool:
    """Whether a value is one of a Literal; ``True`` is not 1, nor is 1.0."""
    return type(value) in {str, int, type(None)} and (type(value), value) in allowed


def _is_decodable(decode: Callable[[bytes], Any], value: Any) -> bool:
    try:
        decode(msgspec.json.encode(value))
    except (msgspec.ValidationError, TypeError, ValueError):
        return False
    return _unstorable(value) is None


def _unstorable(value: Any) -> str | None:
    """The fault of a number or a time in a value that its type allows, if any.

    JSON and comparisons have no infinite numbers, nor is NaN one; times are stored in UTC.
    """
    if type(value) in _STORABLE:
        return None
    if isinstance(value, float | Decimal):
        is_finite = value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)
        return None if is_finite else "must be a finite number"
    if isinstance(value, datetime):
        try:
            value.astimezone(UTC)
        except OverflowError:
            return "must be a time from the year 1 to 9999 in UTC"
        return None
    inner: Iterable[Any] = ()
    if isinstance(value, list):
        inner = value
    elif isinstance(value, dict):
        inner = value.values()
    elif isinstance(value, msgspec.Struct):
        inner = msgspec.structs.astuple(value)
    return next((fault for one in inner if (fault := _unstorable(one)) is not None), None)


USER: Final = Rules(_UserValues)
ROLE: Final = Rules(_RoleValues)
KEY: Final = Rules(_KeyValues)
