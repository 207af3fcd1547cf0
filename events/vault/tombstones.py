"""Tombstones: the erased subjects, with fingerprints of their destroyed keys.

A tombstone is a subject and the SHA-256 of the destroyed key. A copy of the vault from before the
erasure still has that key: the fingerprint distinguishes it from the key of another user who got
the same number later, after a rewind of the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

import msgspec

from events.vault.port import Vault

UNKNOWN = b""
"""The fingerprint of a key that was destroyed before there were fingerprints, or never existed."""


def fingerprint(key: bytes) -> bytes:
    """Return the SHA-256 of a key, which reveals nothing because keys are random."""
    return sha256(key).digest()


class VaultContents(msgspec.Struct, frozen=True):
    """The keys and tombstones of a vault, by subject (``users/7``)."""

    keys: Mapping[str, bytes] = {}
    tombstones: Mapping[str, frozenset[bytes]] = {}

    @property
    def erased(self) -> frozenset[str]:
        """The subjects that have a tombstone and no key but the destroyed one."""
        return frozenset(
            subject
            for subject, fingerprints in self.tombstones.items()
            if subject not in self.keys or fingerprint(self.keys[subject]) in fingerprints
        )


async def contents_of(vault: Vault) -> VaultContents:
    """Read a vault; a key that is destroyed during the call counts as destroyed."""
    # Keys first: in the other order a subject could seem to have neither key nor tombstone.
    keys = await vault.all()
    return VaultContents(keys, await vault.tombstones())


def may_be_destroyed(subject: str, key: bytes, own: VaultContents, copy: VaultContents) -> bool:
    """Whether a key of a copy may be a destroyed one, by the tombstones of both.

    A tombstone without a fingerprint in ``own`` may be that of any key of the subject, unless the
    copy has the same tombstone, because then it got the key after the erasure.
    """
    known = copy.tombstones.get(subject, frozenset())
    fingerprints = own.tombstones.get(subject, frozenset()) | known
    return fingerprint(key) in fingerprints or (UNKNOWN in fingerprints and UNKNOWN not in known)


def merge(own: VaultContents, copy: VaultContents) -> VaultContents:
    """Return the contents of a vault merged with a copy's; no erasure is forgotten.

    A key of the copy replaces one of the vault, unless it may be a destroyed one.
    """
    tombstones = {
        subject: own.tombstones.get(subject, frozenset())
        | copy.tombstones.get(subject, frozenset())
        for subject in own.tombstones.keys() | copy.tombstones.keys()
    }
    keys = {
        subject: key
        for subject, key in own.keys.items()
        if fingerprint(key) not in tombstones.get(subject, ())
    }
    brought = {
        subject: key
        for subject, key in copy.keys.items()
        if not may_be_destroyed(subject, key, own, copy)
    }
    return VaultContents({**keys, **brought}, tombstones)
