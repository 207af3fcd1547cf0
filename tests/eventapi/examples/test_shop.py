"""The shop: its rules without a server, and its invoices over HTTP."""

from __future__ import annotations

import json

import pytest
from hypothesis import given as for_all

from eventapi.examples.shop import Invoice
from eventapi.resources import Refused
from eventapi.testing import act, acted, create, created, given, registered
from eventapi.testing.plugin import StartServer
from eventapi.testing.strategies import resources
from events.errors import NotFound, NotUnique

ANN, BEN = registered(1, "ann"), registered(2, "ben")
INVOICE = created(Invoice(number="A-1", customer="Ben", cents=995), 1, owner=1)
PAID = acted(Invoice, 1, "pay", paid=True)


def test_an_invoice_can_be_paid() -> None:
    given(ANN, INVOICE).when(act(Invoice, 1, "pay", caller=1)).then(PAID)


def test_an_invoice_cannot_be_paid_twice() -> None:
    refusal = given(ANN, INVOICE, PAID).when(act(Invoice, 1, "pay", caller=1)).refused(Refused)
    assert str(refusal) == "the invoice is already paid"


def test_other_users_do_not_see_the_invoice() -> None:
    given(ANN, BEN, INVOICE).when(act(Invoice, 1, "pay", caller=2)).refused(NotFound)


def test_a_number_is_unique_for_its_owner() -> None:
    other = Invoice(number="A-1", customer="Eve", cents=1)
    given(ANN, INVOICE).when(create(other, caller=1)).refused(NotUnique)
    given(ANN, BEN, INVOICE).when(create(other, caller=2)).then(created(other, 2, owner=2))


@for_all(resources(Invoice))
def test_every_valid_invoice_can_be_created(invoice: Invoice) -> None:
    given(ANN).when(create(invoice, caller=1)).then(created(invoice, 1, owner=1))


@pytest.mark.long
def test_a_real_server_serves_invoices(eventapi_server: StartServer) -> None:
    server = eventapi_server("eventapi.examples.shop")
    ann, ben = server.user("ann"), server.user("ben")

    made = ann.post("invoices", json={"number": "A-1", "customer": "Ben", "cents": 995})
    assert (made.status_code, made.json()["id"], made.json()["paid"]) == (201, 1, False)
    assert ann.post("invoices/1/pay").json()["paid"] is True
    again = ann.post("invoices/1/pay")
    assert (again.status_code, again.json()["detail"]) == (409, "the invoice is already paid")
    assert again.json()["type"] == "/problems/action-refused"
    same = ann.post("invoices", json={"number": "A-1", "customer": "Eve", "cents": 1})
    assert same.json()["type"] == "/problems/not-unique"
    assert ben.get("invoices/1").status_code == 404

    last = json.loads(server.command("log", "tail", "-n", "1"))
    assert (last["type"], last["subject"], last["data"]["clear"]) == (
        "invoice.pay",
        "invoices/1",
        {"paid": True},
    )
    server.stop()
    server.start()
    assert server.login("ann").get("invoices/1").json()["paid"] is True


@pytest.mark.long
def test_the_lists_of_a_real_server_take_the_parameters_of_the_guide(
    eventapi_server: StartServer,
) -> None:
    """Each row of the table in docs/resources.md finds its invoices."""
    ann = eventapi_server("eventapi.examples.shop").user("ann")
    for body in (
        {"number": "A-1", "customer": "Ben", "cents": 995, "due": "2026-12-24"},
        {"number": "A-2", "customer": "Eve", "cents": 500},
        {"number": "B-1", "customer": "Benno", "cents": 5},
    ):
        assert ann.post("invoices", json=body).status_code == 201

    def numbers(query: str) -> list[str]:
        return [one["number"] for one in ann.get(f"invoices?{query}").json()["items"]]

    assert numbers("customer=Ben") == ["A-1"]
    assert numbers("cents.gt=500") == ["A-1"]
    assert numbers("number.in=A-1,A-2") == ["A-1", "A-2"]
    assert numbers("customer.contains=en") == ["A-1", "B-1"]
    assert numbers("customer.prefix=B") == ["A-1", "B-1"]
    assert numbers("due.null=true") == ["A-2", "B-1"]
    assert numbers("q=ben") == ["A-1", "B-1"]
    assert numbers("sort=-cents,id") == ["A-1", "A-2", "B-1"]
    assert ann.get("invoices?fields=number&limit=1").json()["items"] == [{"number": "A-1"}]
    page = ann.get("invoices?count=true&limit=2").json()
    assert page["count"] == 3
    assert [one["number"] for one in ann.get(page["next"]).json()["items"]] == ["B-1"]
    wrong = ann.get("invoices?colour=red")
    assert (wrong.status_code, "colour" in wrong.text) == (422, True)
