"""Which event makes which mail: given events, when the last one is handled, then these mails."""

from __future__ import annotations

from typing import Final

import pytest

from eventapi.accounts.links import VERIFICATION_SECONDS, reset_link, verified_email
from eventapi.commands.mailed_links import RESET_SECONDS
from eventapi.mail.letters import MAILED, Letter, letters_of
from eventapi.security.signed_texts import SignedTexts
from eventapi.testing.given import (
    SOURCE,
    Happened,
    at,
    created,
    folded_records,
    profile,
    records_of,
    registered,
    started,
)
from eventapi.values.times import seconds_of
from events.record import Event
from events.vocabulary.users import (
    EmailChange,
    PasswordHash,
    UserDisabled,
    UserEmailChanged,
    UserEmailVerificationRequested,
    UserEmailVerified,
    UserEnabled,
    UserErased,
    UserPasswordChanged,
    UserPasswordReset,
    UserPasswordResetRequested,
    UserRegistered,
    UserRoleGranted,
    UserUpdated,
    VerifiedEmail,
)

ANN: Final = registered(1, "ann")
MAIL, OTHER = "ann@example.org", "other@example.org"
TEXTS: Final = SignedTexts(["a secret key for tests: 0123456789abcdef"])


def of_ann(event: Event) -> Happened:
    return "users/1", event


def changed(email: str = OTHER, previous: str = MAIL, *, counts: bool = False) -> Happened:
    return of_ann(UserEmailChanged(counts, personal=EmailChange(email, previous)))


def verified(email: str = MAIL) -> Happened:
    return of_ann(UserEmailVerified(personal=VerifiedEmail(email)))


def requested(delivery: str = "mail", second: int = RESET_SECONDS) -> Happened:
    return of_ann(UserPasswordResetRequested(at(second), delivery))  # type: ignore[arg-type]


ASKED_AGAIN: Final = of_ann(UserEmailVerificationRequested())
NEW_PASSWORD: Final = of_ann(UserPasswordChanged("changed", personal=PasswordHash("another")))


def letters(*happened: Happened, about: int, second: int = 10) -> list[Letter]:
    """The mails of the event at position ``about``, after all of these."""
    records = records_of(happened)
    state = folded_records(records)
    return [*letters_of(records[about - 1], state, TEXTS, seconds_of(at(second)))]


def sent(*happened: Happened, about: int, second: int = 10) -> list[tuple[str, str]]:
    """Kind and recipient of these mails."""
    return [(one.kind, one.recipient) for one in letters(*happened, about=about, second=second)]


VERIFY, VERIFY_OTHER = ("verification", MAIL), ("verification", OTHER)
NOTICE, RESET = ("email-changed", MAIL), ("password-reset", MAIL)

CASES: Final = {
    "a new user verifies the address": ([ANN], 1, [VERIFY]),
    "an imported user is not bothered": (
        [of_ann(UserRegistered(at(0), personal=profile("ann")))],
        1,
        [],
    ),
    "an address that was verified meanwhile": ([ANN, verified()], 1, []),
    "an address that was replaced meanwhile": (
        [ANN, changed(counts=True)],
        1,
        [],
    ),
    "the first address still counts until another one is verified": ([ANN, changed()], 1, [VERIFY]),
    "a changed address: verify the new one, inform the old one": (
        [ANN, changed()],
        2,
        [VERIFY_OTHER, NOTICE],
    ),
    "an operator changed it": ([ANN, changed(counts=True)], 2, [VERIFY_OTHER, NOTICE]),
    "the new address was verified meanwhile": ([ANN, changed(), verified(OTHER)], 2, [NOTICE]),
    "the new address was replaced meanwhile": (
        [ANN, changed(), changed("third@example.org")],
        2,
        [NOTICE],
    ),
    "the change was taken back": ([ANN, verified(), changed(), changed(MAIL, OTHER)], 3, [NOTICE]),
    "the same address in other letters": (
        [ANN, changed("ANN@example.org")],
        2,
        [("verification", "ANN@example.org")],
    ),
    "there was no address before": ([ANN, changed(previous="")], 2, [VERIFY_OTHER]),
    "another link for the address": ([ANN, ASKED_AGAIN], 2, [VERIFY]),
    "another link for the new address": ([ANN, changed(), ASKED_AGAIN], 3, [VERIFY_OTHER]),
    "another link, but the address was verified": ([ANN, ASKED_AGAIN, verified()], 2, []),
    "a new password": ([ANN, requested()], 2, [RESET]),
    "a new password goes to the address that counts": ([ANN, changed(), requested()], 3, [RESET]),
    "a link for the operator is not mailed": ([ANN, requested("link")], 2, []),
    "the password was changed meanwhile": ([ANN, requested(), NEW_PASSWORD], 2, []),
    "the link was used meanwhile": (
        [ANN, requested(), of_ann(UserPasswordReset(2, personal=PasswordHash("x")))],
        2,
        [],
    ),
    "the same password under another hash": (
        [ANN, requested(), of_ann(UserPasswordChanged("rehashed", personal=PasswordHash("x")))],
        2,
        [RESET],
    ),
    "a second request": ([ANN, requested(), requested()], 2, [RESET]),
    "enabled again": (
        [ANN, requested(), of_ann(UserDisabled()), of_ann(UserEnabled())],
        2,
        [RESET],
    ),
    "a profile is no reason": ([ANN, of_ann(UserUpdated())], 2, []),
    "a role is no reason": ([ANN, of_ann(UserRoleGranted("auditor"))], 2, []),
    "a session is no reason": ([ANN, started("a", 1)], 2, []),
    "an item is no reason": ([ANN, created(1, 1)], 2, []),
}


