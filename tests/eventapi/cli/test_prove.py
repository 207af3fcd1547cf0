"""``eventapi log checkpoint`` and ``log prove``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eventapi.cli import verify as verify_module
from eventapi.commands.users import RegisterUser
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item
from events.transparency.merkle import leaf_hash, root_of
from events.transparency.signed_note import Consistency, Inclusion, Note, Signer, TreeHead, Verifier
from tests.eventapi.cli.running import invoke, message_in, output_of, refusal_of, written
from tests.events.transparency.proof_checks import is_consistent, root_from_inclusion

WITNESS = Signer.from_seed(bytes(range(32)), "witness/")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    items = [create_item(1, Content(f"item {number}")) for number in range(9)]
    written(folder, RegisterUser(profile("ann")), *items)
    return folder


def lines_of(data: Path) -> list[bytes]:
    return (data / "events.jsonl").read_bytes().splitlines()


def test_the_checkpoint_covers_the_whole_log_and_is_signed(data: Path) -> None:
    note = Note.parse(output_of(data, "log", "checkpoint"))
    head = TreeHead.parse(note)
    assert (head.size, head.root) == (10, root_of([leaf_hash(line) for line in lines_of(data)]))
    assert Verifier.parse(output_of(data, "log", "checkpoint", "--key")).verify(note)
    assert output_of(data, "log", "checkpoint") == str(note)


def test_prove_proves_every_event(data: Path) -> None:
    for position, line in enumerate(lines_of(data), 1):
        proof = Inclusion.parse(output_of(data, "log", "prove", str(position)))
        head = TreeHead.parse(proof.checkpoint)
        found = root_from_inclusion(position - 1, head.size, leaf_hash(line), proof.hashes)
        assert found == head.root


def test_prove_since_proves_that_the_log_only_grew(data: Path) -> None:
    before = TreeHead.parse(Note.parse(output_of(data, "log", "checkpoint")))
    written(data, create_item(1, Content("one more")))
    proof = Consistency.parse(output_of(data, "log", "prove", "--since", "10"))
    after = TreeHead.parse(proof.checkpoint)
    assert is_consistent(10, 11, before.root, after.root, proof.hashes)


def test_prove_refuses_positions_beyond_the_log(data: Path) -> None:
    code, error = refusal_of(data, "log", "prove", "11")
    assert (code, message_in(error)) == (1, "there is no position 11 yet: the log ends at 10")
    code, error = refusal_of(data, "log", "prove", "--since", "11")
    assert (code, message_in(error)) == (1, "the checkpoint is of 10 events")
    for arguments in ((), ("0",), ("x",), ("1", "--since", "1")):
        assert refusal_of(data, "log", "prove", *arguments)[0] == 2


@pytest.mark.parametrize(
    "arguments",
    [("checkpoint",), ("prove", "9"), ("prove", "--since", "3"), ("copy", "copied.jsonl")],
)
def test_nothing_of_a_damaged_log_is_signed_or_proved(
    data: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if a snapshot lets the server start on it, and the damage is far below what is asked for."""
    monkeypatch.chdir(data.parent)
    output_of(data, "snapshot")
    content = bytearray((data / "events.jsonl").read_bytes())
    content[60] ^= 1
    (data / "events.jsonl").write_bytes(content)
    _, error = refusal_of(data, "log", *arguments)
    assert "the log is damaged at position 1, byte offset 0" in error
    assert "Traceback" not in error
    assert not [*data.parent.rglob("*.checkpoint")]


def test_a_log_that_lost_signed_events_is_not_signed(data: Path) -> None:
    output_of(data, "log", "checkpoint")
    lines = lines_of(data)
    (data / "events.jsonl").write_bytes(b"".join(line + b"\n" for line in lines[:7]))
    (data / "events.jsonl.mark").unlink()
    code, error = refusal_of(data, "log", "checkpoint")
    assert code == 1
    assert message_in(error) == (
        "The log contradicts its last checkpoint: that covers 10 events, and the log has 7."
    )


def test_witness_signatures_are_stored(data: Path, tmp_path: Path) -> None:
    note = Note.parse(output_of(data, "log", "checkpoint"))
    cosigned = Note(note.text, [*note.signatures, *WITNESS.sign(note.text).signatures])
    file = tmp_path / "cosigned"
    file.write_text(str(cosigned))
    assert output_of(data, "log", "checkpoint", "--cosigned", str(file)) == str(cosigned)
    assert output_of(data, "log", "checkpoint") == str(cosigned)
    written(data, create_item(1, Content("one more")))
    assert output_of(data, "log", "checkpoint") != str(cosigned)
    assert output_of(data, "log", "checkpoint", "--cosigned", str(file)) == str(cosigned)
    assert output_of(data, "log", "checkpoint", "--newest-cosigned") == str(cosigned)
    for nonsense in (b"", b"no checkpoint", b"\xff\xfe"):
        file.write_bytes(nonsense)
        code, error = refusal_of(data, "log", "checkpoint", "--cosigned", str(file))
        assert (code, error.startswith("eventapi: ")) == (1, True)


