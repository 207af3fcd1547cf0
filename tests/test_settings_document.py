"""``docs/settings.md`` has a complete row for each setting."""

from __future__ import annotations

import re

import pytest

from eventapi.configuration.load import load
from eventapi.configuration.settings import setting_descriptions
from tests.settings_document import DOCUMENT, with_table


def test_the_table_matches_the_settings() -> None:
    """If this fails, run ``python -m tests.settings_document``."""
    text = DOCUMENT.read_text()
    assert text == with_table(text)
    rows = re.findall(r"^\| `EVENTAPI_(\w+)` \|", text, re.MULTILINE)
    assert rows == list(setting_descriptions())


@pytest.mark.parametrize("name", setting_descriptions())
def test_every_setting_is_described(name: str) -> None:
    setting = setting_descriptions()[name]
    for cell in (setting.meaning, setting.values, setting.default, setting.example):
        assert cell
        assert "|" not in cell
        assert "\n" not in cell
    assert setting.default not in {"None", "()"}
    assert setting.meaning.endswith(".")


@pytest.mark.parametrize("name", setting_descriptions())
def test_every_example_is_accepted(name: str) -> None:
    example = setting_descriptions()[name].example
    if name == "SECRET_KEY":
        example = "0123456789abcdef" * 2
    more = {"EVENTAPI_CORS_ORIGINS": "https://app.example"} if name == "CORS_CREDENTIALS" else {}
    found = load({f"EVENTAPI_{name}": example, **more}, DOCUMENT.with_name("nonexistent"))
    assert getattr(found.settings, name.lower()) != getattr(load({}).settings, name.lower())


def test_every_setting_named_in_a_document_exists() -> None:
    documents = [*DOCUMENT.parent.glob("**/*.md"), *DOCUMENT.parent.parent.glob("*.md")]
    named = {
        name
        for document in documents
        for name in re.findall(r"\bEVENTAPI_([A-Z0-9_]+)\b", document.read_text())
    }
    # A variable of the tests, and one that Kubernetes sets.
    assert named - setting_descriptions().keys() == {"TESTS_THROUGH", "SERVICE_HOST"}
