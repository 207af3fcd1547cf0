"""Access tokens for the cases: valid ones, and invalid ones of every kind."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import jwt
import requests

from tests.clients.services import PASSWORD, SECRET_KEY

_HOUR = 3_600


def tokens_of(url: str, old_url: str) -> Mapping[str, str]:
    """The tokens for one service: valid ones by account, invalid ones by fault."""
    found = {name: _log_in(url, name) for name in ("ann", "bob", "cyd", "eve", "fay", "gil")}
    # This server refuses the login of a disabled user, so the test signs the token.
    found["dan"] = _made(sub="dan")
    found["predecessor"] = _log_in(old_url, "ann")
    found["forged"] = _made("another secret key of thirty-two bytes", sub="ann")
    found["expired"] = _made(sub="ann", exp=int(time.time()) - _HOUR)
    found["typeless"] = _made(sub="ann", type=None)
    found["nobody"] = _made(sub="nobody")
    claims = {"sub": "ann", "exp": int(time.time()) + _HOUR, "type": "access"}
    found["none"] = jwt.encode(claims, "", algorithm="none")
    return found


def _log_in(url: str, name: str) -> str:
    credentials = {"username": name, "password": PASSWORD}
    answer = requests.post(f"{url}/auth/login", json=credentials)
    token: str = answer.json()["access_token"]
    return token


def _made(key: str = SECRET_KEY, **changes: Any) -> str:
    now = int(time.time())
    claims = {"exp": now + _HOUR, "iat": now, "type": "access", **changes}
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, key, algorithm="HS256")
