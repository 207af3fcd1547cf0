"""Secrets among personal values: which values they are, and that outputs leave them out."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest

from events.record import Personal
from events.vocabulary.users import SECRETS, without_secrets
from events.vocabulary.vocabulary import CORE

SHOWN = {"address", "email", "full_name", "name", "previous", "user_agent", "username"}
"""Personal values that a user may see."""

PERSONAL = {
    kind: event
    for event in CORE
    for kind in get_args(get_type_hints(event).get("personal"))
    if isinstance(kind, type) and issubclass(kind, Personal)
}
"""The Structs of personal values, each with the type of an event that has it."""


def test_every_personal_value_of_an_account_is_either_secret_or_shown() -> None:
    """A new value needs a decision."""
    found = {name for kind in PERSONAL for name in kind.__struct_fields__}

    assert found == SHOWN | SECRETS
    assert not SHOWN & SECRETS
    assert len(PERSONAL) > 8


@pytest.mark.parametrize("kind", PERSONAL, ids=lambda kind: str(kind.__name__))
def test_an_output_of_an_event_has_no_secret(kind: type[Personal]) -> None:
    values = dict.fromkeys(kind.__struct_fields__, "value")

    assert without_secrets(PERSONAL[kind].type, values).keys() == values.keys() - SECRETS


def test_a_field_of_a_resource_may_have_the_name_of_a_secret() -> None:
    values = dict.fromkeys(SECRETS, "typed by the owner")

    assert without_secrets("account.created", values) == values
