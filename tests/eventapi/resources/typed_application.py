"""An application as a user writes it; the type checker accepts it in strict mode."""

from datetime import date
from typing import Annotated, Any

from msgspec import Meta, structs

from eventapi.resources import Access, Clear, Global, Refused, Resource, action


class Invoice(Resource):
    """What a customer owes."""

    collection = "invoices"
    unique = ("number",)

    number: Annotated[str, Meta(pattern=r"^[A-Z0-9-]{1,20}$")]
    customer: Annotated[str, Meta(min_length=1, max_length=200)]
    cents: Clear[Annotated[int, Meta(ge=0)]]
    due: date | None = None
    paid: Clear[bool] = False

    @action
    def pay(self) -> "Invoice":
        """Mark the invoice as paid."""
        if self.paid:
            raise Refused("the invoice is already paid")
        return structs.replace(self, paid=True)

    @action
    def remind(self, *, text: str, days: int = 7) -> "Invoice":
        """Send a reminder."""
        return self


class Product(Resource):
    """What the shop sells."""

    unique = (Global("name"), ("name", "price"))
    access = Access(read="public", write="seller")
    shareable = True
    renamed = {"title": "name"}  # noqa: RUF012 - as an application writes it

    name: str
    price: Clear[int]

    @staticmethod
    def upcast(values: dict[str, Any]) -> dict[str, Any]:
        """Prices once were texts."""
        if isinstance(values.get("price"), str):
            values["price"] = int(values["price"])
        return values


class Note(Resource):
    """A required field may follow an optional one."""

    color: str = "white"
    text: str


def open_cents(invoices: list[Invoice]) -> int:
    """Fields have their own types, and the constructor takes them by name."""
    invoice = Invoice(number="A-1", customer="Ann", cents=100)
    return invoice.cents + sum(one.cents for one in invoices if not one.paid)