@pytest.mark.parametrize(
    "options",
    [
        ("--key", "--newest-cosigned"),
        ("--key", "--cosigned", "-"),
        ("--cosigned", "-", "--newest-cosigned"),
    ],
)
def test_options_of_a_checkpoint_that_exclude_each_other_are_misuse(
    data: Path, options: tuple[str, ...]
) -> None:
    """One of them would be ignored: a cosignature would not be stored."""
    code, error = refusal_of(data, "log", "checkpoint", *options)
    assert (code, "give only one of --key, --cosigned and" in error) == (2, True)


def verify_log(path: Path, *options: str) -> tuple[int, str]:
    result = invoke(path.parent, "log", "verify", str(path), *options)
    return result.exit_code, result.output


@pytest.fixture
def signed(data: Path) -> Path:
    """The checkpoint of the log, in a file."""
    file = data.parent / "checkpoint"
    file.write_text(output_of(data, "log", "checkpoint"))
    return file


def test_verify_accepts_a_log_that_continues_a_checkpoint(data: Path, signed: Path) -> None:
    key = output_of(data, "log", "checkpoint", "--key").strip()
    log = data / "events.jsonl"
    assert verify_log(log, "--checkpoint", str(signed), "--key", key)[0] == 0
    written(data, create_item(1, Content("one more")))
    assert verify_log(log, "--checkpoint", str(signed), "--key", key)[0] == 0
    assert verify_log(log, "--checkpoint", signed.as_uri())[0] == 3


def test_verify_finds_a_log_that_does_not_continue_a_checkpoint(data: Path, signed: Path) -> None:
    """The chain of the log is valid, but it was rewritten or truncated."""
    other = data.parent / "other"
    written(other, RegisterUser(profile("ann")), *[create_item(1, Content("x"))] * 9)
    code, output = verify_log(other / "events.jsonl", "--checkpoint", str(signed))
    assert code == 1
    assert "checkpoint at position 10" in output
    assert "the first 10 events are not those of the checkpoint" in output
    short = data.parent / "short.jsonl"
    short.write_bytes(b"".join(line + b"\n" for line in lines_of(data)[:7]))
    code, output = verify_log(short, "--checkpoint", str(signed))
    assert code == 1
    assert "the checkpoint is of 10 events, the file has 7" in output


def test_verify_refuses_a_checkpoint_of_another_key(data: Path, signed: Path) -> None:
    log = data / "events.jsonl"
    code, output = verify_log(log, "--checkpoint", str(signed), "--key", WITNESS.verifier.vkey)
    assert code == 1
    assert "is not signed by" in output
    for key in ("nonsense", "a+b+c"):
        assert verify_log(log, "--checkpoint", str(signed), "--key", key)[0] == 2
    assert verify_log(log, "--key", WITNESS.verifier.vkey)[0] == 2
    for other in (str(log), "/dev/zero"):
        assert verify_log(log, "--checkpoint", other)[0] == 3
    assert verify_log(log, "--checkpoint", "http://127.0.0.1:1/log/checkpoint")[0] == 3


def test_control_characters_of_another_server_are_escaped(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("HTTP Error 404: gone\r\n\x1b[2Jfor ever")

    monkeypatch.setattr(verify_module, "urlopen", refuse)
    code, output = verify_log(
        data / "events.jsonl", "--checkpoint", "http://localhost/log/checkpoint"
    )
    assert (code, message_in(output).isprintable()) == (3, True)


def test_prefix_of_accepts_a_backup_of_the_log(data: Path) -> None:
    log, backup = data / "events.jsonl", data.parent / "backup.jsonl"
    backup.write_bytes(log.read_bytes())
    written(data, create_item(1, Content("one more")))
    assert verify_log(backup, "--prefix-of", str(log))[0] == 0
    code, output = verify_log(log, "--prefix-of", str(backup))
    assert code == 1
    assert "The other file ends after event 10: it is shorter than this one." in output
    assert "DAMAGED" not in output


def test_prefix_of_reports_damage_and_the_first_difference(data: Path) -> None:
    backup = data.parent / "backup.jsonl"
    content = bytearray((data / "events.jsonl").read_bytes())
    at = content.index(b"items/3")
    content[at] ^= 1
    backup.write_bytes(content)
    code, output = verify_log(backup, "--json", "--prefix-of", str(data / "events.jsonl"))
    report = json.loads(output)
    assert (code, report["ok"]) == (1, False)
    damage, difference = report["findings"]
    position, offset = content.count(b"\n", 0, at) + 1, content.rindex(b"\n", 0, at) + 1
    assert (damage["kind"], damage["position"], damage["offset"]) == ("damaged", position, offset)
    assert (difference["kind"], difference["position"]) == ("prefix", position)
    assert difference["offset"] == offset
    assert f"from byte {at} on" in difference["detail"]
