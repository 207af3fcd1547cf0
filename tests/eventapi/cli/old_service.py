"""Data files of the service that this server replaces, and their import."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bcrypt
from argon2 import PasswordHasher
from click.testing import Result

from eventapi.cli.db_json import Contents
from eventapi.cli.db_json_reader import read
from tests.eventapi.cli.running import invoke

PASSWORD = "correct horse"
BCRYPT = bcrypt.hashpw(
    PASSWORD.encode(), b"$2b$04$" + b"alwaysTheSameSalt".ljust(22, b".")
).decode()
ARGON2 = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(
    PASSWORD, salt=b"always the same!"
)
NOON = "2025-10-13T12:00:00"

Document = dict[str, Any]


def user(name: str, **other: object) -> Document:
    return {
        "username": name,
        "email": f"{name}@example.com",
        "hashed_password": BCRYPT,
        "full_name": None,
        "disabled": False,
        "created_at": NOON,
        **other,
    }


def item(number: object, owner: str, **other: object) -> Document:
    return {
        "id": number,
        "title": f"item {number}",
        "description": None,
        "owner": owner,
        "created_at": NOON,
        **other,
    }


def document(ann: Document | None = None, thing: Document | None = None) -> Document:
    """A file with one user and one item."""
    return {
        "users": {"ann": ann or user("ann")},
        "items": {"ann": [thing or item(1, "ann")]},
    }


def of_users(*users: Document) -> Document:
    """A file with users and no items."""
    return {"users": {one["username"]: one for one in users}, "items": {}}


def contents_of(content: object) -> Contents:
    return read(json.dumps(content).encode())


def faults_of(content: object) -> dict[str, str]:
    """The faults of a file: places and remedies."""
    return {fault.place: fault.remedy or "" for fault in contents_of(content).faults}


def run_import(folder: Path, content: object, *options: str) -> Result:
    """Import a file into the log in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "db.json"
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return invoke(folder / "data", "log", "import", str(file), *options)


def import_report(folder: Path, content: object, *options: str) -> Document:
    """Import a file; return the report for programs."""
    result = run_import(folder, content, "--json", *options)
    assert result.exit_code == 0, result.output
    report: Document = json.loads(result.stdout)
    return report


def export_document(folder: Path) -> Document:
    """Export the log in a folder in the format of that service."""
    result = invoke(folder / "data", "log", "export", "--format", "db-json")
    assert result.exit_code == 0, result.output
    content: Document = json.loads(result.stdout_bytes)
    return content
