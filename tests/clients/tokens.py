"""Access tokens for the cases: good ones, and bad ones of every kind."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import jwt
import requests

from tests.clients.services import PASSWORD, SECRET_KEY

_HOUR = 3_600


def tokens_of(url: str, old_url: str) -> Mapping[str, str]:
    """The tokens to use at one service: of accounts by their names, and bad ones by their faults."""
    found = {name: _logged_in(url, name) for name in ("ann", "bob", "cyd", "eve", "fay", "gil")}
    # This server does not log in a disabled user, so any token of theirs will do.
    found["dan"] = _made(sub="dan")
    found["predecessor"] = _logged_in(old_url, "ann")
    found["forged"] = _made("another secret key of thirty-two bytes", sub="ann")
    found["expired"] = _made(sub="ann", exp=int(time.time()) - _HOUR)
    found["typeless"] = _made(sub="ann", type=None)
    found["nobody"] = _made(sub="nobody")
    claims = {"sub": "ann", "exp": int(time.time()) + _HOUR, "type": "access"}
    found["none"] = jwt.encode(claims, "", algorithm="none")
    return found


def _logged_in(url: str, name: str) -> str:
    credentials = {"username": name, "password": PASSWORD}
    answer = requests.post(f"{url}/auth/login", json=credentials)
    token: str = answer.json()["access_token"]
    return token


def _made(key: str = SECRET_KEY, **changes: Any) -> str:
    now = int(time.time())
    claims = {"exp": now + _HOUR, "iat": now, "type": "access", **changes}
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, key, algorithm="HS256")
