"""A witness that has seen another history of the log is a loud error, not a stop."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from events.transparency.signed_note import TreeHead
from tests.eventapi.witnesses.process import (
    Instance,
    cosigning,
    warnings_in,
)
from tests.eventapi.witnesses.witness_server import Running


async def _restored(folder: Path, running: Running, size: int, changed: int) -> Instance:
    """An instance over another log with the same key, after a witness has seen the first."""
    async with cosigning(folder, [running]) as instance:
        await instance.until_cosigned(300)
    for suffix in ("signed", "checkpoint", "cosigned"):
        (folder / f"events.jsonl.{suffix}").unlink()
    running.witness.statuses.clear()
    log = type(instance.log)(size)
    if changed < size:
        log.replace(changed, b"another")
    policy = instance.checkpoints.policy
    assert policy is not None
    restored = Instance(folder, log, policy)
    note = (await restored.checkpoints.signing_state()).signer
    assert note is not None
    head = TreeHead(note.verifier.name, size, await _root(restored, size))
    await restored.checkpoints.confirm(note.sign(str(head)))
    return restored


async def _root(instance: Instance, size: int) -> bytes:
    await instance.checkpoints.tree.grow()
    return await instance.checkpoints.tree.root(size)


@pytest.mark.parametrize(
    ("size", "changed", "reason"),
    [
        (200, 999, "it has seen 300 events, and the newest checkpoint covers 200"),
        (300, 7, "it has seen 300 events, which are not those of this log"),
        (400, 7, "the first 300 events of the log are not the ones that it has seen"),
    ],
)
async def test_a_log_that_was_rolled_back_or_changed_is_a_loud_error(  # noqa: PLR0917 - a case
    tmp_path: Path,
    first: Running,
    size: int,
    changed: int,
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    instance = await _restored(tmp_path / "data", first, size, changed)
    instance.start()
    await instance.until_asked(3)
    await instance.stop()

    (error,) = warnings_in(caplog, logging.ERROR)  # Logged once, not with each attempt.
    assert f"the witness w1 contradicts this log: {reason}" in error
    assert await instance.cosigned() is None
    assert 200 not in first.witness.statuses
    assert TreeHead.parse(await instance.checkpoints.current()).size == size


async def test_a_witness_ahead_of_this_process_is_no_contradiction(
    tmp_path: Path, first: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """Another instance has just submitted a newer checkpoint."""
    async with cosigning(tmp_path / "data", [first]) as instance:
        note = await instance.until_cosigned(300)
        instance.log.extend(500)
        newer = TreeHead.parse(await instance.checkpoints.current())
        first.witness.store(newer.origin, newer.size, newer.root)
        policy = instance.checkpoints.policy
        assert policy is not None

        with pytest.raises(Exception, match="which is submitted next"):
            await instance.tasks._client.cosign(policy.witnesses["w1"], note, 300)

        await instance.until_cosigned(500)
    assert not warnings_in(caplog, logging.ERROR)


async def test_a_rolled_back_witness_does_not_roll_the_log_back(
    tmp_path: Path, first: Running
) -> None:
    async with cosigning(tmp_path / "data", [first]) as instance:
        note = await instance.until_cosigned(300)
        for file in first.witness.directory.glob("*.json"):
            file.unlink()
        instance.log.extend(301)

        assert TreeHead.parse(await instance.until_cosigned(301)).size == 301
        assert first.witness.latest(TreeHead.parse(note).origin)[0] == 301
