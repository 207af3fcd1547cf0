"""The kinds of a small shop, for tests of batches and of import and export."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct, structs

from eventapi.resources import Clear, Global, Refused, Resource, action


class Invoice(Resource):
    """What a customer owes."""

    unique = ("number", Global("barcode"))
    shareable = True

    number: Annotated[str, Meta(pattern=r"^[A-Z0-9-]{1,20}$")]
    cents: Clear[Annotated[int, Meta(ge=0)]]
    note: str | None = None
    barcode: str | None = None
    due: date | None = None
    paid: Clear[bool] = False

    @action
    def pay(self, *, note: str = "paid") -> Invoice:
        """Mark the invoice as paid."""
        if self.paid:
            raise Refused("the invoice is already paid")
        return structs.replace(self, paid=True, note=note)


class Tax(Struct, frozen=True):
    """A nested value."""

    name: str
    rate: float


class Line(Resource):
    """A line of an invoice, with most types of fields."""

    invoice: int
    text: str = ""
    price: Decimal = Decimal(0)
    count: int | None = None
    unit: Literal["piece", "hour"] = "piece"
    ratio: float = 1.0
    others: list[int] = []  # noqa: RUF012 - msgspec copies it
    taxes: list[Tax] = []  # noqa: RUF012 - msgspec copies it
    mixed: int | bool | str | None = None
