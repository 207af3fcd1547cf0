"""URLs as people may read them: without the secrets in them."""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = "********"

_SHOWN_OPTIONS: Final = frozenset({"db", "ssl", "sslmode", "user"})
"""Query parameters whose values are shown. All others may be a secret, or a part of one."""

_PUBLIC_SCHEMES: Final = frozenset({"http", "https"})
"""A page without a user in its address has no secret in it."""

_WORD: Final = re.compile(r"[\w.~%+\-]*")
_PLACE: Final = re.compile(r"([\w.\-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]*)?(/[^\s#]*)?")
"""A host, its port and a path."""


def mask_url(url: str) -> str:
    """The URL without its password; all of it is hidden where that is not certain.

    A password may contain any character, also an ``@``, ``/`` or ``#`` that should have been
    percent-encoded. So it ends at the last ``@``.
    """
    scheme, _, rest = url.partition("://")
    if scheme in _PUBLIC_SCHEMES and "@" not in rest and "password=" not in rest.lower():
        return url
    userinfo, at, rest = rest.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    place, question, query = rest.partition("?")
    if not (_WORD.fullmatch(scheme) and _WORD.fullmatch(user) and _PLACE.fullmatch(place)):
        return HIDDEN
    options = "&".join(map(_masked_option, query.split("&"))) if question else ""
    return f"{scheme}://{user}{colon and f':{HIDDEN}'}{at}{place}{question}{options}"


def _masked_option(option: str) -> str:
    name, equals, value = option.partition("=")
    if name in _SHOWN_OPTIONS and _WORD.fullmatch(value):
        return option
    return f"{name}={HIDDEN}" if equals and name.lower() == "password" else HIDDEN
