"""A shop: invoices with a unique number, and an action.

Serve it with ``eventapi serve --resources eventapi.examples.shop``.
"""

from datetime import date
from typing import Annotated

from msgspec import Meta, structs

from eventapi.resources import Clear, Refused, Resource, action


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
