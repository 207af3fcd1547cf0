"""The keyed hashes of names and addresses: stable for ever, and apart for each key."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from eventapi.failed_logins.hashes import address_hash, address_hash_of_user, name_hash
from eventapi.testing.given import SOURCE
from events.sealing import derive_key

SECRET = b"a secret key for tests"
ANN, BOB = AESGCM(b"a" * 32), AESGCM(b"b" * 32)


def test_the_hashes_never_change() -> None:
    """Otherwise an event would be written again, and a name could not be followed."""
    assert name_hash(SECRET, SOURCE, "nobody") == "1aae5f2bf7f05e3ede301c3f7c2c45d9"
    assert address_hash(SECRET, SOURCE, "192.0.2.1") == "9f745fd1b78ed2438d458b31c039d144"
    assert address_hash_of_user(ANN, "192.0.2.1") == "604ace1e5c6ab4191e8cfe4553209276"


def test_each_key_log_and_purpose_has_hashes_of_its_own() -> None:
    found = [
        name_hash(SECRET, SOURCE, "192.0.2.1"),
        name_hash(b"another", SOURCE, "192.0.2.1"),
        name_hash(SECRET, "urn:uuid:other", "192.0.2.1"),
        address_hash(SECRET, SOURCE, "192.0.2.1"),
        address_hash(SECRET, SOURCE, "192.0.2.2"),
        address_hash_of_user(ANN, "192.0.2.1"),
        address_hash_of_user(ANN, "192.0.2.2"),
        address_hash_of_user(BOB, "192.0.2.1"),
    ]
    assert len(set(found)) == len(found)


def test_a_derived_key_depends_on_the_user_and_the_purpose() -> None:
    keys = [derive_key(ANN, b"one"), derive_key(ANN, b"other"), derive_key(BOB, b"one")]
    assert {len(key) for key in keys} == {32}
    assert len(set(keys)) == 3
    assert derive_key(AESGCM(b"a" * 32), b"one") == keys[0]
