"""Secrets follow from keys and events, and Standard Webhooks accepts the signatures."""

from __future__ import annotations

import time

import pytest
from msgspec.structs import replace
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from eventapi.testing.given import SOURCE, at
from eventapi.values.times import time_of
from eventapi.webhooks.signing import ROTATION_SECONDS, WebhookSecrets
from projections.tables.webhooks import Webhook

OLD, NEW = "the old key of the server: 0123456789", "the new key of the server: 0123456789"
HOOK = Webhook(1, "https://example.org/", (), "", at(1), 1, at(1), 1, 1, at(1))
BODY = b'{"id":"7"}'


def is_accepted(secret: str, secrets: WebhookSecrets, webhook: Webhook) -> bool:
    headers = secrets.headers(webhook, SOURCE, "7", BODY, time.time())
    texts = {name.decode(): value.decode() for name, value in headers}
    try:
        return bool(Verifier(secret).verify(BODY, texts))
    except WebhookVerificationError:
        return False


def test_a_secret_is_that_of_one_key_log_webhook_and_event() -> None:
    secrets = WebhookSecrets([NEW])
    text = secrets.text(HOOK, SOURCE)
    assert text == WebhookSecrets([NEW, OLD]).text(HOOK, SOURCE)
    assert text == secrets.text(replace(HOOK, url="https://b.example/", version=9), SOURCE)
    others = {
        WebhookSecrets([OLD]).text(HOOK, SOURCE),
        secrets.text(HOOK, SOURCE.replace("1", "2")),
        secrets.text(replace(HOOK, id=2), SOURCE),
        secrets.text(replace(HOOK, secret_at=at(2)), SOURCE),
    }
    assert len(others) == 4
    assert text not in others


def test_after_a_change_of_the_key_the_receivers_still_verify() -> None:
    secret = WebhookSecrets([OLD]).text(HOOK, SOURCE)
    for keys in ([OLD], [OLD, NEW], [NEW, OLD]):
        assert is_accepted(secret, WebhookSecrets(keys), HOOK)
    assert not is_accepted(secret, WebhookSecrets([NEW]), HOOK)


@pytest.mark.parametrize("age", [0, ROTATION_SECONDS - 60, ROTATION_SECONDS + 60])
def test_the_secret_before_a_rotation_signs_for_a_day(age: int) -> None:
    secrets = WebhookSecrets([NEW])
    first = secrets.text(HOOK, SOURCE)
    made = time_of(time.time() - age)
    rotated = replace(HOOK, secret_at=made, previous_secret_at=HOOK.secret_at)
    assert is_accepted(secrets.text(rotated, SOURCE), secrets, rotated)
    assert is_accepted(first, secrets, rotated) == (age < ROTATION_SECONDS)
