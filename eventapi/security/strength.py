"""How many characters of a secret an attacker cannot predict."""

from __future__ import annotations

import re
from string import ascii_lowercase, digits
from typing import Final

WELL_KNOWN: Final = frozenset(
    {
        # The examples of FastAPI's and Flask's documentation, and of RFC 7515, A.1; in lower case.
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
        "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
        "aym1sysppbydfgzld3umj1qzkobwvmkoqq-estjqlr_t-1qs0gzh75aktmn3yj0ips4hcguutwjazzr1z9caow",
    }
)
"""Keys that look random and are printed in documentation."""

_MIN_REPEATED: Final = 3
_SCANNED_CHARACTERS: Final = 256
"""A longer secret is as good as its beginning."""

_ROWS: Final = ("`1234567890-=", "qwertyuiop[]\\", "asdfghjkl;'", "zxcvbnm,./", "!@#$%^&*()_+")
_OTHER_ROWS: Final = ("azertyuiop", "qsdfghjklm", "wxcvbn", "qwertzuiop", "yxcvbnm")
_SEQUENCES: Final = (
    ascii_lowercase,
    ascii_lowercase[::2] + ascii_lowercase[1::2],
    digits,
    digits[::2] + digits[1::2],
    *_ROWS,
    *_OTHER_ROWS,
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/",
    "qazwsxedcrfvtgbyhnujmik,ol.p;/",
    "1q2w3e4r5t6y7u8i9o0p",
    "".join(letter + digits[at % 10] for at, letter in enumerate(ascii_lowercase)),
    "".join(letter + digits[(at + 1) % 10] for at, letter in enumerate(ascii_lowercase)),
)
_COUNTERS: Final = (
    "".join(f"{number:02x}" for number in range(256)),
    "".join(f"{number:02}" for number in range(100)),
    "".join(2 * digit for digit in "0123456789abcdef"),
)
"""Sequences of hexadecimal digits: of these four in a row are needed, or random keys look alike."""


def _parts(text: str, length: int) -> set[str]:
    both = (text, text[::-1])
    return {one[at : at + length] for one in both for at in range(len(text) - length + 1)}


_PREDICTABLE: Final = frozenset(
    {part for text in _SEQUENCES for part in _parts(text, 3)}
    | {part for text in _COUNTERS for part in _parts(text, 4)}
)

_WORDS: Final = """
    access admin api app auth backend bcrypt bit change changeme changeit cookie correct crypt
    database debug default demo dev development django docker dummy encrypt encryption env
    environment event eventapi events example fake fastapi fill flask foo for from generate
    generated generation generator github hash here hidden hmac hs256 horse battery staple html
    insecure insert internal jose jwt jwts key keys kubernetes least letmein litestar local localhost
    long login master minimum must never nobody not only openssl over own pass passphrase passwd
    password passwords placeholder please private prod production project public put quick brown
    fox jumps lazy dog rand random real replace root safe salt sample secret secrets secure
    security server service session set share shared should sign signature signing some something
    staging standard string strong super system temp temporary test testing text that the thing
    this todo token tokens top unsafe use used user users value very web website welcome with your
    deadbeef deadc0de cafebabe cafed00d baadf00d badc0ffee c0ffee feedface facefeed defaced
""".split()  # noqa: SIM905 - a list would be a line a word
"""Words of example keys, at least three letters each; shorter ones occur in random keys."""

_WORD: Final = re.compile(
    rf"(?:{'|'.join(sorted(_WORDS, key=len, reverse=True))})[-_.:/ ]*", re.ASCII
)
_SPELLED_WITH_DIGITS: Final = str.maketrans("013457@$!", "oieastasi")


def unpredictable(secret: str) -> int:
    """How many characters are no repetition, no part of a known sequence, and no common word.

    Of 32 random hexadecimal digits it is 19 at least, in each of 60,000 tries.
    """
    text = secret[:_SCANNED_CHARACTERS].lower()
    spelled = text.translate(_SPELLED_WITH_DIGITS)
    count = at = 0
    while at < len(text):
        skipped = _repeated(text, at) or _word(text, at) or _word(spelled, at) or _next(text, at)
        count += not skipped
        at += skipped or 1
    return count


def _repeated(text: str, at: int) -> int:
    """The length of the longest text here that began before, if it is 3 at least, else 0."""
    length = 0
    while at + length < len(text) and text.find(text[at : at + length + 1], 0, at + length) >= 0:
        length += 1
    return length if length >= _MIN_REPEATED else 0


def _word(text: str, at: int) -> int:
    """The length of the common word here, with the separators behind it, else 0."""
    found = _WORD.match(text, at)
    return 0 if found is None else found.end() - at


def _next(text: str, at: int) -> int:
    """1 if the character here continues a sequence of which two or three are before it, else 0."""
    return int(any(text[max(0, at - before) : at + 1] in _PREDICTABLE for before in (2, 3)))
