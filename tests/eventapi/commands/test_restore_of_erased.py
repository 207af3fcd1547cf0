"""Nothing of an erased user can be restored, whatever rights the caller has."""

from __future__ import annotations

import pytest

from eventapi.commands.command import Decision
from eventapi.commands.resources import Create, Delete, Restore
from eventapi.resources import Access, Resource
from eventapi.resources.registry import Registry
from eventapi.testing.given import at, registered
from events.errors import NotFound
from events.record import Event, Record
from events.vocabulary.users import UserErased, UserRoleGranted
from projections.state import State


class Contract(Resource):
    """A kind that auditors change."""

    access = Access(read="auditor", write="auditor")

    text: str


REGISTRY = Registry([Contract])
CONTRACT = REGISTRY.by_collection["contracts"]


def apply(state: State, subject: str, event: Event) -> None:
    position = state.position + 1
    state.apply(Record(position, "urn:x", subject, at(position), "operator/test", event))


def test_a_resource_of_an_erased_user_is_not_found() -> None:
    """Given a deleted resource, when its owner is erased, then no role restores it."""
    state = State.empty(REGISTRY.vocabulary)
    for happened in (registered(1, "ann"), registered(2, "bob")):
        apply(state, *happened)
    for user in (1, 2):
        apply(state, f"users/{user}", UserRoleGranted("auditor"))
    for command in (Create(CONTRACT, 1, {"text": "a"}), Delete(CONTRACT, 2, 1)):
        decision = command.decide(state)
        apply(state, decision.subject, decision.event)
    restore = Restore(CONTRACT, 2, 1, 5, {"text": "a"})
    assert isinstance(restore.decide(state), Decision), "the control: it can be restored before"
    apply(state, "users/1", UserErased())
    with pytest.raises(NotFound):
        restore.decide(state)
