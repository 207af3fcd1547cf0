"""Parse the requests of a batch: routes, bodies and references.

``$0`` as a number in the path of a later request, or as a whole number in its body, refers to the
resource that request 0 creates. A text field keeps a text such as ``$5``: it may be a price.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from msgspec import UNSET, inspect

from eventapi.commands.quota import Quota
from eventapi.http.conditional import accepted_versions
from eventapi.http.decoding import decode_json
from eventapi.http.response import encode
from eventapi.http.routes.writes import (
    ID,
    NAME,
    Place,
    Target,
    Write,
    creation,
    deletion,
    undeletion,
    writes_of,
)
from eventapi.http.schemas.batch import BatchRequest
from eventapi.http.schemas.resources import Shape
from eventapi.http.urls import path_number
from eventapi.journal.batch import CommandResult
from eventapi.resources.declared import Declared
from eventapi.values.validation import MAX_FAULTS, first_faults
from events.errors import Fault, Invalid, NotFound
from events.record import entity_number

_REFERENCE: Final = re.compile(r"\$(0|[1-9][0-9]?)", re.ASCII)
BYTES_PER_TURN: Final = 65_536
"""Bytes of bodies that are parsed before other requests run: some milliseconds."""

_NO_NUMBER: Final = 0
_ANY_NUMBER: Final = 1
"""Takes the place of a reference while a body is checked."""

_BODIES: Final = 512
"""Types of bodies that are cached: more than one application has."""

_TEXTS: Final = (inspect.StrType, inspect.AnyType, inspect.RawType)
"""Types whose values may be any text."""

Writes = Mapping[tuple[str, Place], Mapping[str, Write]]
"""The writes by method, of each collection and place."""

Path = tuple[str | int, ...]
"""The steps to a value in a JSON document."""


class Reference(msgspec.Struct, frozen=True):
    """The resource that request ``part`` creates."""

    part: int

    def number(self, results: Sequence[CommandResult]) -> int:
        """The number of the resource."""
        return entity_number(results[self.part].record.subject)


class Part(msgspec.Struct, frozen=True):
    """A parsed request of a batch.

    ``references`` are the places in the body ``content`` that refer to new resources; then ``body``
    has some other numbers there.
    """

    index: int
    write: Write
    number: int | Reference
    username: str
    versions: frozenset[int] | None
    body: Any
    content: bytes
    references: Sequence[tuple[Path, Reference]]

    @property
    def resource(self) -> Declared:
        """The kind that the request writes."""
        return self.write.shape.resource

    @property
    def pointer(self) -> str:
        """A JSON pointer to the request."""
        return f"/requests/{self.index}"

    @property
    def is_dependent(self) -> bool:
        """Whether the command depends on the results of earlier requests."""
        return bool(self.references) or isinstance(self.number, Reference)

    def target(self, caller: int, quota: Quota, results: Sequence[CommandResult] = ()) -> Target:
        """What the request writes to."""
        number = self.number
        if isinstance(number, Reference):
            number = number.number(results)
        return Target(caller, quota, number, self.versions, self.username)

    def body_after(self, results: Sequence[CommandResult]) -> Any:
        """The body after the results of earlier requests; raises `Invalid`."""
        if not self.references or self.write.body is None:
            return self.body
        numbers = ((path, reference.number(results)) for path, reference in self.references)
        return decode_json(_replaced(self.content, numbers), self.write.body)


def writes_by_place(shapes: Iterable[Shape]) -> Writes:
    """The writes to some kinds."""
    found: dict[tuple[str, Place], dict[str, Write]] = {}
    for shape in shapes:
        for method, place, write in writes_of(shape):
            found.setdefault((shape.resource.collection, place), {})[method] = write
    return found


async def parse_requests(
    requests: Sequence[BatchRequest], writes: Writes, prefixes: Collection[str]
) -> list[Part]:
    """Parse the requests of a batch; other clients need not wait for a long one.

    Raises `Invalid` with the faults of all requests.
    """
    parts: list[Part | None] = []
    faults: list[Fault] = []
    size = 0
    for index, request in enumerate(requests):
        added = 0 if request.body is UNSET else len(memoryview(request.body))
        if size + added > BYTES_PER_TURN:
            size = 0
            await asyncio.sleep(0)
        size += added
        try:
            parts.append(_parsed(index, request, parts, writes, prefixes))
        except Invalid as error:
            parts.append(None)
            faults += [
                msgspec.structs.replace(fault, pointer=f"/requests/{index}{fault.pointer}")
                for fault in error.faults
            ]
            if len(faults) > MAX_FAULTS:
                break
    if faults:
        raise Invalid(*first_faults(faults))
    return [part for part in parts if part is not None]


def _parsed(
    index: int,
    request: BatchRequest,
    earlier: Sequence[Part | None],
    writes: Writes,
    prefixes: Collection[str],
) -> Part:
    steps = _steps(request.path, prefixes)
    write = _find(request.method, steps, writes)
    number: int | Reference = _NO_NUMBER
    faults: list[Fault] = []
    if len(steps) > 1:
        number = _number(steps[1], write, earlier)
    elif request.if_match is not UNSET:
        faults.append(Fault("/if_match", "is not known here", "extra_forbidden"))
    try:
        body, content, references = _body(write, request.body, earlier)
    except Invalid as error:
        faults += error.faults
    if faults:
        raise Invalid(*faults)
    restores_deletion = write.command is None and (body is None or body.as_of is UNSET)
    if restores_deletion and _is_deleted(write, number, earlier):
        write = msgspec.structs.replace(write, command=undeletion)
    if write.command is None and isinstance(number, Reference):
        raise Invalid(Fault("/path", "names a new resource, which has no earlier content"))
    return Part(
        index,
        write,
        number,
        steps[3] if len(steps) > 3 else "",
        _versions(request.if_match),
        body,
        content,
        references,
    )


def _steps(path: str, prefixes: Collection[str]) -> list[str]:
    for prefix in prefixes:
        if path.startswith(f"{prefix}/"):
            path = path.removeprefix(prefix)
            break
    before, *steps = path.split("/")
    try:
        decoded = [unquote(step, errors="strict") for step in steps]
    except UnicodeDecodeError:
        raise Invalid(Fault("/path", "is not UTF-8")) from None
    if before or not steps:
        raise Invalid(Fault("/path", "must begin with a slash"))
    if "?" in path or "#" in path:
        raise Invalid(Fault("/path", "must have no query and no fragment"))
    return decoded


def _find(method: str, steps: Sequence[str], writes: Writes) -> Write:
    """The write of a method to a path; raises `Invalid`."""
    collection, *below = steps
    names = {0: ID, 2: NAME}
    place = tuple(names.get(depth, step) for depth, step in enumerate(below))
    found = writes.get((collection, place))
    if found is None:
        raise Invalid(Fault("/path", "is not the path of a write to a resource"))
    if method not in found:
        raise Invalid(Fault("/method", f"must be {' or '.join(sorted(found))} for this path"))
    return found[method]


def _number(text: str, write: Write, earlier: Sequence[Part | None]) -> int | Reference:
    resource = write.shape.resource
    match = _REFERENCE.fullmatch(text)
    if match is None:
        try:
            return path_number(text, resource.missing)
        except NotFound:  # Refused in its turn, as any other number that no resource has.
            return _NO_NUMBER
    reference = _reference(match, earlier, "/path")
    part = earlier[reference.part]
    if part is not None and part.write.shape is not write.shape:
        raise Invalid(Fault("/path", f"{text} is not one of the {resource.collection}"))
    return reference


def _is_deleted(write: Write, number: int | Reference, earlier: Sequence[Part | None]) -> bool:
    """Whether earlier requests delete a resource, and do not restore it after that."""
    for part in reversed(earlier):
        if part is None or part.write.shape is not write.shape or part.number != number:
            continue
        if part.write.command in {deletion, undeletion, None}:
            return part.write.command is deletion
    return False


def _reference(match: re.Match[str], earlier: Sequence[Part | None], pointer: str) -> Reference:
    """The reference in a text; raises `Invalid` if nothing is created there."""
    number = int(match[1])
    part = earlier[number] if number < len(earlier) else None
    if part is None or part.write.command is not creation:
        detail = f"{match[0]} does not name an earlier request that creates a resource"
        raise Invalid(Fault(pointer, detail))
    return Reference(number)


def _versions(if_match: Any) -> frozenset[int] | None:
    if if_match is UNSET:
        return None
    return frozenset({if_match}) if isinstance(if_match, int) else accepted_versions(if_match)


def _body(
    write: Write, raw: Any, earlier: Sequence[Part | None]
) -> tuple[Any, bytes, Sequence[tuple[Path, Reference]]]:
    """The decoded body, its bytes and its references; raises `Invalid`."""
    if raw is UNSET:
        if write.needs_body:
            raise Invalid(Fault("/body", "is required", "missing"))
        return None, b"", ()
    if write.body is None:
        raise Invalid(Fault("/body", "is not known here", "extra_forbidden"))
    content, references = bytes(raw), []
    checked = content
    if b'"$' in content:
        # What cannot be decoded has no references; `decode_json` reports why.
        with suppress(msgspec.MsgspecError):
            value = msgspec.json.decode(content)
            references = [
                (path, _reference(match, earlier, f"/body{_pointer(path)}"))
                for path, match in _matches(value, _inspected(write.body), ())
            ]
            checked = _replaced(content, ((path, _ANY_NUMBER) for path, _ in references))
    try:
        return decode_json(checked, write.body), content, references
    except Invalid as error:
        faults = (
            msgspec.structs.replace(fault, pointer=f"/body{fault.pointer}")
            for fault in error.faults
        )
        raise Invalid(*faults) from None


def _replaced(content: bytes, numbers: Iterable[tuple[Path, int]]) -> bytes:
    """A JSON document with numbers at some places."""
    document = {"": msgspec.json.decode(content)}
    for path, number in numbers:
        *steps, last = ("", *path)
        value: Any = document
        for step in steps:
            value = value[step]
        value[last] = number
    return encode(document[""])


def _matches(value: Any, kind: inspect.Type, path: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    """The places where a text refers to a resource, by its type."""
    kinds = list(_alternatives(kind))
    if isinstance(value, str):
        match = _REFERENCE.fullmatch(value)
        is_number = any(isinstance(one, inspect.IntType) for one in kinds)
        if match and is_number and not any(isinstance(one, _TEXTS) for one in kinds):
            yield path, match
    for one in kinds:
        for step, child, child_kind in _children(value, one):
            yield from _matches(child, child_kind, (*path, step))


def _children(value: Any, kind: inspect.Type) -> Iterator[tuple[str | int, Any, inspect.Type]]:
    """The parts of a value of a type: step, value and type of each."""
    if isinstance(value, list) and isinstance(kind, inspect.ListType):
        for index, element in enumerate(value):
            yield index, element, kind.item_type
    elif isinstance(value, dict) and isinstance(kind, inspect.DictType):
        for name, member in value.items():
            yield name, member, kind.value_type
    elif isinstance(value, dict) and isinstance(kind, inspect.StructType):
        for field in kind.fields:
            if field.encode_name in value:
                yield field.encode_name, value[field.encode_name], field.type


def _alternatives(kind: inspect.Type) -> Iterator[inspect.Type]:
    """The types of a union, without their metadata."""
    if isinstance(kind, inspect.Metadata):
        yield from _alternatives(kind.type)
    elif isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from _alternatives(one)
    else:
        yield kind


@lru_cache(_BODIES)
def _inspected(kind: type[msgspec.Struct]) -> inspect.Type:
    return inspect.type_info(kind)


def _pointer(path: Path) -> str:
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)
