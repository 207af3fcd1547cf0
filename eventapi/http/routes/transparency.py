"""The log as a transparency log, under ``/log``.

It implements C2SP tlog-tiles, tlog-checkpoint and tlog-proof.
"""

from __future__ import annotations

import re

from litestar import Controller
from litestar.di import NamedDependency
from litestar.params import FromPath

from eventapi.http.guards import auditor, logged_in
from eventapi.http.handlers import get
from eventapi.http.request import ApiRequest
from eventapi.http.response import Response, text_response
from eventapi.http.services import Services
from eventapi.http.urls import path_position
from events.codec import parse
from events.errors import NotFound
from events.record import entity_number
from events.transparency.tiles import TILE, encode_bundle, parse_place
from projections.state import State
from projections.tables.users import User

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
        errors=("forbidden", "not-found"),
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
        errors=("not-found", "log-unavailable"),
        reads_state=False,
    )
    async def get_tile(
        self, level: FromPath[str], place: FromPath[str], services: NamedDependency[Services]
    ) -> Response[str]:
        """Read the hashes of a tile of the tree: up to 256."""
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
        guards=(logged_in,),
        media_type="text/plain",
        errors=("not-found",),
    )
    async def prove_inclusion(
        self, request: ApiRequest, position: FromPath[str], services: NamedDependency[Services]
    ) -> Response[str]:
        """Prove that an event is in the log, to every user who may see the event."""
        number = path_position(position, request.caller.state)
        line = await services.history.line_at(number)
        # Authenticated again, because reading the line may have taken a while.
        caller = await request.authenticate()
        if not (caller.is_auditor or _may_see(caller.state, caller.user, line)):
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


def _may_see(state: State, user: User, line: bytes) -> bool:
    """Whether a user caused an event, is its subject, or owns the resource in it."""
    record = parse(line)
    if user.subject in {record.actor, record.subject, record.sealedfor}:
        return True
    table = state.resources.get(record.subject.partition("/")[0])
    found = None if table is None else table.find(entity_number(record.subject))
    return found is not None and found.owner == user.id
