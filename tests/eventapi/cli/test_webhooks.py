"""``eventapi webhooks``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventapi.security.secret_key import secret_keys
from tests.eventapi.cli.running import invoke, message_in
from tests.eventapi.webhooks.receiver import Receiver, always, receiving

URL = "https://example.org/hook"
PRIVATE = {"EVENTAPI_WEBHOOK_PRIVATE_ADDRESSES": "on"}

pytestmark = pytest.mark.usefixtures("cheap_hashes")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data directory of a server with a user."""
    arguments = ("users", "create", "ann", "ann@example.org", "--password-stdin")
    assert invoke(tmp_path, *arguments, typed="correct horse").exit_code == 0
    secret_keys(None, tmp_path)
    return tmp_path


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def secret_in(output: str) -> str:
    return output.rsplit(maxsplit=1)[-1]


def test_a_webhook_is_added_listed_and_removed(data: Path) -> None:
    added = invoke(data, "webhooks", "add", URL, "--type", "item.*", "--type", "user.erased")
    assert added.exit_code == 0, added.stderr
    assert added.stdout.startswith("webhooks/1 has the secret whsec_")
    (listed,) = json.loads(invoke(data, "webhooks", "list", "--json").stdout)
    assert (listed["id"], listed["url"], listed["types"]) == (1, URL, ["item.*", "user.erased"])
    assert (listed["position"], listed["lag"], listed["last_status"]) == (2, 0, "ok")
    assert "secret" not in listed
    assert URL in invoke(data, "webhooks", "list").stdout
    assert invoke(data, "webhooks", "remove", "1").stdout == "webhooks/1 is deleted\n"
    assert json.loads(invoke(data, "webhooks", "list", "--json").stdout) == []
    actors = [
        json.loads(line)["actor"] for line in (data / "events.jsonl").read_text().splitlines()
    ]
    assert all(actor.startswith("operator/") for actor in actors)


def test_a_test_is_delivered_with_the_secret(data: Path, receiver: Receiver) -> None:
    secret = secret_in(invoke(data, "webhooks", "add", receiver.url).stdout)
    tested = invoke(data, "webhooks", "test", "1", **PRIVATE)
    assert (tested.exit_code, tested.stdout) == (0, "the receiver of webhooks/1 answered 204\n")
    rotated = secret_in(invoke(data, "webhooks", "rotate-secret", "1").stdout)
    assert rotated != secret
    assert invoke(data, "webhooks", "test", "1", **PRIVATE).exit_code == 0
    first, second = receiver.deliveries
    assert first.verify(secret)["type"] == "webhook.test"
    assert second.verify(secret) == second.verify(rotated)


def test_a_test_that_fails_is_an_answer(data: Path, receiver: Receiver) -> None:
    invoke(data, "webhooks", "add", receiver.url)
    receiver.answer = always(500)
    result = invoke(data, "webhooks", "test", "1", **PRIVATE)
    assert result.exit_code == 1
    assert "the receiver answered 500" in message_in(result.stderr)


def test_a_private_address_is_not_tested(data: Path) -> None:
    invoke(data, "webhooks", "add", "http://127.0.0.1:9/")
    result = invoke(data, "webhooks", "test", "1")
    assert result.exit_code == 1
    assert "not public" in message_in(result.stderr)


def test_a_replay_is_an_event(data: Path) -> None:
    invoke(data, "webhooks", "add", URL)
    assert invoke(data, "webhooks", "replay", "1", "--after", "0").exit_code == 0
    last = json.loads((data / "events.jsonl").read_text().splitlines()[-1])
    assert (last["type"], last["data"]) == ("webhook.replayed", {"after": 0})
    refused = invoke(data, "webhooks", "replay", "1", "--after", "99")
    assert refused.exit_code == 1
    assert "after" in message_in(refused.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "ftp://example.org"),
        ("add", URL, "--type", "user.made"),
        ("add", URL, "--type", "a type"),
        ("remove", "9"),
        ("test", "9"),
        ("rotate-secret", "9"),
        ("replay", "9", "--after", "0"),
    ],
)
def test_a_refusal_writes_nothing(data: Path, arguments: tuple[str, ...]) -> None:
    before = (data / "events.jsonl").read_bytes()
    assert invoke(data, "webhooks", *arguments).exit_code == 1
    assert (data / "events.jsonl").read_bytes() == before


def test_an_unknown_number_names_the_command_that_lists_them(data: Path) -> None:
    assert "eventapi webhooks list" in invoke(data, "webhooks", "remove", "9").stderr


def test_without_the_key_of_the_server_no_secret_is_made(data: Path) -> None:
    (data / "secret.key").unlink()
    before = (data / "events.jsonl").read_bytes()
    assert invoke(data, "webhooks", "add", URL).exit_code == 3
    assert (data / "events.jsonl").read_bytes() == before
