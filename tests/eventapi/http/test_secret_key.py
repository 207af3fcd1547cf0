"""A lost secret key: a start reports that sessions exist which another key signed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.eventapi.http.client import Api, quiet_settings


def app_in(data: Path, like: Api | None = None) -> Api:
    """An app whose key is in a directory, with the log and vault of another app."""
    settings = quiet_settings(secret_key=None, data=str(data))
    return Api(settings) if like is None else Api(settings, log=like.log, vault=like.vault)


def test_a_lost_key_is_reported_with_its_consequence_and_the_remedy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with app_in(tmp_path) as first:
        ann = first.caller("ann")
    (tmp_path / "secret.key").unlink()
    assert caplog.records == []

    with app_in(tmp_path, first) as second:
        assert second.request("GET", "/auth/me", token=ann.token).status_code == 401
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert f"{tmp_path / 'secret.key'} was missing" in record.getMessage()
    assert "1 session(s)" in record.getMessage()
    assert "from a backup" in record.getMessage()


def test_an_existing_key_is_not_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with app_in(tmp_path) as first:
        ann = first.caller("ann")
    with app_in(tmp_path, first) as second:
        assert second.request("GET", "/auth/me", token=ann.token).status_code == 200

    assert caplog.records == []


def test_a_new_key_for_a_log_without_sessions_is_not_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with app_in(tmp_path / "one") as first:
        first.register("ann")
    with app_in(tmp_path / "two", first) as second:
        assert second.login("ann").status_code == 200

    assert caplog.records == []
