"""Templates of an operator replace those of the package; a bad one is refused at start."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventapi.mail.texts import Templates
from events.errors import ConfigurationError
from tests.eventapi.mail.writing import RECORD, composer, letter, parsed, part

GOOD = "Subject: Welcome {{ username }}\n\nOpen {{ link }}\n"


def test_a_template_replaces_that_of_the_package(tmp_path: Path) -> None:
    (tmp_path / "verification.txt").write_text(GOOD)
    made = composer(templates=Templates(tmp_path))
    message = parsed(made.compose(letter(), RECORD))
    assert message["Subject"] == "Welcome ann"
    assert part(message, "plain").startswith("Open https://")
    assert "Confirm" in part(message, "html")
    assert parsed(made.compose(letter("password-reset"), RECORD))["Subject"] == "Set a new password"


@pytest.mark.parametrize("replaced", [False, True])
def test_an_earlier_template_of_a_changed_address_works(tmp_path: Path, *, replaced: bool) -> None:
    """It has one text for all cases, and no link."""
    (tmp_path / "email-changed.txt").write_text(
        "Subject: Changed\n\nOn {{ date }}, {{ username }}.\n"
    )
    made = composer(templates=Templates(tmp_path))
    message = parsed(made.compose(letter("email-changed", replaced=replaced), RECORD))
    assert part(message, "plain") == "On 2026-01-01, ann.\n"


def test_a_name_in_a_subject_adds_no_header(tmp_path: Path) -> None:
    (tmp_path / "verification.txt").write_text(GOOD)
    made = composer(templates=Templates(tmp_path))
    name = "ann\x0b\rBcc: eve@example.org\u2028X"
    message = parsed(made.compose(letter(username=name), RECORD))
    assert message["Subject"] == "Welcome ann Bcc: eve@example.org X"
    assert message["Bcc"] is None


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("verification.txt", "Hello {{ link }}", "Subject"),
        ("verification.txt", "Subject: \n\n{{ link }}", "Subject"),
        ("verification.txt", "Subject: a\n{{ link }}", "Subject"),
        ("verification.txt", "Subject: a\n\nno link", "link"),
        ("password-reset.txt", "Subject: a\n\nno link", "link"),
        ("verification.txt", "Subject: a\n\n{{ link }}{{ unknown }}", "unknown"),
        ("verification.html", "\n{{ link", "line 2"),
        ("email-changed.html", "{% if %}", "email-changed.html, line 1"),
        ("email-changed.txt", "Subject: a\n\n{{ 1 / 0 }}", "division"),
        ("email-changed.txt", "Subject: a\n\n{% if replaced %}{{ 1 / 0 }}{% endif %}", "division"),
        ("email-changed.txt", "Subject: a\n\n{{ username.missing.part }}", "missing"),
    ],
)
def test_a_bad_template_is_refused_with_one_line(
    tmp_path: Path, name: str, content: str, reason: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        Templates(tmp_path)
    text = str(caught.value)
    assert text.startswith("EVENTAPI_MAIL_TEMPLATES: ")
    assert reason in text
    assert "\n" not in text


def test_a_template_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "verification.txt").write_bytes(b"Subject: \xff\n\n{{ link }}")
    with pytest.raises(ConfigurationError, match="EVENTAPI_MAIL_TEMPLATES"):
        Templates(tmp_path)


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a directory"):
        Templates(tmp_path / "missing")
