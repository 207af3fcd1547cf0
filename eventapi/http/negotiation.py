"""Accept headers (RFC 9110, section 12.5) and Content-Type (section 8.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from eventapi.http.problems import ProblemError

_WEIGHT = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


def parse_weights(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> dict[str, float]:
    """The values of Accept, or of a header with the same syntax, with their weights.

    ``name`` is the header's name in lower case. Several lines are one list.
    """
    lines = [value for key, value in headers if key == name]
    weights: dict[str, float] = {}
    for part in b",".join(lines).decode("latin-1").lower().split(","):
        kind, *parameters = (text.strip() for text in part.split(";"))
        found = [match[1] for match in map(_WEIGHT.fullmatch, parameters) if match]
        weights[kind] = float(found[0]) if found else 1.0
    return weights


def preferred_type(weights: Mapping[str, float], kinds: Sequence[str]) -> str | None:
    """The media type with the highest weight; ``None`` if JSON is preferred.

    A type must be named in full: the range ``*/*`` selects JSON.
    """
    best = max(kinds, key=lambda kind: weights.get(kind, 0.0))
    weight = weights.get(best, 0.0)
    ranges = ("application/json", "application/*", "*/*")
    json_weight = next((weights[kind] for kind in ranges if kind in weights), 0.0)
    return best if weight and weight >= json_weight else None


def parse_content_type(header: str | None) -> str:
    """The media type in lower case, empty if none is declared.

    Raises `ProblemError` if a charset other than UTF-8 is declared.
    """
    kind, *parameters = (header or "").lower().split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip(' \t"') not in {"utf-8", "utf8"}:
            raise ProblemError("unsupported-media-type", "the body must be UTF-8")
    return kind.strip()
