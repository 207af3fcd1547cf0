"""What a mail looks like; names and addresses cannot add a header or a recipient."""

from __future__ import annotations

from typing import get_args

import pytest

from eventapi.mail.transport import Kind, MailRefused
from tests.eventapi.mail.writing import BASE, PATH, RECORD, composer, letter, parsed, part

KINDS = get_args(Kind)
HEADERS = {
    "From",
    "To",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "Subject",
    "MIME-Version",
    "Content-Type",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_mail_has_these_headers_and_two_parts(kind: Kind) -> None:
    mail = composer("Example <no-reply@example.org>").compose(letter(kind), RECORD)
    message = parsed(mail)
    assert set(message.keys()) == HEADERS
    assert message["From"] == "Example <no-reply@example.org>"
    assert message["To"] == mail.recipient == "ann@example.org"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime.isoformat() == "2026-01-01T00:00:01+00:00"
    assert mail.sender == "no-reply@example.org"
    assert message.get_content_type() == "multipart/alternative"
    link = BASE if kind == "email-changed" else f"{BASE}{PATH}"
    assert link in part(message, "plain").splitlines()
    assert f'href="{link}"' in part(message, "html")
    assert "ann" in part(message, "plain")
    assert "ann" in part(message, "html")
    # A link can be copied from the bytes, too.
    assert link.encode() in mail.content


@pytest.mark.parametrize("replaced", [False, True])
def test_the_old_address_is_sent_to_the_forgotten_password_only_while_it_counts(
    *, replaced: bool
) -> None:
    notice = letter("email-changed", replaced=replaced)
    message = parsed(composer().compose(notice, RECORD))
    for kind in ("plain", "html"):
        text = " ".join(part(message, kind).split())
        assert ("set a new password" in text) is not replaced
        assert ("no longer go to this one" in text) is replaced
        assert BASE in text
    lines = part(message, "plain").splitlines()
    assert BASE in lines
    assert ["", ""] not in [lines[at : at + 2] for at in range(len(lines))]


def test_a_repeated_mail_is_the_same_and_others_differ() -> None:
    first, again = (composer().compose(letter(), RECORD) for _ in range(2))
    assert first == again
    other = composer().compose(letter("email-changed"), RECORD)
    assert parsed(other)["Message-ID"] != parsed(first)["Message-ID"]
    assert parsed(first)["Message-ID"].startswith("<1.verification.")


BAD_ADDRESSES = [
    "ann@example.org\r\nBcc: eve@example.org",
    "ann@example.org\nBcc: eve@example.org",
    "ann@example.org, eve@example.org",
    "ann@example.org;eve@example.org",
    "Ann <ann@example.org>",
    "<ann@example.org>",
    "ann@example.org>",
    "ann example.org",
    "@example.org",
    "ann@",
    "",
    "ann@example.org\x00",
    "ann@example.org\u2028Bcc: eve@example.org",
    "ann@exa mple.org",
    "a\x7fn@example.org",
    "eve@example.org,ann@example.org",
    "ann@[127.0.0.1",
    "(comment)@example.org",
]


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_what_is_not_one_address_gets_no_mail(address: str) -> None:
    with pytest.raises(MailRefused) as caught:
        composer().compose(letter(recipient=address), RECORD)
    assert "example" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "header", "envelope"),
    [
        ("ann@bücher.example", "ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
        ("änn@example.org", "änn@example.org", "änn@example.org"),
        ('"a b"@example.org', None, None),
        ("ann+tag@example.org", "ann+tag@example.org", "ann+tag@example.org"),
        ("o'brien@example.org", "o'brien@example.org", "o'brien@example.org"),
    ],
)
def test_addresses_of_all_languages(address: str, header: str | None, envelope: str | None) -> None:
    if header is None:
        with pytest.raises(MailRefused):
            composer().compose(letter(recipient=address), RECORD)
        return
    mail = composer().compose(letter(recipient=address), RECORD)
    assert (str(parsed(mail)["To"]), mail.recipient) == (header, envelope)


@pytest.mark.parametrize(
    "name", ["ann\r\nBcc: eve@example.org", "<script>alert(1)</script>", "日本語", "a" * 5_000]
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_name_stays_a_name(kind: Kind, name: str) -> None:
    """An import takes texts as they are."""
    mail = composer().compose(letter(kind, username=name), RECORD)
    message = parsed(mail)
    assert set(message.keys()) == HEADERS
    assert message["To"] == "ann@example.org"
    assert name.replace("\r\n", "\n") in part(message, "plain")
    assert "<script>" not in part(message, "html")
    assert all(len(line) <= 998 for line in mail.content.split(b"\r\n"))


def test_a_sender_with_a_name_in_another_language() -> None:
    mail = composer("Bücher & Söhne <büro@bücher.example>").compose(letter(), RECORD)
    message = parsed(mail)
    assert str(message["From"]) == "Bücher & Söhne <büro@xn--bcher-kva.example>"
    assert message["Message-ID"].endswith("@xn--bcher-kva.example>")
