"""Ten declared kinds of one shape, for `benchmarks.growth`; users read all announcements."""

from datetime import date
from typing import Annotated

from msgspec import Meta

from eventapi.resources import Access, Clear, Resource


class Note(Resource):
    """A note; the other kinds have the same fields."""

    title: Annotated[str, Meta(min_length=1, max_length=200)]
    text: Annotated[str, Meta(max_length=5_000)] | None = None
    due: date | None = None
    cents: Clear[Annotated[int, Meta(ge=0)]] = 0


class Announcement(Note):
    """A text that every user may read."""

    access = Access(read="users")


class Customer(Note):
    """A kind without rules of its own."""


class Contract(Note):
    """As `Customer`."""


class Invoice(Note):
    """As `Customer`."""


class Order(Note):
    """As `Customer`."""


class Payment(Note):
    """As `Customer`."""


class Product(Note):
    """As `Customer`."""


class Shipment(Note):
    """As `Customer`."""


class Visit(Note):
    """As `Customer`."""
