"""How a server starts with settings of mail: bad ones create nothing, and links are right."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.waiting import wait_until
from tests.eventapi.cli.running import address_of, message_in, run, running

pytestmark = pytest.mark.long

ANN = {"username": "ann", "email": "ann@example.org", "password": "correct horse"}
TEMPLATES = {
    "of bad syntax": ("verification.txt", "Subject: Hello\n\n{{ link"),
    "that fails": ("password-reset.html", "<p>{{ 1 / 0 }}</p>"),
}


def refused(folder: Path, code: int, workers: str, settings: Mapping[str, str]) -> str:
    """Start a server that must end with one message and create nothing; return the problem."""
    before = sorted(folder.rglob("*"))
    arguments = ("serve", "--port", "0", "--data", "data", "--workers", workers)
    ended = run(folder, *arguments, **settings)
    assert (ended.code, ended.out) == (code, b""), ended
    assert sorted(folder.rglob("*")) == before
    return message_in(ended.err)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_bad_template_is_refused_in_one_message(tmp_path: Path, name: str, workers: str) -> None:
    file, content = TEMPLATES[name]
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / file).write_bytes(content.encode())
    problem = refused(tmp_path, 3, workers, {"EVENTAPI_MAIL_TEMPLATES": "templates"})
    assert problem.startswith("EVENTAPI_MAIL_TEMPLATES: ")
    assert file.partition(".")[0] in problem


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_missing_directory_of_templates_is_refused(tmp_path: Path, workers: str) -> None:
    problem = refused(tmp_path, 3, workers, {"EVENTAPI_MAIL_TEMPLATES": "templates"})
    assert problem.startswith("EVENTAPI_MAIL_TEMPLATES: templates is not a directory")


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("url", ["http://mail.example", "smtp://user:secret@x/path"])
def test_a_bad_mail_url_is_misuse(tmp_path: Path, url: str, workers: str) -> None:
    problem = refused(tmp_path, 2, workers, {"EVENTAPI_MAIL_URL": url})
    assert problem.startswith("EVENTAPI_MAIL_URL (from environment)")
    assert "secret" not in problem


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("outbox", ["mails", "mails/below"])
def test_an_outbox_that_is_no_directory_is_refused(
    tmp_path: Path, outbox: str, workers: str
) -> None:
    (tmp_path / "mails").touch()
    problem = refused(tmp_path, 3, workers, {"EVENTAPI_MAIL_URL": outbox})
    assert problem.startswith(f"EVENTAPI_MAIL_URL: the outbox {outbox} ")
    assert "not a directory" in problem


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("by", ["option", "setting"])
def test_links_have_the_port_that_the_server_chose(tmp_path: Path, by: str, workers: str) -> None:
    port = ["--port", "0"] if by == "option" else []
    arguments = ("serve", *port, "--data", "data", "--workers", workers)
    settings = {} if by == "option" else {"EVENTAPI_PORT": "0"}
    with running(tmp_path, *arguments, **settings) as server:
        address = address_of(server)
        assert httpx.post(f"{address}/auth/register", json=ANN).status_code == 200
        outbox = tmp_path / "data" / "outbox"
        wait_until(lambda: any(outbox.glob("*.eml")))
        assert server.stop().code == 0
    (mail,) = outbox.glob("*.eml")
    links = re.findall(r"(http://\S+)/verify-email\?token=", mail.read_text())
    assert set(links) == {address}
