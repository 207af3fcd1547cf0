"""Commands refuse values that break the rules; only imports and restorations may have them."""

from __future__ import annotations

from typing import Any, cast

import hypothesis
import pytest
from hypothesis import strategies as st
from msgspec.structs import replace

from eventapi.commands.command import Command
from eventapi.commands.users import GrantRole, RegisterUser, RevokeRole, UpdateProfile
from eventapi.testing import items
from eventapi.testing.given import at, created, given, profile, registered, state_of
from eventapi.testing.items import (
    Content,
    ItemCreated,
    ItemRestored,
    create_item,
    import_item,
    restore_item,
    update_item,
)
from eventapi.testing.strategies import commands
from eventapi.values.rules import USER as USER_RULES
from eventapi.values.rules import Rules
from events.errors import Fault, Invalid, Refusal
from events.vocabulary.users import Profile, Role, UserRegistered

ANN = registered(1, "ann")
ITEM = created(1, 1)
ODD_TEXTS = Content("", "\x00")

BAD_TITLES = {
    "empty": ("", "must not be empty"),
    "too long": ("x" * 201, "must have at most 200 characters"),
    "two lines": ("one\ntwo", "must be one line without control characters, and not blank"),
    "a control": ("a\x00", "must be one line without control characters, and not blank"),
    "an override": ("a\u202e", "must be one line without control characters, and not blank"),
    "invisible": ("\u200b", "must not be blank: it has no visible character; type a word"),
}
CONTROLS = "must have no control characters but tab, newline and carriage return"
BAD_DESCRIPTIONS = {
    "too long": ("x" * 5001, "must have at most 5000 characters"),
    "a control": ("a\x00", CONTROLS),
    "an override": ("a\u202e", CONTROLS),
}
ASCII_NAME = "must consist of ASCII letters, digits, `_`, `.` and `-`, and not begin with `-`"
BAD_USERNAMES = {
    "empty": ("", "must have at least 3 characters"),
    "too short": ("me", "must have at least 3 characters"),
    "too long": ("x" * 33, "must have at most 32 characters"),
    "a dash first": ("-ann", ASCII_NAME),
    "a space": ("a nn", ASCII_NAME),
    "a letter that is not ASCII": ("ännä", ASCII_NAME),
    "a newline at the end": ("ann\n", ASCII_NAME),
}
BAD_EMAILS = {
    "empty": ("", "must have at least 3 characters"),
    "too long": (f"{'x' * 64}@{'y' * 60}.{'z' * 60}.{'z' * 60}.example", "must have at most 254"),
    "no at sign": ("example.org", "An email address must have an @-sign."),
    "no dot": ("ann@localhost", "the domain needs a dot"),
}
ONE_LINE = "must be one line without control characters"
BAD_FULL_NAMES = {
    "too long": ("x" * 101, "must have at most 100 characters"),
    "two lines": ("Ann\nBob", ONE_LINE),
    "a control": ("\x1b[2J", ONE_LINE),
    "invisible": ("\u200b", "has no visible character; leave it out, or type a name"),
}


def only_fault(command: Command) -> Fault:
    """The one fault for which a command is refused."""
    refusal = given(ANN, ITEM).when(command).refused(Invalid)
    assert len(refusal.faults) == 1, refusal.faults
    return refusal.faults[0]


@pytest.mark.parametrize("case", BAD_TITLES)
def test_no_command_accepts_a_bad_title(case: str) -> None:
    title, detail = BAD_TITLES[case]
    for command in (create_item(1, Content(title)), update_item(1, 1, title=title)):
        fault = only_fault(command)
        assert (fault.pointer, fault.detail) == ("/title", detail)


@pytest.mark.parametrize("case", BAD_DESCRIPTIONS)
def test_no_command_accepts_a_bad_description(case: str) -> None:
    text, detail = BAD_DESCRIPTIONS[case]
    for command in (create_item(1, Content("Milk", text)), update_item(1, 1, description=text)):
        fault = only_fault(command)
        assert (fault.pointer, fault.detail) == ("/description", detail)


