"""A ledger: bookings that every user can read, and their balances.

Only users with the role ``operator`` may book. Serve it with
``eventapi serve --resources eventapi.examples.ledger``, and read
``GET /api/v2/projections/balances?account=cash``.
"""

from typing import Annotated

from msgspec import Meta, Struct

from eventapi.resources import Access, Caller, Clear, Projection, PublicEvent, Resource

Account = Annotated[str, Meta(pattern=r"^[a-z]{1,20}$")]


class Booking(Resource):
    """An amount that moves from one account to another."""

    access = Access(read="users", write="operator")

    source: Clear[Account]
    target: Clear[Account]
    cents: Clear[Annotated[int, Meta(gt=0)]]
    note: str = ""


class Movement(Struct):
    """The clear values of one booking."""

    source: str
    target: str
    cents: int


class Books(Struct):
    """All bookings that exist, by subject, and the balance of each account."""

    bookings: dict[str, Movement] = {}
    balances: dict[str, int] = {}


class Balances(Projection):
    """The balance of an account in cents.

    It needs no key, so it stays right when a user who booked is erased. An erasure deletes the
    user's bookings, but the money has moved.
    """

    state = Books()

    def apply(self, event: PublicEvent) -> None:
        """Book what an event sets, after taking back what it replaces."""
        if not event.type.startswith("booking."):
            return
        before = self.state.bookings.get(event.subject)
        if event.type == "booking.deleted":
            self._move(event.subject, None)
        elif event.type in {"booking.created", "booking.restored"}:
            self._move(event.subject, Movement(**event.clear))
        elif before is not None:
            values = {name: getattr(before, name) for name in before.__struct_fields__}
            self._move(event.subject, Movement(**{**values, **event.clear}))

    def query(self, caller: Caller, *, account: Account) -> int:
        """Answer 0 for an account without bookings."""
        return self.state.balances.get(account, 0)

    def _move(self, subject: str, now: Movement | None) -> None:
        balances = self.state.balances
        for movement, sign in ((self.state.bookings.pop(subject, None), -1), (now, 1)):
            if movement is not None:
                source, target = movement.source, movement.target
                balances[source] = balances.get(source, 0) - sign * movement.cents
                balances[target] = balances.get(target, 0) + sign * movement.cents
        if now is not None:
            self.state.bookings[subject] = now
