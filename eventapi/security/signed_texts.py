"""Signed texts: tokens in mailed links, and the challenges of a login.

A text is some numbers and an HMAC-SHA256 (RFC 2104) over its purpose, the numbers, and values that
the text does not contain, such as an email address. Nothing has to be stored to recognise one: the
log keeps what makes a text void, such as a later password.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

Purpose = Literal["password-reset", "email", "second-factor"]

_TEXT: Final = re.compile(r"((?:(?:0|[1-9][0-9]{0,17})\.){1,4})([0-9a-f]{64})")


class SignedTexts:
    """Makes and checks signed texts."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """The first secret signs, and all of them verify."""
        self._secrets = tuple(secret.encode() for secret in secrets)

    def make(self, purpose: Purpose, numbers: Sequence[int], *bound: str) -> str:
        """The text of some numbers, which is genuine only together with ``bound``."""
        text = "".join(f"{number}." for number in numbers)
        return text + _mac(self._secrets[0], purpose, text, bound)

    def is_genuine(self, purpose: Purpose, text: str, *bound: str) -> bool:
        """Whether `make` returned this text for the same purpose and the same ``bound``."""
        match = _TEXT.fullmatch(text)
        if match is None:
            return False
        macs = (_mac(secret, purpose, match[1], bound) for secret in self._secrets)
        return any(hmac.compare_digest(mac, match[2]) for mac in macs)


def numbers_of(text: str) -> Sequence[int] | None:
    """The numbers of a text, genuine or not; ``None`` if it has another form."""
    match = _TEXT.fullmatch(text)
    return None if match is None else [int(number) for number in match[1].split(".")[:-1]]


def _mac(secret: bytes, purpose: Purpose, text: str, bound: Sequence[str]) -> str:
    message = msgspec.json.encode([purpose, text, *bound])
    return hmac.digest(secret, message, "sha256").hex()
