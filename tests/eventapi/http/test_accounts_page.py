"""The requests of ``docs/accounts.md`` have the answers that the page shows."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pyotp import TOTP

from eventapi.commands.keys import MAX_KEYS
from eventapi.http.middleware import rate_limit
from eventapi.http.routes import mailed_links
from tests.eventapi.http.client import Api, Caller
from tests.eventapi.http.links import email_token, last_reset_token
from tests.test_documents import ROOT

PAGE = (ROOT / "docs" / "accounts.md").read_text()
EXAMPLE = re.compile(
    r"^    (?P<method>[A-Z]+) (?P<path>/\S+)(?: (?P<body>\{.*\}))?\n"
    r"    (?P<status>\d{3})(?: (?P<shown>\{.*\}))?$",
    re.MULTILINE,
)
PASSWORD = "a new password of ann"


class Reader:
    """A client that follows the page, and fills in what earlier answers had."""

    def __init__(self, api: Api) -> None:
        self.ann = api.caller("ann", prefix="")
        self.api = api
        self.known = {"PASSWORD": PASSWORD}

    def value(self, name: str) -> str:
        """The value that a word in capitals stands for."""
        now = int(self.api.edge.services.journal.clock.seconds())
        if name == "TOKEN":
            return last_reset_token(self.api)
        if name == "EMAIL_TOKEN":
            return email_token(self.ann, "ann@example.org")
        if name == "CODE":
            return TOTP(self.known["SECRET"]).at(now)
        if name == "NEXT_CODE":
            return TOTP(self.known["SECRET"]).at(now + 30)
        return self.known[name]

    def fill(self, text: str) -> str:
        return re.sub(r"\b[A-Z]{2,}(?:_[A-Z]+)?\b", lambda word: self.value(word[0]), text)

    def send(self, method: str, path: str, body: str | None) -> Any:
        content = None if body is None else json.loads(self.fill(body))
        token = self.ann.token
        answer = self.api.request(method, self.fill(path), token=token, json=content)
        if path.endswith("/password/reset"):
            # The reset ended the session of the example.
            tokens = self.api.login("ann", PASSWORD).json()
            self.ann = Caller(self.api, "ann", tokens)
        return answer

    def learn(self, shown: dict[str, Any], answered: dict[str, Any]) -> None:
        """Remember what the capitals of an answer stand for, and compare the rest."""
        for name, value in shown.items():
            if isinstance(value, str) and value.isupper():
                self.known[value] = answered[name]
            elif value != ["..."]:
                assert answered[name] == value


def test_the_page_is_true(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailed_links, "ANSWER_SECONDS", 0.001)
    reader = Reader(api)
    examples = list(EXAMPLE.finditer(PAGE))
    assert len(examples) == len(re.findall(r"^    [A-Z]+ /", PAGE, re.MULTILINE)) == 13
    for example in examples:
        answer = reader.send(example["method"], example["path"], example["body"])
        assert str(answer.status_code) == example["status"], (example[0], answer.text)
        if example["shown"]:
            reader.learn(json.loads(example["shown"]), answer.json())


def test_the_limits_are_those_of_the_code() -> None:
    minute, hour = rate_limit._FAILURE_RATES
    (account,) = rate_limit._ACCOUNT_FAILURE_RATES
    few, day = rate_limit._MAIL_RATES
    for text in (
        f"{few.limit} in {few.seconds // 60} minutes, {day.limit} a day",
        f"{minute.limit} a minute, {hour.limit} an hour",
        f"{account.limit} an hour",
        f"| {MAX_KEYS} |",
    ):
        assert text in PAGE
