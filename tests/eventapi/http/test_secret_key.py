"""A lost secret key: what a start reports when sessions were begun with another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.eventapi.http.client import Api, quiet_settings


def started(data: Path, like: Api | None = None) -> Api:
    """An app with the key in a directory, and with the log and vault of another app."""
    settings = quiet_settings(secret_key=None, data=str(data))
    return Api(settings) if like is None else Api(settings, log=like.log, vault=like.vault)


def test_a_lost_key_is_reported_with_what_it_means_and_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with started(tmp_path) as first:
        ann = first.caller("ann")
    (tmp_path / "secret.key").unlink()
    assert caplog.records == []
    with started(tmp_path, first) as second:
        assert second.request("GET", "/auth/me", token=ann.token).status_code == 401
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert f"{tmp_path / 'secret.key'} was missing" in record.getMessage()
    assert "1 session(s)" in record.getMessage()
    assert "from a backup" in record.getMessage()


def test_a_key_that_is_there_is_not_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with started(tmp_path) as first:
        ann = first.caller("ann")
    with started(tmp_path, first) as second:
        assert second.request("GET", "/auth/me", token=ann.token).status_code == 200
    assert caplog.records == []


def test_a_first_start_beside_a_log_without_sessions_is_not_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with started(tmp_path / "one") as first:
        first.register("ann")
    with started(tmp_path / "two", first) as second:
        assert second.login("ann").status_code == 200
    assert caplog.records == []
