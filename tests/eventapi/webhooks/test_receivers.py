"""The receivers of docs/webhooks.md verify and deduplicate."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from eventapi.testing.given import SOURCE, at
from eventapi.webhooks.deliveries import Deliveries
from eventapi.webhooks.signing import Headers, WebhookSecrets
from eventapi.webhooks.transport import Transport
from events.record import Record
from events.vocabulary.webhooks import WebhookEnabled
from projections.tables.webhooks import Webhook
from tests.end_to_end.server import free_port
from tests.test_documents import ROOT

PAGE = (ROOT / "docs" / "webhooks.md").read_text()
SECRETS = WebhookSecrets(["a secret key for tests: 0123456789abcdef"])
LINE = b'{"id":"7","source":"urn:uuid:1","type":"item.created","subject":"items/1","data":{}}'


class Program:
    """A receiver in a process, and the lines that it printed."""

    def __init__(self, command: list[str], webhook: Webhook, port: int) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "PORT": str(port),
            "WEBHOOK_SECRET": SECRETS.text(webhook, SOURCE),
        }
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines += [line.strip() for line in self.process.stdout]

    def stop(self) -> list[str]:
        """End the process; the printed lines."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.lines


def webhook_at(port: int) -> Webhook:
    url = f"http://127.0.0.1:{port}/hooks"
    return Webhook(1, url, (), "", at(1), 1, at(1), 1, 1, at(1))


@pytest.fixture(params=["python", "javascript"])
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Webhook, Program]]:
    (source,) = re.findall(rf"```{request.param}\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / ("receiver.py" if request.param == "python" else "receiver.mjs")
    path.write_text(source)
    command = [sys.executable if request.param == "python" else "node", str(path)]
    webhook = webhook_at(port := free_port())
    running = Program(command, webhook, port)
    yield webhook, running
    running.stop()


@pytest.mark.long
async def test_a_receiver_verifies_and_deduplicates(program: tuple[Webhook, Program]) -> None:
    webhook, running = program
    deliveries = Deliveries(SECRETS, Transport(private=True).post)
    record = Record(7, SOURCE, "items/1", at(2), "users/1", WebhookEnabled())
    later = msgspec.structs.replace(record, position=8)
    assert await deliveries.deliver(webhook, record, LINE) == 204
    assert await deliveries.deliver(webhook, record, LINE) == 204
    assert await deliveries.deliver(webhook, later, LINE.replace(b'"7"', b'"8"')) == 204

    changed = msgspec.structs.replace(webhook, secret_at=at(9))
    assert await deliveries.deliver(changed, record, LINE) == 400
    rotated = msgspec.structs.replace(changed, previous_secret_at=webhook.secret_at)
    during = Deliveries(SECRETS, Transport(private=True).post, lambda: 0.0)
    assert await during.deliver(rotated, record, LINE) == 400
    sent: list[Headers] = []

    async def old(url: str, headers: Headers, body: bytes) -> int:
        sent.append(headers)
        return await Transport(private=True).post(url, headers, body + b" ")

    assert await Deliveries(SECRETS, old).deliver(webhook, record, LINE) == 400
    assert running.stop() == ["7 item.created items/1", "8 item.created items/1"]
