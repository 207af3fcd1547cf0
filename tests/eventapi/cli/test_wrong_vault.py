"""A vault of another log is named as a possible cause where no key opens any seal."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from eventapi.commands.users import RegisterUser
from eventapi.testing.given import profile
from tests.eventapi.cli.running import invoke, log_of, message_in, refusal_of, written

REASON = "is DAMAGED, or the vault is that of another log: no key opens any of its seals"


@pytest.fixture
def other_keys(tmp_path: Path) -> Path:
    """The vault of another log, with keys of the same users."""
    written(tmp_path / "other", *[RegisterUser(profile(name)) for name in ("eve", "mia")])
    return tmp_path / "other" / "vault.sqlite"


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_verify_reports_the_vault_of_another_log(
    data: Path, other_keys: Path, form: tuple[str, ...]
) -> None:
    shutil.copy(other_keys, data / "vault.sqlite")
    assert invoke(data, "log", "verify").exit_code == 0

    result = invoke(data, "log", "verify", "--seals", *form)

    assert (result.exit_code, REASON in result.stdout) == (1, True)


def test_damage_is_reported_also_with_the_vault_of_another_log(
    data: Path, other_keys: Path
) -> None:
    shutil.copy(other_keys, data / "vault.sqlite")
    (data / "events.jsonl").write_bytes(log_of(data).replace(b'"items/7"', b'"items/8"'))

    result = invoke(data, "log", "verify", "--seals")

    assert (result.exit_code, "is DAMAGED: good up to" in result.stdout) == (1, True)


def test_a_forged_log_is_reported_also_if_its_seals_are_forged(
    data: Path, other_keys: Path
) -> None:
    assert invoke(data, "log", "checkpoint").exit_code == 0
    for name in ("events.jsonl", "events.jsonl.mark"):
        shutil.copy(other_keys.parent / name, data / name)

    result = invoke(data, "log", "verify", "--seals")

    assert (result.exit_code, "checkpoint at position" in result.stdout) == (1, True)


def test_a_copy_of_the_keys_needs_the_vault_of_the_log(
    data: Path, other_keys: Path, tmp_path: Path
) -> None:
    shutil.copy(other_keys, data / "vault.sqlite")
    copied = tmp_path / "copied.jsonl"

    code, error = refusal_of(data, "log", "copy", str(copied), "--vault", str(tmp_path / "keys"))

    assert (code, "the seal is broken" in message_in(error)) == (1, True)
    assert not (tmp_path / "keys").exists()


def test_a_restore_needs_the_vault_of_the_log(
    backup: Path, other_keys: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new"

    code, error = refusal_of(new, "log", "restore", str(backup), "--vault", str(other_keys))

    assert (code, message_in(error)) == (
        1,
        f"nothing was restored: {backup / 'events.jsonl'} {REASON}",
    )
    assert not new.exists()
