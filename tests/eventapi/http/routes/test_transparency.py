"""The transparency log: checkpoints, tiles and proofs, and who may read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from events.log.port import EventLog
from events.transparency.checkpoints import Checkpoints
from events.transparency.merkle import EMPTY_ROOT, leaf_hash, root_of
from events.transparency.signed_note import Consistency, Inclusion, Note, Signer, TreeHead, Verifier
from events.transparency.signing.file import FileSigning
from events.transparency.signing.register import create_register
from events.transparency.tree import Tree
from tests.eventapi.http.client import Api, Caller, assert_problem
from tests.events.transparency.proof_checks import is_consistent, root_from_inclusion

EVENTS = 260
"""One full tile and a partial one."""


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with Api() as running:
        caller = running.caller("somebody")
        while running.log.position < EVENTS:
            caller.create()
        yield running


@pytest.fixture(scope="module")
def lines(api: Api) -> list[bytes]:
    return api.log_lines(0, EVENTS)


def head_of(api: Api) -> TreeHead:
    note = Note.parse(api.request("GET", "/log/checkpoint").text)
    assert Verifier.parse(api.request("GET", "/log/key").text).verify(note)
    return TreeHead.parse(note)


def test_an_empty_log_has_a_checkpoint() -> None:
    with Api() as api:
        head = head_of(api)

        assert (head.size, head.root) == (0, EMPTY_ROOT)
        assert api.request("GET", "/log/consistency/0").status_code == 200


def test_a_checkpoint_covers_every_acknowledged_event(api: Api, lines: list[bytes]) -> None:
    head = head_of(api)
    assert head.size == api.log.position

    leaves = [leaf_hash(line) for line in lines]
    proof = Consistency.parse(api.request("GET", f"/log/consistency/{EVENTS}").text)
    assert is_consistent(EVENTS, head.size, root_of(leaves), head.root, proof.hashes)

    api.caller("one-more")
    assert head_of(api).size == head.size + 2


def test_tiles_contain_the_hashes_of_the_lines(api: Api, lines: list[bytes]) -> None:
    leaves = [leaf_hash(line) for line in lines]
    for path, hashes in {
        "0/000": leaves[:256],
        "0/001.p/4": leaves[256:260],
        "0/000.p/255": leaves[:255],
        "1/000.p/1": [root_of(leaves[:256])],
    }.items():
        answer = api.request("GET", f"/log/tile/{path}")
        assert answer.content == b"".join(hashes)
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize(
    "path",
    [
        *("0/001", "0/002", "1/000", "2/000.p/1", "64/000", "00/000", "x/000", "0/0", "0/0000"),
        *("0/x000/000", "0/000.p/0", "0/000.p/256", "0/000.p/01", "0/000.p/", "0/x001", "0/"),
        *("0/x999/x999/x999/x999/x999/999", "0/000.p/999"),
    ],
)
def test_an_unknown_tile_is_a_404(api: Api, path: str) -> None:
    assert_problem(api.request("GET", f"/log/tile/{path}"), 404, "not-found")


@pytest.mark.parametrize(
    "path", ["checkpoint", "cosigned", "consistency/1", "tile/0/000", "tile/0/000.p/1"]
)
def test_every_answer_about_the_tree_waits_for_the_position_of_the_client(
    api: Api, path: str
) -> None:
    """Another instance may not have the events yet that a tile has."""
    headers = {"min-event-position": str(10**17)}

    answer = api.request("GET", f"/log/{path}", headers=headers)

    assert_problem(answer, 503, "log-unavailable")


def test_entries_are_lines_prefixed_with_their_lengths(api: Api, lines: list[bytes]) -> None:
    auditor = api.auditor()
    for path, some in {"000": lines[:256], "001.p/4": lines[256:260]}.items():
        answer = auditor.get(f"/log/tile/entries/{path}")
        assert answer.content == b"".join(
            bytes([len(line) >> 8, len(line) & 255]) + line for line in some
        )
        assert answer.headers["cache-control"].startswith("private")

    assert_problem(auditor.get("/log/tile/entries/001"), 404, "not-found")


def test_the_writer_gets_a_proof_of_inclusion(api: Api) -> None:
    ann = api.caller()
    answer = ann.post("/items", json={"title": "a title"})
    position = int(answer.headers["event-position"])
    (line,) = api.log_lines(position - 1, position)

    proof = Inclusion.parse(ann.get(f"/log/proof/{position}").text)
    head = TreeHead.parse(proof.checkpoint)

    leaf = leaf_hash(line)
    assert root_from_inclusion(position - 1, head.size, leaf, proof.hashes) == head.root


def test_proofs_of_other_users_and_of_missing_events_get_the_same_404(api: Api) -> None:
    ann, bob = api.caller(), api.caller()
    number = ann.create()
    mine = api.log.position
    assert ann.get(f"/log/proof/{mine}").status_code == 200

    hidden = assert_problem(bob.get(f"/log/proof/{mine}"), 404, "not-found")
    absent = assert_problem(bob.get(f"/log/proof/{mine + 999}"), 404, "not-found")
    assert hidden | {"request_id": ""} == absent | {"request_id": ""}
    assert ann.delete(f"/items/{number}").status_code == 204
    assert ann.get(f"/log/proof/{api.log.position}").status_code == 200


@pytest.mark.parametrize("size", ["x", "-1", "01", "99999"])
def test_an_unknown_tree_size_is_a_404(api: Api, size: str) -> None:
    assert_problem(api.request("GET", f"/log/consistency/{size}"), 404, "not-found")


def test_every_version_serves_the_same_key(api: Api) -> None:
    texts = {api.request("GET", f"{prefix}/log/key").text for prefix in ("", "/api/v1", "/api/v2")}
    assert len(texts) == 1


def test_control_a_changed_line_is_detected(api: Api, lines: list[bytes]) -> None:
    ann: Caller = api.caller()

    proof = Inclusion.parse(ann.get(f"/log/proof/{api.log.position}").text)
    head = TreeHead.parse(proof.checkpoint)
    other = leaf_hash(lines[0] + b" ")

    assert root_from_inclusion(proof.index, head.size, other, proof.hashes) != head.root


@pytest.fixture
def signed_in_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[EventLog], Checkpoints]:
    """Let apps keep their signing key in ``events.jsonl.key`` of the test's directory."""

    def checkpoints_of(log: EventLog) -> Checkpoints:
        return Checkpoints(Tree(log), FileSigning(tmp_path / "events.jsonl"))

    monkeypatch.setattr(
        "eventapi.bootstrap.services.checkpoints_of", lambda _, log, __: checkpoints_of(log)
    )
    return checkpoints_of


