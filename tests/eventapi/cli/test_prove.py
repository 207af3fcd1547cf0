"""``eventapi log checkpoint`` and ``log prove``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eventapi.cli import verify as verify_module
from eventapi.commands.items import CreateItem
from eventapi.commands.users import RegisterUser
from eventapi.testing.given import profile
from events.transparency.merkle import is_consistent, leaf_hash, root_from_inclusion, root_of
from events.transparency.signed_note import Consistency, Inclusion, Note, Signer, TreeHead, Verifier
from events.vocabulary.items import Content
from tests.eventapi.cli.running import invoke, message_in, written

WITNESS = Signer.from_seed(bytes(range(32)), "witness/")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    items = [CreateItem(1, Content(f"item {number}")) for number in range(9)]
    written(folder, RegisterUser(profile("ann")), *items)
    return folder


def lines_of(data: Path) -> list[bytes]:
    return (data / "events.jsonl").read_bytes().splitlines()


def told(data: Path, *arguments: str) -> str:
    result = invoke(data, "log", *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(data: Path, *arguments: str) -> tuple[int, str]:
    result = invoke(data, "log", *arguments)
    assert not result.stdout
    return result.exit_code, result.stderr


def test_the_checkpoint_is_of_the_whole_log_and_signed(data: Path) -> None:
    note = Note.of(told(data, "checkpoint"))
    head = TreeHead.of(note)
    assert (head.size, head.root) == (10, root_of([leaf_hash(line) for line in lines_of(data)]))
    assert Verifier.of(told(data, "checkpoint", "--key")).has_signed(note)
    assert told(data, "checkpoint") == str(note)


def test_every_event_is_proven(data: Path) -> None:
    for position, line in enumerate(lines_of(data), 1):
        proof = Inclusion.of(told(data, "prove", str(position)))
        head = TreeHead.of(proof.checkpoint)
        found = root_from_inclusion(position - 1, head.size, leaf_hash(line), proof.hashes)
        assert found == head.root


def test_that_the_log_grew_is_proven(data: Path) -> None:
    before = TreeHead.of(Note.of(told(data, "checkpoint")))
    written(data, CreateItem(1, Content("one more")))
    proof = Consistency.of(told(data, "prove", "--since", "10"))
    after = TreeHead.of(proof.checkpoint)
    assert is_consistent(10, 11, before.root, after.root, proof.hashes)


def test_what_cannot_be_proven_is_told(data: Path) -> None:
    code, said = refused(data, "prove", "11")
    assert (code, message_in(said)) == (1, "there is no position 11 yet: the log ends at 10")
    code, said = refused(data, "prove", "--since", "11")
    assert (code, message_in(said)) == (1, "the checkpoint is of 10 events")
    for arguments in ((), ("0",), ("x",), ("1", "--since", "1")):
        assert refused(data, "prove", *arguments)[0] == 2


def test_a_log_that_was_put_back_is_not_signed(data: Path) -> None:
    told(data, "checkpoint")
    lines = lines_of(data)
    (data / "events.jsonl").write_bytes(b"".join(line + b"\n" for line in lines[:7]))
    (data / "events.jsonl.mark").unlink()
    code, said = refused(data, "checkpoint")
    assert code == 1
    assert message_in(said) == (
        "The log contradicts its last checkpoint. That is of 10 events, and the log has 7."
    )


def test_what_a_witness_signs_is_kept(data: Path, tmp_path: Path) -> None:
    note = Note.of(told(data, "checkpoint"))
    cosigned = Note(note.text, [*note.signatures, *WITNESS.sign(note.text).signatures])
    file = tmp_path / "cosigned"
    file.write_text(str(cosigned))
    assert told(data, "checkpoint", "--cosigned", str(file)) == str(cosigned)
    assert told(data, "checkpoint") == str(cosigned)
    written(data, CreateItem(1, Content("one more")))
    assert told(data, "checkpoint") != str(cosigned)
    assert told(data, "checkpoint", "--cosigned", str(file)) == str(cosigned)
    assert told(data, "checkpoint", "--newest-cosigned") == str(cosigned)
    for nonsense in (b"", b"no checkpoint", b"\xff\xfe"):
        file.write_bytes(nonsense)
        code, said = refused(data, "checkpoint", "--cosigned", str(file))
        assert (code, said.startswith("eventapi: ")) == (1, True)


def verified(path: Path, *options: str) -> tuple[int, str]:
    result = invoke(path.parent, "log", "verify", str(path), *options)
    return result.exit_code, result.output


@pytest.fixture
def signed(data: Path) -> Path:
    """The checkpoint of the log, in a file."""
    file = data.parent / "checkpoint"
    file.write_text(told(data, "checkpoint"))
    return file


def test_a_log_that_continues_a_checkpoint_is_verified(data: Path, signed: Path) -> None:
    key = told(data, "checkpoint", "--key").strip()
    log = data / "events.jsonl"
    assert verified(log, "--checkpoint", str(signed), "--key", key)[0] == 0
    written(data, CreateItem(1, Content("one more")))
    assert verified(log, "--checkpoint", str(signed), "--key", key)[0] == 0
    assert verified(log, "--checkpoint", signed.as_uri())[0] == 3


def test_a_log_that_does_not_is_found(data: Path, signed: Path) -> None:
    """Although its chain is whole: somebody wrote all of it anew, or cut it."""
    other = data.parent / "other"
    written(other, RegisterUser(profile("ann")), *[CreateItem(1, Content("x"))] * 9)
    code, said = verified(other / "events.jsonl", "--checkpoint", str(signed))
    assert code == 1
    assert "checkpoint at position 10" in said
    assert "the first 10 events are not those of the checkpoint" in said
    short = data.parent / "short.jsonl"
    short.write_bytes(b"".join(line + b"\n" for line in lines_of(data)[:7]))
    code, said = verified(short, "--checkpoint", str(signed))
    assert code == 1
    assert "the checkpoint is of 10 events, the file has 7" in said


def test_a_checkpoint_of_somebody_else_is_no_proof(data: Path, signed: Path) -> None:
    log = data / "events.jsonl"
    code, said = verified(log, "--checkpoint", str(signed), "--key", WITNESS.verifier.vkey)
    assert code == 1
    assert "is not signed by" in said
    for key in ("nonsense", "a+b+c"):
        assert verified(log, "--checkpoint", str(signed), "--key", key)[0] == 2
    assert verified(log, "--key", WITNESS.verifier.vkey)[0] == 2
    for other in (str(log), "/dev/zero"):
        assert verified(log, "--checkpoint", other)[0] == 3
    assert verified(log, "--checkpoint", "http://127.0.0.1:1/log/checkpoint")[0] == 3


def test_what_another_server_says_moves_no_cursor(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("HTTP Error 404: gone\r\n\x1b[2Jfor ever")

    monkeypatch.setattr(verify_module, "urlopen", refuse)
    code, said = verified(data / "events.jsonl", "--checkpoint", "http://localhost/log/checkpoint")
    assert (code, message_in(said).isprintable()) == (3, True)


def test_a_backup_is_a_prefix_of_the_log(data: Path) -> None:
    log, backup = data / "events.jsonl", data.parent / "backup.jsonl"
    backup.write_bytes(log.read_bytes())
    written(data, CreateItem(1, Content("one more")))
    assert verified(backup, "--prefix-of", str(log))[0] == 0
    code, said = verified(log, "--prefix-of", str(backup))
    assert code == 1
    assert "The other file ends behind event 10: it is shorter than this one." in said
    assert "DAMAGED" not in said


def test_where_a_backup_is_another_log_stands_beside_its_damage(data: Path) -> None:
    backup = data.parent / "backup.jsonl"
    content = bytearray((data / "events.jsonl").read_bytes())
    at = content.index(b"items/3")
    content[at] ^= 1
    backup.write_bytes(content)
    code, said = verified(backup, "--json", "--prefix-of", str(data / "events.jsonl"))
    report = json.loads(said)
    assert (code, report["ok"]) == (1, False)
    damage, difference = report["findings"]
    position, offset = content.count(b"\n", 0, at) + 1, content.rindex(b"\n", 0, at) + 1
    assert (damage["kind"], damage["position"], damage["offset"]) == ("damaged", position, offset)
    assert (difference["kind"], difference["position"]) == ("prefix", position)
    assert difference["offset"] == offset
    assert f"from byte {at} on" in difference["detail"]
