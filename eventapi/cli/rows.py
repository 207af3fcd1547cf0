"""Resources as rows of a file: NDJSON, or CSV with a header.

A row has the fields of a resource, and may have the members that `data export` adds: `id`, `owner`,
`created_at`, `updated_at` and `version`. A cell of CSV has the text of a JSON value::

    true   -5   1.5   2026-01-31   a text   [1,2]   {"rate":19}

An empty cell is null, or the empty text where null is not possible. Where a cell could be read as
another value, such as an empty text that is not null, it is a JSON string in its quotes: ``""``.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Annotated, Any, BinaryIO, Final, Literal, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType, inspect

from eventapi.cli.db_json import MAX_ID
from eventapi.http.decoding import decode_json
from eventapi.http.problems import ProblemError
from eventapi.http.schemas.resources import Shape
from eventapi.values.explanations import CHECK
from eventapi.values.texts import JSON_NUMBER
from eventapi.values.times import record_time, record_time_fault
from events.errors import Invalid

Format = Literal["ndjson", "csv"]

SUFFIXES: Final[Mapping[str, Format]] = {".ndjson": "ndjson", ".jsonl": "ndjson", ".csv": "csv"}

_BOM: Final = b"\xef\xbb\xbf"
_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,18})", re.ASCII)
_MAX_CELL_CHARACTERS: Final = 1_000_000


class Row(msgspec.Struct, frozen=True):
    """A row of a file; ``line`` is the first of its lines, from 1."""

    line: int
    values: Mapping[str, Any]
    number: int | None
    created_at: str | None


class RowFault(msgspec.Struct, frozen=True):
    """What is wrong with a row; ``field`` is empty if it is the row as a whole."""

    line: int
    field: str
    detail: str

    def __str__(self) -> str:
        field = f"{self.field}: " if self.field else ""
        return f"line {self.line:,}: {field}{self.detail}"


def _unused_time_fault(text: str) -> str | None:
    """The fault of a time that is not imported, and may be left out."""
    return record_time_fault(text) if text else None


_EXPORTED: Final = [
    ("id", Annotated[int, Meta(ge=1, le=MAX_ID)] | UnsetType, UNSET),
    ("owner", str | UnsetType, UNSET),
    ("created_at", Annotated[str, Meta(extra={CHECK: record_time_fault})] | UnsetType, UNSET),
    ("updated_at", Annotated[str, Meta(extra={CHECK: _unused_time_fault})] | UnsetType, UNSET),
    ("version", Annotated[int, Meta(ge=1, le=2**63 - 1)] | UnsetType, UNSET),
]


class Rows:
    """The rows of one kind: `read` them from a file, or `write` them."""

    def __init__(self, shape: Shape) -> None:
        self._names = shape.resource.names
        self._row: Any = msgspec.defstruct(
            "Row", _EXPORTED, bases=(shape.body,), frozen=True, forbid_unknown_fields=True
        )
        info = cast("inspect.StructType", inspect.type_info(self._row))
        self._cells = {
            field.encode_name: _Cell(field.type, is_required=field.required)
            for field in info.fields
        }

    def read(self, file: BinaryIO, form: Format) -> tuple[list[Row], list[RowFault]]:
        """All rows of a file, and every fault."""
        rows: list[Row] = []
        faults: list[RowFault] = []
        found = self._lines(file) if form == "ndjson" else self._records(file)
        for line, content in found:
            if isinstance(content, RowFault):
                faults.append(content)
                continue
            try:
                rows.append(self._row_of(line, content))
            except Invalid as error:
                faults += [row_fault(line, one.pointer, one.detail) for one in error.faults]
            except ProblemError as error:
                detail = str(error).removeprefix("the body ")
                faults.append(RowFault(line, "", detail))
        return rows, faults

    def _row_of(self, line: int, content: bytes) -> Row:
        decoded: Any = decode_json(content, self._row)
        values = {name: getattr(decoded, name) for name in self._names}
        created = decoded.created_at
        return Row(
            line,
            values,
            None if decoded.id is UNSET else decoded.id,
            None if created is UNSET else record_time(created, zone_needed=True),
        )

    def _lines(self, file: BinaryIO) -> Iterator[tuple[int, bytes]]:
        for line, content in enumerate(file, 1):
            stripped = (content.removeprefix(_BOM) if line == 1 else content).strip()
            if stripped:
                yield line, stripped

    def _records(self, file: BinaryIO) -> Iterator[tuple[int, bytes | RowFault]]:
        csv.field_size_limit(_MAX_CELL_CHARACTERS)
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        reader = csv.reader(text, strict=True)
        line = 1
        try:
            header = next(reader, [])
            faults = self._header_faults(header)
            yield from ((1, fault) for fault in faults)
            line = reader.line_num + 1
            for record in () if faults else reader:
                if record:
                    yield line, self._content(line, header, record)
                line = reader.line_num + 1
        except csv.Error as error:
            yield line, RowFault(line, "", f"is not CSV: {error}")
        except UnicodeDecodeError:
            yield line, RowFault(line, "", "this line, or one soon after it, is not UTF-8")
        finally:
            text.detach()

    def _header_faults(self, header: Sequence[str]) -> list[RowFault]:
        if not header:
            return [RowFault(1, "", "must be a header with the names of the columns")]
        unknown = [
            RowFault(1, name, "is not known here")
            for name in dict.fromkeys(header)
            if name not in self._cells
        ]
        repeated = [
            RowFault(1, name, "is there more than once")
            for name in dict.fromkeys(header)
            if header.count(name) > 1
        ]
        missing = [
            RowFault(1, name, "is required")
            for name, cell in self._cells.items()
            if cell.is_required and name not in header
        ]
        return unknown + repeated + missing

    def _content(self, line: int, header: Sequence[str], record: Sequence[str]) -> bytes | RowFault:
        if len(record) != len(header):
            detail = f"has {len(record)} cells, but the header has {len(header)}"
            return RowFault(line, "", detail)
        values = {
            name: self._cells[name].read(text) for name, text in zip(header, record, strict=True)
        }
        given = {name: value for name, value in values.items() if value is not UNSET}
        return msgspec.json.encode(given)

    def write(self, views: Iterable[msgspec.Struct], out: BinaryIO, form: Format) -> None:
        """Write response bodies of resources to a file."""
        if form == "ndjson":
            out.writelines(msgspec.json.encode(view) + b"\n" for view in views)
            return
        text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(text)
        names = ["id", *self._names, "owner", "created_at", "updated_at", "version"]
        writer.writerow(names)
        for view in views:
            values = msgspec.json.decode(msgspec.json.encode(view))
            writer.writerow([self._cells[name].write(values[name]) for name in names])
        text.detach()


def row_fault(line: int, pointer: str, detail: str) -> RowFault:
    """The fault at a JSON pointer into a row."""
    return RowFault(line, pointer.removeprefix("/").replace("/", "."), detail)


class _Cell:
    """The cells of one column: texts of the JSON values of a type."""

    def __init__(self, info: inspect.Type, *, is_required: bool) -> None:
        kinds = set(_kinds(info))
        self.is_required = is_required
        self._is_nullable = type(None) in kinds
        self._has_text = str in kinds
        self._has_empty = inspect.StrType in kinds
        self._is_plain = kinds <= {str, inspect.StrType}
        self._kinds = kinds

    def read(self, text: str) -> Any:  # noqa: PLR0911 - one a type
        """The JSON value of a cell; `UNSET` if an empty cell stands for the default.

        A text that no value has is returned, so that its type reports the fault.
        """
        if text == "":
            if self._is_nullable:
                return None
            return "" if self._has_empty or self.is_required else UNSET
        if self._is_plain:
            return text
        kinds = self._kinds
        if bool in kinds and text in {"true", "false"}:
            return text == "true"
        if int in kinds and _INTEGER.fullmatch(text):
            return int(text)
        if float in kinds and JSON_NUMBER.fullmatch(text) and isfinite(float(text)):
            return float(text)
        is_quoted = self._has_text and text.startswith('"') and text.endswith('"')
        if is_quoted or (dict in kinds and text.startswith(("[", "{"))):
            return _decoded(text)
        return text

    def write(self, value: Any) -> str:
        """The cell of a JSON value."""
        if value is None:
            return ""
        encoded = msgspec.json.encode(value)
        if isinstance(value, str) and msgspec.json.encode(self.read(value)) == encoded:
            return value
        return encoded.decode()


def _kinds(info: inspect.Type) -> Iterator[Any]:
    """The Python types of the JSON values of a type; `dict` for lists and objects.

    ``inspect.StrType`` is there if any text is possible, ``str`` if some are.
    """
    if isinstance(info, inspect.Metadata):
        yield from _kinds(info.type)
    elif isinstance(info, inspect.UnionType):
        for one in info.types:
            yield from _kinds(one)
    elif isinstance(info, inspect.LiteralType):
        yield from map(type, info.values)
    elif isinstance(info, inspect.EnumType):
        yield from (type(member.value) for member in info.cls)
    elif isinstance(info, inspect.StrType):
        yield from (str, inspect.StrType)
    else:
        by_type: dict[type[inspect.Type], Any] = {
            inspect.NoneType: type(None),
            inspect.BoolType: bool,
            inspect.IntType: int,
            inspect.FloatType: float,
            inspect.ListType: dict,
            inspect.DictType: dict,
            inspect.StructType: dict,
        }
        yield by_type.get(type(info), str)


def _decoded(text: str) -> Any:
    """The JSON value in a cell, as its bytes, or the text if it has none.

    The bytes are decoded with the row: an encoder would refuse some values, and change others.
    """
    try:
        json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text
    return msgspec.Raw(text.encode())


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
