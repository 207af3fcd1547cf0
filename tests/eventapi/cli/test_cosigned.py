"""``log checkpoint --cosigned`` with a policy, and ``log verify --witnesses``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from eventapi.commands.users import RegisterUser
from eventapi.testing.given import profile
from events.transparency.signed_note import Note, Signer
from tests.eventapi.cli.running import invoke, message_in, output_of, written
from tests.eventapi.witnesses.witness_server import Witness

OTHER = Signer.from_seed(bytes(range(32)), "eventapi/").verifier


@pytest.fixture
def data(tmp_path: Path) -> Path:
    written(tmp_path / "data", RegisterUser(profile("ann")))
    return tmp_path / "data"


@pytest.fixture
def witnesses(tmp_path: Path) -> list[Witness]:
    return [
        Witness(tmp_path, f"witness.example/w{number}", bytes([number]) * 32)
        for number in range(1, 4)
    ]


@pytest.fixture
def policy(tmp_path: Path, witnesses: Sequence[Witness]) -> Path:
    """Two of the three witnesses."""
    lines = [f"witness w{number} {one.vkey}" for number, one in enumerate(witnesses, 1)]
    file = tmp_path / "policy"
    file.write_text("\n".join([*lines, "group two 2 w1 w2 w3", "quorum two", ""]))
    return file


def cosigned(data: Path, witnesses: Sequence[Witness]) -> str:
    note = Note.parse(output_of(data, "log", "checkpoint"))
    return str(note) + "".join(one.cosignature(note.text, 1_700_000_000) for one in witnesses)


def verify(data: Path, policy: Path, checkpoint: str) -> tuple[int, str]:
    file = data.parent / "checkpoint"
    file.write_text(checkpoint)
    log = str(data / "events.jsonl")
    result = invoke(
        data, "log", "verify", log, "--checkpoint", str(file), "--witnesses", str(policy)
    )
    return result.exit_code, result.output


def test_verify_needs_a_checkpoint_that_satisfies_the_policy(
    data: Path, policy: Path, witnesses: Sequence[Witness]
) -> None:
    for enough in ([0, 1], [1, 2], [0, 1, 2]):
        assert verify(data, policy, cosigned(data, [witnesses[one] for one in enough]))[0] == 0
    for few, names in (([], "none"), ([1], "w2"), ([2, 2], "w3")):
        code, output = verify(data, policy, cosigned(data, [witnesses[one] for one in few]))
        assert code == 1
        assert f"valid cosignatures: {names}" in output


def test_verify_accepts_only_the_logs_of_the_policy(
    data: Path, policy: Path, witnesses: Sequence[Witness]
) -> None:
    checkpoint = cosigned(data, witnesses)
    text = policy.read_text()
    policy.write_text(f"log {OTHER.vkey}\n{text}")
    code, output = verify(data, policy, checkpoint)
    assert (code, f"is not signed by {OTHER.name}" in output) == (1, True)

    policy.write_text(f"{policy.read_text()}log {output_of(data, 'log', 'checkpoint', '--key')}")
    assert verify(data, policy, checkpoint)[0] == 0


@pytest.mark.parametrize("content", [b"", b"quorum w1\n", b"\xff", b"quorum none\n" * 9_999])
def test_a_policy_that_cannot_be_used_is_named(data: Path, policy: Path, content: bytes) -> None:
    checkpoint = output_of(data, "log", "checkpoint")
    policy.write_bytes(content)
    code, output = verify(data, policy, checkpoint)
    assert (code, f"the policy {policy} cannot be used" in output) == (3, True)
    result = invoke(data, "log", "checkpoint", EVENTAPI_WITNESSES=str(policy))
    assert result.exit_code == 3
    assert "Traceback" not in result.output


def test_witnesses_without_a_checkpoint_are_refused(data: Path, policy: Path) -> None:
    assert invoke(data, "log", "verify", "--witnesses", str(policy)).exit_code == 2
    directory = invoke(
        data, "log", "verify", "--checkpoint", "x", "--witnesses", str(policy.parent)
    )
    assert (directory.exit_code, "not a regular file" in directory.output) == (3, True)


def test_with_a_policy_only_a_checkpoint_that_satisfies_it_is_stored(
    data: Path, policy: Path, witnesses: Sequence[Witness]
) -> None:
    setting = {"EVENTAPI_WITNESSES": str(policy)}

    def store(checkpoint: str) -> tuple[int, str]:
        result = invoke(data, "log", "checkpoint", "--cosigned", "-", typed=checkpoint, **setting)
        return result.exit_code, result.output

    code, output = store(cosigned(data, witnesses[:1]))
    assert (code, message_in(output)) == (1, "too few witnesses of the policy have cosigned it")
    assert invoke(data, "log", "checkpoint", "--newest-cosigned", **setting).exit_code == 1

    enough = cosigned(data, witnesses[:2])
    assert store(enough) == (0, enough)
    assert invoke(data, "log", "checkpoint", "--newest-cosigned", **setting).output == enough

    written(data, RegisterUser(profile("bob")))
    assert store(cosigned(data, witnesses[2:]))[0] == 1
    assert invoke(data, "log", "checkpoint", "--newest-cosigned", **setting).output == enough


def test_an_older_cosigned_checkpoint_counts_if_the_newer_one_does_not_satisfy_the_policy(
    data: Path, policy: Path, witnesses: Sequence[Witness]
) -> None:
    """The policy was changed since the newer one was stored."""
    older = cosigned(data, witnesses)
    written(data, RegisterUser(profile("bob")))
    newer = cosigned(data, witnesses[:1])
    assert invoke(data, "log", "checkpoint", "--cosigned", "-", typed=newer).exit_code == 0

    setting = {"EVENTAPI_WITNESSES": str(policy)}
    result = invoke(data, "log", "checkpoint", "--newest-cosigned", **setting)
    assert result.exit_code == 1
    result = invoke(data, "log", "checkpoint", "--cosigned", "-", typed=older, **setting)
    assert (result.exit_code, result.output) == (0, older)
