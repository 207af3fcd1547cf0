"""The log as a transparency log, under ``/log``.

It implements C2SP tlog-tiles, tlog-checkpoint and tlog-proof.
"""

from __future__ import annotations

import re

from litestar import Controller
from litestar.di import NamedDependency
from litestar.params import FromPath

from eventapi.http.authentication import Caller, Reader
from eventapi.http.guards import auditor, event_reader
from eventapi.http.handlers import get
from eventapi.http.problems import NO_TOKEN
from eventapi.http.request import ApiRequest
from eventapi.http.response import Response, text_response
from eventapi.http.services import Services
from eventapi.http.urls import path_position
from eventapi.resources.access import may_read
from eventapi.resources.registry import Registry
from events.codec import parse
from events.errors import NotFound, Unauthenticated
from events.record import entity_number
from events.transparency.tiles import TILE, encode_bundle, parse_place

_LEVEL = re.compile(r"[0-9]|[1-5][0-9]|6[0-3]", re.ASCII)
_OCTETS = "application/octet-stream"
_FOR_EVER = b"max-age=31536000, immutable"


class TransparencyController(Controller):
    """The log as a transparency log: signed heads, tiles and proofs."""

    path = "/log"
    tags = ("log",)

    @get("/checkpoint", summary="Read the signed head of the log", media_type="text/plain")
    async def get_checkpoint(
        self, request: ApiRequest, services: NamedDependency[Services]
    ) -> Response[str]:
        """Read the signed head of the log's tree."""
        await request.current_state()
        return text_response(str(await services.checkpoints.current()), "text/plain")

    @get(
        "/cosigned",
        summary="Read the newest cosigned head of the log",
        media_type="text/plain",
        errors=("not-found",),
    )
    async def get_cosigned_checkpoint(
        self, request: ApiRequest, services: NamedDependency[Services]
    ) -> Response[str]:
        """Read the newest signed head of the log that witnesses have cosigned."""
        await request.current_state()
        return text_response(str(await services.checkpoints.newest_cosigned()), "text/plain")

    @get(
        "/key",
        summary="Read the key of the log",
        media_type="text/plain",
        errors=("log-unavailable",),
        reads_state=False,
    )
    async def get_log_key(self, services: NamedDependency[Services]) -> Response[str]:
        """Read the verifier key for the signatures of checkpoints."""
        verifier = await services.checkpoints.verifier()
        return text_response(f"{verifier.vkey}\n", "text/plain")

    @get(
        "/tile/entries/{place:path}",
        summary="Read the lines of a tile",
        guards=(auditor,),
        media_type=_OCTETS,
        errors=("not-found",),
    )
    async def get_entries(
        self, request: ApiRequest, place: FromPath[str], services: NamedDependency[Services]
    ) -> Response[str]:
        """Read the lines of a tile, each prefixed with its length (16 bits, big-endian)."""
        number, width = _tile_of(place)
        start = number * TILE
        upto = min(start + width, request.caller.state.position)
        runs = services.log_watcher.lines(start, upto)
        lines = [line async for run in runs for _, line in run]
        return _octets(encode_bundle(lines), len(lines) == width, b"private")

    @get(
        "/tile/{level:str}/{place:path}",
        summary="Read the hashes of a tile",
        media_type=_OCTETS,
        errors=("not-found",),
    )
    async def get_tile(
        self,
        request: ApiRequest,
        level: FromPath[str],
        place: FromPath[str],
        services: NamedDependency[Services],
    ) -> Response[str]:
        """Read the hashes of a tile of the tree: up to 256."""
        await request.current_state()
        if not _LEVEL.fullmatch(level):
            raise NotFound("there is no such tile")
        number, width = _tile_of(place)
        tree = services.checkpoints.tree
        await tree.grow()
        hashes = await tree.tile(int(level), number, width)
        return _octets(b"".join(hashes), len(hashes) == width, b"public")

    @get(
        "/proof/{position:str}",
        summary="Prove that an event is in the log",
        guards=(event_reader,),
        media_type="text/plain",
        errors=("not-found",),
    )
    async def prove_inclusion(
        self, request: ApiRequest, position: FromPath[str], services: NamedDependency[Services]
    ) -> Response[str]:
        """Prove that an event is in the log, to every caller who may see the event.

        An event of a public resource needs no token.
        """
        number = path_position(position, request.reader.state)
        line = await services.history.line_at(number)
        # Authenticated again, because reading the line may have taken a while.
        reader = await request.authenticate_event_reader()
        if not _may_see(services.registry, reader, line):
            if reader.user is None:
                raise Unauthenticated(NO_TOKEN)
            raise NotFound("there is no such event")
        return text_response(str(await services.checkpoints.inclusion(number)), "text/plain")

    @get(
        "/consistency/{size:str}",
        summary="Prove that the log is append-only",
        media_type="text/plain",
        errors=("not-found",),
    )
    async def prove_consistency(
        self, request: ApiRequest, size: FromPath[str], services: NamedDependency[Services]
    ) -> Response[str]:
        """Prove that the log still begins with the same first events.

        The response is a request to a witness (C2SP tlog-witness): the old size, the hashes of the
        proof, and the checkpoint.
        """
        state = await request.current_state()
        number = 0 if size == "0" else path_position(size, state)
        return text_response(str(await services.checkpoints.consistency(number)), "text/plain")


def _tile_of(place: str) -> tuple[int, int]:
    """The number and the width (in hashes) of a tile in a path; raises `NotFound`."""
    found = parse_place(place.removeprefix("/"))
    if found is None:
        raise NotFound("there is no such tile")
    return found


def _octets(content: bytes, is_whole: bool, who: bytes) -> Response[str]:
    if not is_whole:
        raise NotFound("the tile is not that wide yet")
    headers = [(b"content-type", _OCTETS.encode()), (b"cache-control", who + b", " + _FOR_EVER)]
    return Response(200, headers, content)


def _may_see(registry: Registry, reader: Reader, line: bytes) -> bool:
    """Whether a reader may see an event.

    Auditors may, users with a part in it, and all who may read its resource. The user who caused
    the event, its subject and the owner of its resource have a part in it, also if a newer version
    changed the kind of the resource.
    """
    record, state, user = parse(line), reader.state, reader.user
    if isinstance(reader, Caller) and reader.is_auditor:
        return True
    if user is not None and user.subject in {record.actor, record.subject, record.sealedfor}:
        return True
    collection = record.subject.partition("/")[0]
    table = state.resources.get(collection)
    found = None if table is None else table.find(entity_number(record.subject))
    if table is None or found is None:
        return False
    if user is not None and found.owner == user.id:
        return True
    resource = registry.by_collection.get(collection)
    if resource is None or table.resource is not resource.type:
        return False
    return may_read(resource, state, user, found)
