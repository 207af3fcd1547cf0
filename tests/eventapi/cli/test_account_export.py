"""``eventapi users export``: every event about a user, opened and proven."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from eventapi.commands.users import EraseUser
from eventapi.testing.items import Content, create_item
from tests.eventapi.accounts.exports import check, exported, records_in
from tests.eventapi.cli.running import (
    address_of,
    invoke,
    message_in,
    output_of,
    refusal_of,
    run,
    running,
    written,
)
from tests.eventapi.cli.trees import tree
from tests.eventapi.http.client import PASSWORD, credentials, registration


def lines_of(data: Path) -> list[bytes]:
    return (data / "events.jsonl").read_bytes().splitlines()


def vkey_of(data: Path) -> str:
    return output_of(data, "log", "checkpoint", "--key").strip()


def test_an_export_has_the_lines_of_the_user_with_their_proofs(data: Path, tmp_path: Path) -> None:
    output_of(data, "log", "checkpoint")
    file = tmp_path / "ann.ndjson"

    assert output_of(data, "users", "export", "ann", str(file)) == ""

    own = [line for line in lines_of(data) if b'"sealedfor":"users/1"' in line]
    assert records_in(file.read_bytes()) == own
    assert check(vkey_of(data), file) == f"{len(own)} lines are proven, 0 have no proof\n"
    first = exported(file.read_bytes())[0].personal
    assert first == {"username": "ann", "email": "ann@example.org", "full_name": "Ann"}


@pytest.mark.parametrize("place", [(), ("-",)])
def test_an_export_goes_to_standard_output(data: Path, tmp_path: Path, place: list[str]) -> None:
    output_of(data, "log", "checkpoint")
    output_of(data, "users", "export", "ann", str(tmp_path / "ann"))

    result = invoke(data, "users", "export", "ann", *place)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout_bytes == (tmp_path / "ann").read_bytes()


def test_events_after_the_newest_checkpoint_are_exported_without_a_proof(
    data: Path, tmp_path: Path
) -> None:
    output_of(data, "log", "checkpoint")
    written(data, create_item(1, Content("later")))

    result = invoke(data, "users", "export", "ann", str(tmp_path / "ann"))

    assert result.exit_code == 0
    assert message_in(result.stderr).startswith("1 events about ann have no proof")
    lines = exported((tmp_path / "ann").read_bytes())
    assert [one.proof is None for one in lines] == [False] * 6 + [True]
    printed = check(vkey_of(data), tmp_path / "ann")
    assert printed == "6 lines are proven, 1 have no proof\n"


def test_a_log_without_a_checkpoint_is_exported_without_proofs_and_left_alone(
    data: Path,
) -> None:
    before = tree(data)

    result = invoke(data, "users", "export", "ann")

    assert result.exit_code == 0
    assert [one.proof for one in exported(result.stdout_bytes)] == [None] * 6
    assert message_in(result.stderr).startswith("6 events about ann have no proof")
    assert tree(data) == before


def test_a_log_that_contradicts_its_checkpoint_is_not_exported(data: Path) -> None:
    output_of(data, "log", "checkpoint")
    lines = lines_of(data)
    (data / "events.jsonl").write_bytes(b"".join(line + b"\n" for line in lines[:7]))
    (data / "events.jsonl.mark").unlink()

    code, error = refusal_of(data, "users", "export", "ann")

    assert (code, "contradicts its last checkpoint" in error) == (1, True)


def test_an_unknown_or_erased_user_is_refused(data: Path, tmp_path: Path) -> None:
    written(data, EraseUser("ann", "operator/test"))
    file = tmp_path / "export"

    for name in ("ann", "nobody-here", ""):
        code, error = refusal_of(data, "users", "export", name, str(file))
        assert (code, message_in(error)) == (1, f"there is no user {name!r}")

    assert not list(tmp_path.glob("*export*"))
    assert records_in(invoke(data, "users", "export", "ben").stdout_bytes)


def test_misuse_is_refused(data: Path, tmp_path: Path) -> None:
    assert refusal_of(data, "users", "export")[0] == 2
    assert refusal_of(data, "users", "export", "ann", str(data / "events.jsonl"))[0] == 2
    assert refusal_of(data, "users", "export", "ann", str(tmp_path))[0] == 2
    assert refusal_of(tmp_path / "none", "users", "export", "ann")[0] == 3


def test_the_keys_are_needed(data: Path) -> None:
    (data / "vault.sqlite").unlink()

    assert invoke(data, "users", "export", "ann").exit_code != 0


def test_beside_a_server_the_lines_are_those_of_the_server(tmp_path: Path) -> None:
    with running(tmp_path, "serve", "--port", "0") as server:
        address = address_of(server)
        with httpx.Client(base_url=address, timeout=60) as client:
            client.post("/auth/register", json=registration("ann"))
            tokens = client.post("/auth/login", json=credentials("ann", PASSWORD)).json()
            headers = {"authorization": f"Bearer {tokens['access_token']}"}
            client.post("/items", json={"title": "a title"}, headers=headers)
            over_http = client.get("/auth/me/export", headers=headers).content
        ended = run(tmp_path, "users", "export", "ann")

    assert (ended.code, ended.err) == (0, "")
    assert ended.out == over_http
    assert len(records_in(ended.out)) == 3


def test_a_long_export_shows_its_progress(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventapi.telemetry.progress.LINE_SECONDS", 0.0)

    shown = invoke(data, "users", "export", "ann").stderr

    assert "eventapi: exporting events: 6 of 6 (100 %)" in shown
