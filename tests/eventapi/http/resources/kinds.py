"""Declared resources that the tests of this folder share."""

# ruff: noqa: RUF012 - a Struct copies its default values

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import sys
import uuid
from decimal import Decimal
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, structs

from eventapi.resources import Clear, Refused, Resource, action
from eventapi.resources.declaration import Access, Global
from eventapi.resources.registry import Registry


class Color(enum.Enum):
    """A color."""

    RED = "red"
    BLUE = "blue"


class Place(msgspec.Struct, frozen=True):
    """Where something is."""

    town: Annotated[str, Meta(min_length=1)]


class Sample(Resource):
    """One field of each type."""

    text: str
    flag: bool
    whole: int
    real: float
    money: Decimal
    day: dt.date
    moment: dt.datetime
    key: uuid.UUID
    color: Color
    size: Literal["s", "m", "l"]
    maybe_text: str | None = None
    maybe_whole: int | None = None
    maybe_day: dt.date | None = None
    words: list[str] = []
    limit: int = 0
    sort: str = ""
    q: bool = False
    place: Place | None = None


class Invoice(Resource):
    """What a customer owes."""

    unique = ("number",)

    number: Annotated[str, Meta(pattern=r"^[A-Z0-9-]{1,20}$")]
    customer: Annotated[str, Meta(min_length=1, max_length=200)] = "Ann & Co"
    cents: Clear[Annotated[int, Meta(ge=0, le=1_000_000)]] = 0
    due: dt.date | None = None
    paid: Clear[bool] = False
    rate: float = 0.0
    tags: list[str] = []

    @action
    def pay(self) -> Invoice:
        """Mark the invoice as paid.

        It cannot be paid twice.
        """
        if self.paid:
            raise Refused("the invoice is already paid")
        return structs.replace(self, paid=True)

    @action
    def hesitate(self, *, reason: str = "") -> Invoice:
        """Refuse with a reason or without."""
        raise Refused(reason) if reason else Refused

    @action
    def charge(self, *, cents: Annotated[int, Meta(ge=1)], reason: str = "none") -> Invoice:
        """Add to what is owed."""
        return structs.replace(self, cents=self.cents + cents)

    @action
    def renumber(self, *, number: str) -> Invoice:
        """Give the invoice another number."""
        return structs.replace(self, number=number)

    @action
    def become_a_color(self) -> Invoice:
        """Return another class, which is a mistake."""
        return Color.RED  # type: ignore[return-value]  # the mistake

    @action
    def divide(self) -> Invoice:
        """Raise an error that is no refusal."""
        return structs.replace(self, cents=self.cents // 0)

    @action
    def leave(self) -> Invoice:
        """End the process, which is a mistake."""
        sys.exit(5)

    @action
    def cancel(self) -> Invoice:
        """Cancel the task that runs the action, which is a mistake."""
        raise asyncio.CancelledError

    @action
    def keep_an_object(self) -> Invoice:
        """Set a value that JSON does not have."""
        return structs.replace(self, customer=object())

    @action
    def keep_infinity(self) -> Invoice:
        """Set a number that JSON does not have."""
        return structs.replace(self, rate=float("inf"))

    @action
    def rename_a_class(self) -> Invoice:
        """Set a value of another type."""
        return structs.replace(self, customer=5)

    @action
    def tag_in_place(self, *, tag: str) -> Invoice:
        """Change a list in place, which is a mistake."""
        self.tags.append(tag)
        return self


class Diary(Resource):
    """Only its owner reads it."""

    collection = "diaries"
    text: str


class Notice(Resource):
    """Every user reads it."""

    access = Access(read="users")
    text: str


class Post(Resource):
    """Everybody reads it."""

    access = Access(read="public")
    text: str


class Payslip(Resource):
    """The role `clerk` reads it."""

    access = Access(read="clerk")
    text: str


class Order(Resource):
    """The role `boss` writes it."""

    access = Access(read="users", write="boss")
    text: str


class Secret(Resource):
    """The role `boss` writes it, and cannot read what others own."""

    access = Access(write="boss")
    text: str


class Plan(Resource):
    """Its owner shares it."""

    shareable = True
    text: str

    @action
    def shout(self) -> Plan:
        """Write it in capitals."""
        return structs.replace(self, text=self.text.upper())


class Passport(Resource):
    """Its code is unique among all owners."""

    unique = (Global("code"),)
    code: str


SAMPLES: Final = Registry([Sample])
INVOICES: Final = Registry([Invoice, Passport])
KINDS: Final = Registry([Diary, Notice, Post, Payslip, Order, Secret, Plan])
