"""Observers of requests, such as the access log and the metrics."""

from __future__ import annotations

from collections.abc import Callable

from litestar.types import Scope

Observer = Callable[[Scope, int, float], None]
"""Called once per request with its scope, status and duration in seconds.

The call happens just before the end of the answer is sent, so a client that has its answer finds it
counted. The status is 0 if there was no answer.
"""
