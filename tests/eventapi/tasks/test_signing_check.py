"""The background check of the signing key reports a change once, however often it looks."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from eventapi.tasks.signing_check import SigningCheck
from tests.events.transparency.test_checkpoints import checkpoints, log_with_change, sign


def test_a_log_that_contradicts_its_checkpoint_is_reported_once_without_a_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sign(tmp_path, 5)
    check = SigningCheck(checkpoints(tmp_path, 9, log_with_change(9, 2)))
    for _ in range(3):
        asyncio.run(check.check())
    assert check.is_ok is False
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "The log contradicts its last checkpoint" in record.message
    assert "Writes continue" in record.message


def test_restored_key_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sign(tmp_path, 5)
    key = tmp_path / "events.jsonl.key"
    key.rename(tmp_path / "kept")
    check = SigningCheck(checkpoints(tmp_path, 9))
    asyncio.run(check.check())
    (tmp_path / "kept").rename(key)
    asyncio.run(check.check())
    assert check.is_ok is True
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_a_key_that_cannot_be_read_suspends_the_signing_and_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sign(tmp_path, 5)
    (tmp_path / "events.jsonl.key").write_text("nonsense")
    check = SigningCheck(checkpoints(tmp_path, 9))
    for _ in range(3):
        asyncio.run(check.check())
    assert check.is_ok is False
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "events.jsonl.key cannot be read" in record.message


def test_log_that_continues_its_checkpoint_is_not_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sign(tmp_path, 5)
    check = SigningCheck(checkpoints(tmp_path, 9))
    asyncio.run(check.check())
    assert check.is_ok is True
    assert not caplog.records
