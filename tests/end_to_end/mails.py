"""Mails that a real server wrote to its outbox, and the process that sends them."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from tests.end_to_end.server import Server

_TOKEN = re.compile(r"\?token=(\S+)")


def holders(server: Server) -> list[int]:
    """The processes that hold the lease of the mail follower."""
    try:
        inode = (server.data / "followers.mail.lock").stat().st_ino
    except FileNotFoundError:
        return []
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return [
        int(line[4])
        for line in lines
        if line[1] == "FLOCK" and line[5].rpartition(":")[2] == str(inode)
    ]


def outbox(server: Server) -> dict[str, bytes]:
    """The mails in the outbox by the name of their file."""
    directory = server.data / "outbox"
    files = directory.glob("*.eml") if directory.is_dir() else ()
    return {file.name: file.read_bytes() for file in files}


def mails_to(server: Server, address: str, kind: str) -> list[EmailMessage]:
    """The mails of a kind to an address, oldest first."""
    found = sorted((name, mail) for name, mail in outbox(server).items() if kind in name)
    mails = [
        message_from_bytes(mail, _class=EmailMessage, policy=policy.default) for _, mail in found
    ]
    return [mail for mail in mails if mail["To"] == address]


def text_of(mail: EmailMessage) -> str:
    """The plain text of a mail."""
    part = mail.get_body(("plain",))
    assert part is not None
    content: str = part.get_content()
    return content


def token_of(mail: EmailMessage) -> str:
    """The token in the link of a mail."""
    found = _TOKEN.search(text_of(mail))
    assert found is not None, mail
    return found[1]
