"""The ledger: bookings by operators alone, and balances that an erasure leaves."""

from __future__ import annotations

import httpx
import pytest

from eventapi.examples.ledger import Booking
from eventapi.testing import create, created, given, registered
from eventapi.testing.plugin import PASSWORD, StartServer
from events.errors import Forbidden
from events.vocabulary.users import UserRoleGranted

ANN = registered(1, "ann")
OPERATOR = ("users/1", UserRoleGranted("operator"))
BOOKING = Booking(source="cash", target="rent", cents=80_000)


def test_only_operators_book() -> None:
    given(ANN).when(create(BOOKING, caller=1)).refused(Forbidden)
    given(ANN, OPERATOR).when(create(BOOKING, caller=1)).then(created(BOOKING, 1, owner=1))


@pytest.mark.long
def test_a_real_server_serves_balances(eventapi_server: StartServer) -> None:
    server = eventapi_server("eventapi.examples.ledger")
    server.register("ann")
    server.command("users", "grant", "ann", "operator")
    ann, ben = server.login("ann"), server.user("ben")

    def balance(reader: httpx.Client, account: str, **query: str) -> object:
        return reader.get("projections/balances", params={"account": account, **query}).json()

    body = {"source": "cash", "target": "rent", "cents": 80_000}
    first = ann.post("bookings", json=body)
    assert first.status_code == 201
    assert ben.post("bookings", json=body).status_code == 403
    assert ben.get("bookings/1").json()["cents"] == 80_000
    assert balance(ben, "rent") == 80_000
    assert ann.patch("bookings/1", json={"cents": 70_000}).status_code == 200
    assert (balance(ben, "rent"), balance(ben, "cash")) == (70_000, -70_000)
    position = first.headers["Event-Position"]
    assert balance(ben, "rent", as_of=position) == 80_000

    server.command("users", "grant", "ben", "operator")  # The last operator cannot leave.
    erased = ann.request("DELETE", "auth/me", json={"password": PASSWORD})
    assert erased.status_code == 204
    assert ben.get("bookings/1").status_code == 404
    assert balance(ben, "rent") == 70_000
