"""Who is told of every request: the access log, the metrics, the traces."""

from __future__ import annotations

from collections.abc import Callable

from litestar.types import Scope

Observer = Callable[[Scope, int, float], None]
"""Called once a request with its scope, the status, and the seconds that it took.

That is just before the last of the answer is handed on, so whoever has an answer finds it counted;
the status is 0 where there was no answer.
"""
