"""Witnesses cosign the newest checkpoint; one that fails or lies disturbs nothing."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from eventapi.witnesses import client as client_module
from eventapi.witnesses.tasks import Pace
from events.transparency.cosignature import Cosigner
from events.transparency.signed_note import Note, TreeHead
from tests.eventapi.followers.following import until
from tests.eventapi.witnesses.process import (
    QUICK,
    cosigning,
    warnings_in,
)
from tests.eventapi.witnesses.witness_server import Running

LIES = ["stale", "future", "never", "forged", "stranger", "plain", "nonsense", "empty", "note"]
FAILURES = ["stall", "close", "torn", "huge", "redirect", "400", "403", "404", "429", "500"]
ODD_SIZES = ["409", "size x", "size -1", "size 007", "size ", "size 99999999999999999999"]


def signers(note: Note) -> list[str]:
    return sorted(one.name for one in note.signatures if not one.name.startswith("eventapi/"))


async def test_every_witness_cosigns_the_newest_checkpoint(
    tmp_path: Path, first: Running, second: Running
) -> None:
    async with cosigning(tmp_path / "data", [first, second]) as instance:
        note = await instance.until_cosigned(300)

        assert signers(note) == ["witness.example/w1", "witness.example/w2"]
        for running in (first, second):
            assert Cosigner.parse(running.witness.vkey).newest(note) is not None
            assert running.witness.latest(TreeHead.parse(note).origin)[0] == 300


async def test_a_log_that_grows_is_cosigned_again_with_a_proof(
    tmp_path: Path, first: Running
) -> None:
    async with cosigning(tmp_path / "data", [first]) as instance:
        for size in (300, 301, 512, 1_700):
            instance.log.extend(size)
            await instance.until_cosigned(size)

        assert first.witness.statuses == [200] * 4
        assert [body.split(b"\n")[0] for body in first.witness.requests] == [
            b"old 0",
            b"old 300",
            b"old 301",
            b"old 512",
        ]


async def test_an_empty_log_is_not_submitted(tmp_path: Path, first: Running) -> None:
    async with cosigning(tmp_path / "data", [first], size=0) as instance:
        await until(lambda: instance.tasks._stored is None)
        await asyncio.sleep(0.05)
        assert first.witness.requests == []

        instance.log.extend(1)
        await instance.until_cosigned(1)


async def test_a_log_that_does_not_grow_is_cosigned_again_for_a_newer_time(
    tmp_path: Path, first: Running
) -> None:
    pace = Pace(0.01, 0.01, 0.01, QUICK.backoff)
    async with cosigning(tmp_path / "data", [first], pace=pace) as instance:
        note = await instance.until_cosigned(300)
        await instance.until_asked(3)

        again = await instance.until_cosigned(300)
        assert again.text == note.text
        assert len(again.signatures) == 2  # A new signature of a witness replaces its old one.
        assert set(first.witness.statuses) == {200}


@pytest.mark.parametrize("size", [0, 1, 200, 256])
async def test_a_witness_with_another_size_is_sent_a_proof_from_that_size(
    tmp_path: Path, first: Running, size: int
) -> None:
    """The witness was restored, or this server was restarted."""
    async with cosigning(tmp_path / "data", [first]) as instance:
        note = await instance.until_cosigned(300)
        origin = TreeHead.parse(note).origin
        root = await instance.checkpoints.tree.root(size)
        first.witness.store(origin, size, root)

        instance.log.extend(400)
        await instance.until_cosigned(400)

        assert first.witness.statuses == [200, 409, 200]


# Failures


@pytest.mark.parametrize("fault", FAILURES + LIES + ODD_SIZES)
async def test_a_witness_that_fails_or_lies_delays_neither_the_others_nor_itself(
    tmp_path: Path,
    first: Running,
    second: Running,
    fault: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first.witness.faults = [fault]
    async with cosigning(tmp_path / "data", [first, second], needed=1) as instance:
        note = await instance.until_cosigned(300)
        assert signers(note) == ["witness.example/w2"]
        await until(lambda: ("w1", True) in instance.counts)
        assert len([one for one in warnings_in(caplog) if "witness w1 has not" in one]) == 1
        assert not warnings_in(caplog, logging.ERROR)

        first.witness.released.set()
        first.witness.faults = []
        await until(lambda: ("w1", False) in instance.counts)
        await until(lambda: any("witness w1 cosigns again" in one for one in warnings_in(caplog)))
        await until(lambda: instance.tasks.status.witnesses["w1"] is not None)
        assert len(signers(await instance.until_cosigned(300))) == 2


@pytest.mark.parametrize("fault", LIES)
async def test_a_lie_is_never_stored(tmp_path: Path, first: Running, fault: str) -> None:
    first.witness.faults = [fault]
    async with cosigning(tmp_path / "data", [first]) as instance:
        await instance.until_asked(3)

        assert await instance.cosigned() is None
        assert len((await instance.checkpoints.current()).signatures) == 1


@pytest.mark.parametrize("fault", ["forged", "stranger", "plain"])
async def test_control_without_the_check_of_signatures_a_lie_is_stored(
    tmp_path: Path, first: Running, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def believe(_: Cosigner, note: Note) -> object:
        others = [one for one in note.signatures if not one.name.startswith("eventapi/")]
        return (int(first.witness.now()), others[-1]) if others else None

    monkeypatch.setattr(Cosigner, "newest", believe)
    first.witness.faults = [fault]
    async with cosigning(tmp_path / "data", [first]) as instance:
        await instance.until_cosigned(300)


@pytest.mark.parametrize("fault", ["stale", "future"])
async def test_control_without_the_check_of_times_an_old_cosignature_is_stored(
    tmp_path: Path, first: Running, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "MAX_SKEW_SECONDS", 10_000)
    first.witness.faults = [fault]
    async with cosigning(tmp_path / "data", [first]) as instance:
        await instance.until_cosigned(300)


async def test_lines_of_unknown_keys_are_not_stored(tmp_path: Path, first: Running) -> None:
    first.witness.faults = ["many"]
    async with cosigning(tmp_path / "data", [first]) as instance:
        assert signers(await instance.until_cosigned(300)) == ["witness.example/w1"]


async def test_an_unknown_log_is_named_with_what_to_do(
    tmp_path: Path, first: Running, caplog: pytest.LogCaptureFixture
) -> None:
    async with cosigning(tmp_path / "data", [first]) as instance:
        first.witness.logs.clear()
        instance.log.extend(999)
        await until(lambda: any(failed for _, failed in instance.counts))

        (warning,) = warnings_in(caplog)
        assert "it does not know this log" in warning
        assert "`eventapi log checkpoint --key`" in warning


async def test_a_checkpoint_is_served_while_a_witness_stalls(
    tmp_path: Path, first: Running
) -> None:
    first.witness.faults = ["stall"]
    async with cosigning(tmp_path / "data", [first]) as instance:
        await until(lambda: bool(first.witness.requests))
        instance.log.extend(400)

        assert TreeHead.parse(await instance.checkpoints.current()).size == 400
        assert instance.counts == []  # The witness still has not answered.
        assert instance.tasks.is_overdue


# Quorum


async def test_too_few_cosignatures_are_not_served(
    tmp_path: Path, first: Running, second: Running
) -> None:
    async with cosigning(tmp_path / "data", [first, second], needed=2) as instance:
        await instance.until_cosigned(300)
        second.witness.faults = ["500"]
        instance.log.extend(400)
        await until(
            lambda: ("w1", False) in instance.counts[2:] and ("w2", True) in instance.counts
        )

        assert await instance.cosigned_size() == 300
        assert instance.tasks.times["w1"] > 0

        second.witness.faults = []
        note = await instance.until_cosigned(400)
        assert signers(note) == ["witness.example/w1", "witness.example/w2"]


async def test_status_names_each_witness_and_an_old_checkpoint(
    tmp_path: Path, first: Running, second: Running
) -> None:
    second.witness.faults = ["500"]
    async with cosigning(tmp_path / "data", [first, second], needed=1) as instance:
        assert instance.tasks.status.cosigned_at is None
        await instance.until_cosigned(300)
        await until(lambda: instance.tasks.status.size == 300)

        status = instance.tasks.status
        assert not instance.tasks.is_overdue
        assert status.witnesses["w1"] == status.cosigned_at
        assert status.witnesses["w2"] is None
        instance.tasks._now = lambda: first.witness.now() + 1_000
        assert instance.tasks.is_overdue