@pytest.mark.usefixtures("signed_in_files")
def test_an_unusable_signing_key_is_named_in_the_server_log_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = tmp_path / "events.jsonl.key"
    key.write_text("nonsense")

    with Api() as api:
        for path in ("/log/key", "/log/checkpoint", "/log/consistency/0"):
            answer = api.request("GET", path)
            assert_problem(answer, 503, "log-unavailable")
            assert "key cannot be used, so nothing is signed" in answer.json()["detail"]
            assert str(key) not in answer.text

    assert str(key) in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.usefixtures("signed_in_files")
def test_a_log_that_contradicts_its_checkpoint_serves_and_signs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each answer names the contradiction, but the server logs it only once."""
    signer = Signer.from_seed(bytes(range(32)), "eventapi/")
    (tmp_path / "events.jsonl.key").write_text(signer.skey)
    create_register(
        tmp_path / "events.jsonl.signed",
        signer.verifier.vkey,
        TreeHead(signer.verifier.name, 1, bytes(32)),
    )

    with Api() as api:
        api.caller("ann").create()
        caplog.clear()
        for _ in range(3):
            answer = api.request("GET", "/log/checkpoint")
            assert_problem(answer, 503, "log-unavailable")
            assert "The log contradicts its last checkpoint" in answer.json()["detail"]
        assert not [record for record in caplog.records if record.levelname == "ERROR"]
        assert api.request("GET", "/log/key").text == f"{signer.verifier.vkey}\n"
        assert api.request("GET", "/health/ready").status_code == 200


def test_the_newest_cosigned_checkpoint_can_be_read(
    signed_in_files: Callable[[EventLog], Checkpoints],
) -> None:
    witness = Signer.from_seed(bytes(range(32)), "witness/")
    with Api() as api:
        assert_problem(api.request("GET", "/log/cosigned"), 404, "not-found")
        note = Note.parse(api.request("GET", "/log/checkpoint").text)
        cosigned = Note(note.text, [*note.signatures, *witness.sign(note.text).signatures])
        api.caller("ann")

        api.run(signed_in_files(api.log).cosign(str(cosigned)))

        assert api.request("GET", "/log/cosigned").text == str(cosigned)
