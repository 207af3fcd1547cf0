"""Where mail goes: mail servers and directories, and what is neither."""

from __future__ import annotations

import pytest

from eventapi.configuration.load import load
from eventapi.configuration.settings import Settings
from events.errors import ConfigurationError


@pytest.mark.parametrize(
    "url",
    [
        "smtp://mail.example",
        "smtp://user:p%40ss@mail.example:587",
        "smtps://user:pass@[::1]:465/",
        "/var/spool/mails",
        "mails",
    ],
)
def test_good_addresses(url: str) -> None:
    assert load({"EVENTAPI_MAIL_URL": url}).settings.mail_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://mail.example",
        "smtp:mail.example",
        "smtp://",
        "smtp://mail.example:0",
        "smtp://mail server",
        "smtp://mail.example:99999",
        "smtp://secret-user@mail.example",
        "smtp://user:secret@word@x/mail.example",
        "smtp://mail.example/path",
        "smtp://mail.example?tls=no",
    ],
)
def test_bad_addresses_are_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load({"EVENTAPI_MAIL_URL": url})
    assert str(caught.value).startswith("EVENTAPI_MAIL_URL")
    assert "secret" not in str(caught.value)


def test_the_password_is_masked() -> None:
    loaded = load({"EVENTAPI_MAIL_URL": "smtp://user:secret@mail.example:587"})
    rows = {name: value for name, value, _ in loaded.masked_rows()}
    assert rows["EVENTAPI_MAIL_URL"] == "smtp://user:********@mail.example:587"


@pytest.mark.parametrize("sender", ["", "nobody", "a@b\nBcc: c@d", "A <a@b> <c@d>", "a@b, c@d"])
def test_a_sender_is_one_address(sender: str) -> None:
    with pytest.raises(ConfigurationError):
        load({"EVENTAPI_MAIL_FROM": sender})


def test_links_begin_with_the_public_url_or_the_address_of_the_settings() -> None:
    assert Settings(public_url="https://api.example/events/").base_url == (
        "https://api.example/events"
    )
    assert Settings(host="::1", port=9000).base_url == "http://[::1]:9000"
    assert Settings(ssl_certfile="cert.pem").base_url == "https://127.0.0.1:8000"


@pytest.mark.parametrize(("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]")])  # noqa: S104
def test_links_of_a_server_on_every_address_can_be_opened_on_its_machine(
    host: str, shown: str
) -> None:
    assert Settings(host=host).base_url == f"http://{shown}:8000"