@pytest.mark.parametrize("case", CASES)
def test_mails_of(case: str) -> None:
    happened, about, expected = CASES[case]
    assert sent(*happened, about=about) == expected


MAKES_MAIL: Final = [
    ([ANN], 1),
    ([ANN, changed()], 2),
    ([ANN, ASKED_AGAIN], 2),
    ([ANN, requested()], 2),
]


@pytest.mark.parametrize(("happened", "about"), MAKES_MAIL)
@pytest.mark.parametrize("end", [UserErased(), UserDisabled()])
def test_erased_and_disabled_users_get_no_mail(
    happened: list[Happened], about: int, end: Event
) -> None:
    assert sent(*happened, about=about)
    assert not sent(*happened, of_ann(end), about=about)


@pytest.mark.parametrize(("happened", "about"), MAKES_MAIL)
def test_an_event_whose_key_is_destroyed_makes_no_mail(
    happened: list[Happened], about: int
) -> None:
    """The erasure itself may not be in the state yet."""
    records = records_of(happened)
    state = folded_records(records)
    event = records[about - 1].event
    if isinstance(event, UserRegistered | UserEmailChanged):
        sealed = type(event)(personal="c2VhbGVk")
        record = records_of([*happened[: about - 1], of_ann(sealed)])[about - 1]
        assert not letters_of(record, state, TEXTS, seconds_of(at(10)))


@pytest.mark.parametrize(
    ("happened", "about", "lasts"),
    [
        ([ANN], 1, 1 + VERIFICATION_SECONDS),
        ([ANN, ASKED_AGAIN], 2, 2 + VERIFICATION_SECONDS),
        ([ANN, requested()], 2, RESET_SECONDS),
    ],
)
def test_no_link_is_sent_that_has_expired(happened: list[Happened], about: int, lasts: int) -> None:
    assert sent(*happened, about=about, second=lasts - 1)
    assert not sent(*happened, about=about, second=lasts)


def test_the_notice_is_sent_even_after_days() -> None:
    assert sent(ANN, changed(), about=2, second=9 * 86_400) == [NOTICE]


@pytest.mark.parametrize(
    ("happened", "replaced"),
    [
        ([ANN, changed()], False),
        ([ANN, changed(counts=True)], True),
        ([ANN, changed(), verified(OTHER)], True),
        ([ANN, changed(), changed("third@example.org")], False),
        ([ANN, changed(), changed("third@example.org", counts=True)], True),
        ([ANN, changed(counts=True), changed(MAIL, OTHER, counts=True)], False),
    ],
    ids=[
        "pending",
        "by an operator",
        "verified",
        "changed again",
        "then by an operator",
        "and back",
    ],
)
def test_the_notice_says_whether_the_old_address_still_counts(
    happened: list[Happened], *, replaced: bool
) -> None:
    """Only then a link for a new password would go there."""
    (notice,) = [one for one in letters(*happened, about=2) if one.kind == "email-changed"]
    assert (notice.recipient, notice.replaced) == (MAIL, replaced)


def test_links_have_the_tokens_that_the_server_accepts() -> None:
    happened = [ANN, changed(), requested()]
    state = folded_records(records_of(happened))
    (reset,) = letters(*happened, about=3)
    path, _, token = reset.path.partition("?token=")
    link = reset_link(TEXTS, SOURCE, state.users.by_id, token)
    assert path == "/reset-password"
    assert link is not None
    assert (link.user, link.request, link.mailed_to) == (1, 3, MAIL)
    assert link.expires == seconds_of(at(RESET_SECONDS))
    verification, notice = letters(*happened, about=2)
    path, _, token = verification.path.partition("?token=")
    found = verified_email(TEXTS, state, token, seconds_of(at(20)))
    assert path == "/verify-email"
    assert found is not None
    assert (found[0].id, found[1]) == (1, OTHER)
    assert not notice.path


def test_every_event_with_mail_is_listed() -> None:
    assert {
        "user.registered",
        "user.email_changed",
        "user.email_verification_requested",
        "user.password_reset_requested",
    } == MAILED
