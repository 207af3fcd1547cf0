"""Decode bodies, forms and queries strictly, and report all their faults at once."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterable
from typing import Any, Final, Literal, TypeVar
from urllib.parse import parse_qsl

import msgspec
from multipart import MultipartError, MultipartParser, parse_options_header

from eventapi.http.problems import ProblemError
from eventapi.values.explanations import unknown_member
from eventapi.values.validation import failed_checks, faults_in_json, has_decimal, struct_of_texts
from events.errors import Fault, Invalid

S = TypeVar("S", bound=msgspec.Struct)

FORM_TYPE: Final = "application/x-www-form-urlencoded"
MULTIPART_TYPE: Final = "multipart/form-data"

MAX_DEPTH: Final = 32
"""Maximum nesting of a body."""

_MAX_FORM_FIELDS: Final = 64
_MAX_ESCAPES: Final = 8_192
"""Percent signs in a form: each costs far more than its byte."""

_TOO_DEEP: Final = f"the body is nested more than {MAX_DEPTH} deep"
_NO_FORM: Final = (
    f"the body is not a form in UTF-8 of at most {_MAX_FORM_FIELDS} fields "
    f"and {_MAX_ESCAPES} escaped bytes"
)

Where = Literal["body", "query"]

Texts = dict[str, list[str]]
"""All values of each name in a form or a query."""


def decode_json(content: bytes, kind: type[S]) -> S:
    """A JSON body as a Struct; raises `ProblemError` and `Invalid`.

    Well-formedness is checked first, because msgspec accepts duplicate keys and lone surrogates,
    and because a truncated body must be reported as malformed, even if it has other faults too.
    """
    try:
        _check_well_formed(content)
        decoded = msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError:
        raise Invalid(*faults_in_json(content, kind)) from None
    except (msgspec.DecodeError, ValueError):
        raise ProblemError("malformed-body", "the body is not valid JSON") from None
    except RecursionError:
        raise ProblemError("malformed-body", _TOO_DEEP) from None
    return _checked(decoded, content)


def _checked(decoded: S, content: bytes) -> S:
    kind = type(decoded)
    faults = faults_in_json(content, kind) if has_decimal(kind) else failed_checks(decoded)
    if faults:
        raise Invalid(*faults)
    return decoded


def _check_well_formed(content: bytes) -> None:
    value = _decode_plainly(content.decode())
    if content.count(b"[") + content.count(b"{") > MAX_DEPTH:
        level = [value]
        for _ in range(MAX_DEPTH):
            level = [child for parent in level for child in _nested(parent)]
        if level:
            raise ProblemError("malformed-body", _TOO_DEEP)
    if b"\\u" in content:
        json.dumps(value, ensure_ascii=False).encode()  # Lone surrogates have no bytes.


def _nested(value: Any) -> Iterable[Any]:
    children = value.values() if isinstance(value, dict) else value
    return (child for child in children if isinstance(child, dict | list))


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ProblemError("malformed-body", "the body has the same key twice in one object")
    return found


_decode_plainly = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=str
).decode


def form_fields(content: bytes, content_type: str, names: Collection[str]) -> Texts:
    """The fields of these names in a form; raises `ProblemError`.

    The form is urlencoded or multipart. Other fields are ignored, even if repeated, because
    ``resource`` may be (RFC 8707, section 2). Litestar's parser is not used, because it caches
    every body, passwords included.
    """
    try:
        if content_type.lower().startswith(MULTIPART_TYPE):
            pairs = _multipart_pairs(content, content_type)
        else:
            pairs = _urlencoded_pairs(content)
    except (ValueError, MultipartError):
        raise ProblemError("malformed-body", _NO_FORM) from None
    return _by_name(pair for pair in pairs if pair[0] in names)


def _urlencoded_pairs(content: bytes) -> list[tuple[str, str]]:
    text = content.decode()
    if text.count("%") > _MAX_ESCAPES:
        raise ValueError("too many escapes")
    return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FORM_FIELDS)


def _multipart_pairs(content: bytes, content_type: str) -> list[tuple[str, str]]:
    """The text fields; files are ignored like all unknown fields."""
    _, options = parse_options_header(content_type)
    boundary = options.get("boundary", "")
    if not boundary:
        raise ValueError("no boundary")
    # The body is in memory already, so no part needs a file.
    size = len(content) + 1
    parser = MultipartParser(
        io.BytesIO(content),
        boundary,
        len(content),
        part_limit=_MAX_FORM_FIELDS,
        partsize_limit=size,
        spool_limit=size,
        memory_limit=2 * size,
    )
    return [(part.name, part.raw.decode()) for part in parser if not part.filename]


def query_texts(raw: bytes) -> Texts:
    """The parameters of a query string; raises `Invalid`."""
    try:
        pairs = parse_qsl(
            raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FORM_FIELDS
        )
    except ValueError:
        detail = f"the query must be UTF-8 with at most {_MAX_FORM_FIELDS} parameters"
        raise Invalid(Fault("", detail, where="query")) from None
    return _by_name(pairs)


def _by_name(pairs: Iterable[tuple[str, str]]) -> Texts:
    texts: Texts = {}
    for name, text in pairs:
        texts.setdefault(name, []).append(text)
    return texts


def from_texts(texts: Texts, kind: type[S], where: Where) -> S:
    """Texts of a query or a form as a Struct; raises `Invalid`.

    Unknown names are ignored in a form (RFC 6749, section 3.2), and refused in a query.
    """
    known = {name: texts[name][-1] for name in kind.__struct_encode_fields__ if name in texts}
    faults: list[Fault] = []
    try:
        converted = struct_of_texts(known, kind)
    except Invalid as error:
        faults += error.faults
    for name, values in texts.items():
        if where == "query" and name not in known:
            faults.append(unknown_member(name, "is not a parameter of this request"))
        elif len(values) > 1:
            faults.append(Fault(f"/{name}", "is given more than once"))
    if faults:
        raise Invalid(*(msgspec.structs.replace(fault, where=where) for fault in faults))
    return converted
