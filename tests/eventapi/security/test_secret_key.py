"""The secret key: refused if weak, made once, readable by its owner only."""

from __future__ import annotations

import os
import stat
import string
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject, data

from eventapi.security.secret_key import parse_keys, secret_keys
from eventapi.security.tokens import MIN_KEY_BYTES, RefreshClaims, Tokens
from events.errors import ConfigurationError, Unauthenticated
from events.io.files import make_private

GOOD = "c0a8f3e1d97b4465b2807f19e36ad5c4"
OLD = "7e02b94fc15d8a6390b7fe4d21c8a53f"


def test_a_key_of_the_setting_is_used_and_nothing_is_written(tmp_path: Path) -> None:
    assert secret_keys(GOOD, tmp_path / "data") == [GOOD]
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "key",
    [
        "",
        "short",
        GOOD[:-1],
        "a" * 64,
        "ab" * 32,
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
        "09D25E094FAA6CA2556C818166B7A9563B93F7099F6F0F4CAA6CF63B88E8D3E7",
        "your-secret-key-change-this-in-production",
        "changeme-changeme-changeme-changeme",
        "changeme1-changeme2-changeme3-changeme4",
        "Passw0rd!PASSW0RD!passw0rd!Passw0rd!",
        "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
        "a-string-secret-at-least-256-bits-long",
        "replace-me-with-a-long-random-string",
        "abcdefghijklmnopqrstuvwxyz0123456789",
        "12345678901234567890123456789012",
    ],
)
def test_a_weak_or_well_known_key_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigurationError, match="SECRET_KEY"):
        secret_keys(key, tmp_path)
    with pytest.raises(ConfigurationError, match="SECRET_KEY"):
        Tokens([key], 60)
    (tmp_path / "secret.key").write_text(key)
    with pytest.raises(ConfigurationError, match="SECRET_KEY"):
        secret_keys(None, tmp_path)


_SPELLINGS: dict[str, Callable[[bytes], str]] = {
    "hexadecimal": bytes.hex,
    "base64": lambda random: b64encode(random).decode(),
    "base64url": lambda random: urlsafe_b64encode(random).decode(),
    "base64url without padding": lambda random: urlsafe_b64encode(random).decode().rstrip("="),
}


@pytest.mark.parametrize("spelling", _SPELLINGS)
@pytest.mark.parametrize("length", [32, 48])
@given(data())
def test_a_random_key_is_accepted(spelling: str, length: int, drawn: DataObject) -> None:
    """The bytes are the system's, because Hypothesis prefers predictable ones."""
    drawn.draw(st.integers())  # Else Hypothesis would try one example only.
    key = _SPELLINGS[spelling](os.urandom(length))
    assert parse_keys(key) == [key]


@given(
    st.sampled_from(["0123456789abcdef", string.ascii_letters + string.digits + "-_"]).flatmap(
        lambda letters: st.randoms(use_true_random=True).map(
            lambda chance: "".join(chance.choices(letters, k=32))
        )
    )
)
def test_a_random_key_of_32_characters_is_accepted(key: str) -> None:
    assert parse_keys(key) == [key]


@given(word=st.text(min_size=1, max_size=15), times=st.integers(3, 40))
def test_a_repeated_short_word_is_refused(word: str, times: int) -> None:
    with pytest.raises(ConfigurationError, match="SECRET_KEY"):
        parse_keys(word.replace(",", "-") * times)


def test_a_refusal_shows_how_to_make_a_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"secrets\.token_urlsafe"):
        secret_keys("changeme-" * 8, tmp_path)


def test_a_refusal_does_not_contain_the_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        secret_keys("hunter2-hunter2", tmp_path)
    assert "hunter2" not in str(refusal.value)


def test_a_key_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    data = tmp_path / "deep" / "data"
    made = secret_keys(None, data)
    assert len(made) == 1
    assert len(made[0].encode()) >= MIN_KEY_BYTES
    assert secret_keys(None, data) == made
    assert [path.name for path in data.iterdir()] == ["secret.key"]
    assert stat.S_IMODE((data / "secret.key").stat().st_mode) == 0o600
    assert secret_keys(None, tmp_path / "other") != made


def test_the_second_of_two_processes_gets_the_key_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = secret_keys(None, tmp_path)
    monkeypatch.setattr(Path, "exists", lambda _: False)
    make_private(tmp_path / "secret.key", b"another")
    assert secret_keys(None, tmp_path) == first


def test_many_threads_get_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        keys = {
            tuple(stored)
            for stored in threads.map(lambda _: secret_keys(None, tmp_path), range(32))
        }
    assert len(keys) == 1


def test_a_key_that_cannot_be_made_or_read_is_reported_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="file"):
        secret_keys(None, tmp_path / "file")
    (tmp_path / "secret.key").write_bytes(b"\xff" * 40)
    with pytest.raises(ConfigurationError, match=r"secret\.key"):
        secret_keys(None, tmp_path)


def test_a_new_data_directory_is_private(tmp_path: Path) -> None:
    secret_keys(None, tmp_path / "new" / "data")
    assert stat.S_IMODE((tmp_path / "new" / "data").stat().st_mode) == 0o700


def test_old_keys_follow_the_key_that_signs(tmp_path: Path) -> None:
    assert secret_keys(f"{GOOD} , {OLD}", tmp_path) == [GOOD, OLD]
    (tmp_path / "secret.key").write_text(f"{GOOD}\n{OLD}\n")
    assert secret_keys(None, tmp_path) == [GOOD, OLD]


@pytest.mark.parametrize("old", ["", "short", "a" * 64])
def test_a_weak_old_key_is_refused(tmp_path: Path, old: str) -> None:
    with pytest.raises(ConfigurationError, match="SECRET_KEY"):
        secret_keys(f"{GOOD},{old}", tmp_path)


def test_a_token_of_an_old_key_is_valid_until_the_key_is_removed() -> None:
    refresh = RefreshClaims("5e" * 16, 3)
    before, between, after = Tokens([OLD], 60), Tokens([GOOD, OLD], 60), Tokens([GOOD], 60)
    token, renewed = before.issue("ann", "5e" * 16, 0), between.issue("ann", "5e" * 16, 0)
    assert between.claims(token, 1).sub == "ann"
    assert between.refresh_claims(before.refresh_token(refresh)) == refresh
    assert after.claims(renewed, 1).sub == "ann"
    assert after.refresh_claims(between.refresh_token(refresh)) == refresh
    with pytest.raises(Unauthenticated):
        after.claims(token, 1)
    with pytest.raises(Unauthenticated):
        after.refresh_claims(before.refresh_token(refresh))
