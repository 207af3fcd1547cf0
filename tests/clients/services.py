"""The replaced service and the server under test, with the same `db.json`."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.request import urlopen

import bcrypt

from tests.servers.service import Service

ROOT = Path(__file__).resolve().parents[2]

OLD_ORIGINS = ("http://localhost:3000", "http://localhost:8000")
"""The origins in the code of the replaced service."""

AS_BEFORE = {
    "EVENTAPI_CORS_ORIGINS": ",".join(OLD_ORIGINS),
    "EVENTAPI_CORS_CREDENTIALS": "on",
    "EVENTAPI_RATE_LIMIT": "off",
    "EVENTAPI_RATE_LIMIT_LOGIN": "off",
}
"""Settings that make this server behave like the replaced service."""

PASSWORD = "correct horse"
SECRET_KEY = hashlib.sha256(b"of both services").hexdigest()
_PASSWORD_HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


def account(name: str, *, disabled: bool = False) -> dict[str, object]:
    """A user in the format of `db.json`."""
    return {
        "username": name,
        "email": f"{name}@example.com",
        "hashed_password": _PASSWORD_HASH,
        "full_name": None,
        "disabled": disabled,
        "created_at": "2025-10-13T12:00:00.123456",
    }


def item(number: int, owner: str) -> dict[str, object]:
    """An item in the format of `db.json`."""
    return {
        "id": number,
        "title": f"Item {number}",
        "description": "My first item\r\nof two lines",
        "owner": owner,
        "created_at": "2025-10-13T12:30:00.123456",
    }


ITEMS = {
    "ann": [item(1, "ann"), item(2, "ann")],
    "bob": [item(3, "bob")],
    "cyd": [item(4, "cyd")],
    "fay": [item(5, "fay")],
    "gil": [item(number, "gil") for number in range(10, 3_000)],
}
"""The items by account; eve has none."""

DATA = {
    "users": {
        name: account(name, disabled=name == "dan")
        for name in ("ann", "bob", "cyd", "dan", "eve", "fay", "gil")
    },
    "items": ITEMS,
}


class Peer(Service):
    """The replaced service, with `db.json` in its folder."""

    install = "pip install fastapi python-jose python-multipart"

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Write the data file."""
        (self.folder / "db.json").write_text(json.dumps(DATA))

    def command(self) -> Sequence[str | Path]:
        """Run uvicorn, with the lowest cost of bcrypt."""
        settings = {
            "PYTHONPATH": str(ROOT),
            "PEER_BCRYPT_ROUNDS": "4",
            "PEER_DATA": str(self.folder),
            "PEER_SECRET_KEY": SECRET_KEY,
        }
        serve = ["-m", "uvicorn", "benchmarks.peer.main:app", "--port", str(self.port)]
        environment = [f"{name}={value}" for name, value in settings.items()]
        return ["env", *environment, sys.executable, *serve, "--log-level", "warning"]

    def is_ready(self) -> bool:
        """Whether it answers."""
        return _answers(f"{self.url}/docs")


class Successor(Service):
    """The server under test, over a log that was imported from `db.json`."""

    install = "make install"

    def __init__(self, **settings: str) -> None:
        super().__init__()
        self._settings = {
            "EVENTAPI_DATA": str(self.folder / "data"),
            "EVENTAPI_SECRET_KEY": SECRET_KEY,
            **settings,
        }

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Import the data file, as an operator does to migrate to this server."""
        (self.folder / "db.json").write_text(json.dumps(DATA))
        self.run(self._eventapi("log", "import", "db.json"))

    def command(self) -> Sequence[str | Path]:
        """Serve with one worker."""
        return self._eventapi("serve", "--port", str(self.port))

    def is_ready(self) -> bool:
        """Whether it serves."""
        return _answers(f"{self.url}/health/ready")

    def _eventapi(self, *arguments: str) -> Sequence[str]:
        settings = [f"{name}={value}" for name, value in self._settings.items()]
        program = [sys.executable, "-m", "eventapi", *arguments]
        return ["env", f"PYTHONPATH={ROOT}", *settings, *program]


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:  # noqa: S310 - always http
            return bool(answer.status == 200)
    except OSError:
        return False