@pytest.mark.parametrize("case", BAD_USERNAMES)
def test_registration_refuses_a_bad_username(case: str) -> None:
    username, detail = BAD_USERNAMES[case]
    fault = only_fault(RegisterUser(replace(profile("bob"), username=username)))
    assert (fault.pointer, fault.detail) == ("/username", detail)


@pytest.mark.parametrize("case", BAD_EMAILS)
def test_no_command_accepts_a_bad_email_address(case: str) -> None:
    email, detail = BAD_EMAILS[case]
    new = replace(profile("bob"), email=email)
    for command in (RegisterUser(new), UpdateProfile(1, email=email)):
        fault = only_fault(command)
        assert fault.pointer == "/email"
        assert fault.detail.startswith(detail)


@pytest.mark.parametrize("case", BAD_FULL_NAMES)
def test_no_command_accepts_a_bad_full_name(case: str) -> None:
    full_name, detail = BAD_FULL_NAMES[case]
    new = replace(profile("bob"), full_name=full_name)
    for command in (RegisterUser(new), UpdateProfile(1, full_name=full_name)):
        fault = only_fault(command)
        assert (fault.pointer, fault.detail) == ("/full_name", detail)


@pytest.mark.parametrize("command", [GrantRole, RevokeRole])
def test_an_unknown_role_is_refused(command: type[GrantRole | RevokeRole]) -> None:
    fault = only_fault(command("ann", cast("Role", "root"), "operator/root"))
    assert (fault.pointer, fault.detail) == ("/role", "must be auditor or operator")


def test_a_refusal_reports_every_fault_of_a_command() -> None:
    bad = Profile("-", "nowhere", "hash", "\x00")
    refusal = given(ANN).when(RegisterUser(bad)).refused(Invalid)
    assert [one.pointer for one in refusal.faults] == ["/username", "/email", "/full_name"]
    refusal = given(ANN).when(create_item(1, ODD_TEXTS)).refused(Invalid)
    assert [one.pointer for one in refusal.faults] == ["/title", "/description"]


def test_an_import_keeps_texts_that_break_the_rules() -> None:
    old = Profile("x", "", "hash", "\x00")
    event = UserRegistered(personal=old)
    given().when(RegisterUser(old, "operator/root", imported=True)).then("users/1", event)
    item = import_item("ann", ODD_TEXTS, at(-9), number=7, above=7, actor="operator/root")
    event_of_item = ItemCreated(1, created_at=at(-9), personal=ODD_TEXTS)
    given(ANN).when(item).then("items/7", event_of_item)


def test_a_restoration_brings_imported_texts_back() -> None:
    """Its content is from the log, and not typed."""
    event = ItemRestored(2, personal=ODD_TEXTS)
    given(ANN, ITEM).when(restore_item(1, 1, 2, ODD_TEXTS)).then("items/1", event)


lengths = st.sampled_from([0, 1, 2, 3, 32, 33, 100, 101, 200, 201, 254, 255, 5000, 5001])
texts = st.one_of(
    st.text(max_size=4),
    st.text(st.characters(max_codepoint=127), max_size=9),
    st.builds(str.__mul__, st.sampled_from("aä\n\u200b "), lengths),
)


def faults_found(rules: Rules, values: dict[str, Any]) -> list[Fault]:
    """The faults for which the check of a command refuses these values."""
    try:
        rules.check(**values)
    except Invalid as refusal:
        return list(refusal.faults)
    return []


@hypothesis.given(
    st.dictionaries(st.sampled_from(["title", "description"]), texts),
    st.dictionaries(st.sampled_from(["username", "email", "full_name"]), texts),
)
def test_commands_and_requests_report_the_same_faults(
    item: dict[str, Any], user: dict[str, Any]
) -> None:
    for rules, values in ((items.ITEM.rules, item), (USER_RULES, user)):
        assert faults_found(rules, values) == rules.faults(values)


@hypothesis.given(commands)
def test_generated_commands_keep_the_rules(command: Command) -> None:
    """Otherwise the laws of deciding would be tested with refusals alone."""
    try:
        command.decide(state_of(ANN, ITEM))
    except Invalid as refusal:
        pytest.fail(str(refusal))
    except Refusal:
        pass
