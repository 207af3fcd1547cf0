"""The log as a transparency log (C2SP tlog-tiles, tlog-checkpoint, tlog-proof), under ``/log``."""

from __future__ import annotations

import re

from eventapi.http.endpoint import Endpoint
from eventapi.http.request import ApiRequest
from eventapi.http.response import Response, text_response
from events.codec import parse
from events.errors import NotFound
from events.record import entity_number
from events.transparency.tree import TILE
from projections.state import State
from projections.tables.users import User

_LEVEL = re.compile(r"[0-9]|[1-5][0-9]|6[0-3]", re.ASCII)
_PLACE = re.compile(r"/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII)
_OCTETS = b"application/octet-stream"
_FOR_EVER = b"max-age=31536000, immutable"


async def get_checkpoint(request: ApiRequest) -> Response:
    """Read the signed head of the log's tree."""
    await request.state()
    return text_response(str(await request.services.checkpoints.current()), "text/plain")


async def get_cosigned_checkpoint(request: ApiRequest) -> Response:
    """Read the newest signed head of the log that witnesses cosigned."""
    await request.state()
    return text_response(str(await request.services.checkpoints.cosigned()), "text/plain")


async def get_log_key(request: ApiRequest) -> Response:
    """Read the key that checks the signatures of checkpoints, as a verifier key."""
    verifier = await request.services.checkpoints.verifier()
    return text_response(f"{verifier.vkey}\n", "text/plain")


async def get_tile(request: ApiRequest) -> Response:
    """Read hashes of the tree, 256 at a time."""
    level = request.path_params["level"]
    if not _LEVEL.fullmatch(level):
        raise NotFound("there is no such tile")
    number, width = _place(request)
    tree = request.services.checkpoints.tree
    await tree.grow()
    hashes = await tree.tile(int(level), number, width)
    return _octets(b"".join(hashes), len(hashes) == width, b"public")


async def get_entries(request: ApiRequest) -> Response:
    """Read the lines of a tile, each behind its length as 16 bits, high byte first."""
    state, _ = await request.auditor()
    number, width = _place(request)
    start = number * TILE
    upto = min(start + width, state.position)
    runs = request.services.log_watcher.lines(start, upto)
    lines = [line async for run in runs for _, line in run]
    bundle = b"".join(len(line).to_bytes(2, "big") + line for line in lines)
    return _octets(bundle, len(lines) == width, b"private")


def _place(request: ApiRequest) -> tuple[int, int]:
    """The number of a tile and how many of its hashes are wanted; raises `NotFound`."""
    match = _PLACE.fullmatch(request.path_params["place"])
    number = int(re.sub(r"\D", "", match[1])) if match else 0
    width = int(match[2] or TILE) if match else 0
    if match is None or match[1] != _encoded(number) or (match[2] and width >= TILE):
        raise NotFound("there is no such tile")
    return number, width


def _encoded(number: int) -> str:
    parts = [f"{number % 1000:03}"]
    while number := number // 1000:
        parts.append(f"x{number % 1000:03}")
    return "/".join(reversed(parts))


def _octets(content: bytes, is_whole: bool, who: bytes) -> Response:
    if not is_whole:
        raise NotFound("the tile is not that wide yet")
    headers = [(b"content-type", _OCTETS), (b"cache-control", who + b", " + _FOR_EVER)]
    return Response(200, headers, content)


async def prove_inclusion(request: ApiRequest) -> Response:
    """Prove that an event is in the log; whoever may see it may have the proof."""
    state, user, _ = await request.authenticated()
    position = request.position(state)
    line = await request.services.history.line_at(position)
    # Asked anew: what was read may have taken a while.
    state, user, _ = await request.authenticated()
    if not _may_see(state, user, line):
        raise NotFound("there is no such event")
    return text_response(str(await request.services.checkpoints.inclusion(position)), "text/plain")


def _may_see(state: State, user: User, line: bytes) -> bool:
    """Whether an event is of the user's doing, about them, or about an item of theirs."""
    if "auditor" in user.roles:
        return True
    record = parse(line)
    if user.subject in {record.actor, record.subject, record.sealedfor}:
        return True
    if not record.subject.startswith("items/"):
        return False
    item = state.items.find(entity_number(record.subject))
    return item is not None and item.owner == user.id


async def prove_consistency(request: ApiRequest) -> Response:
    """Prove that the log continues what its first events were.

    The answer is what a witness is asked with (C2SP tlog-witness): the old size, the hashes of the
    proof, and the checkpoint.
    """
    state = await request.state()
    old = request.path_params["size"]
    number = 0 if old == "0" else request.position(state, "size")
    return text_response(str(await request.services.checkpoints.consistency(number)), "text/plain")


def endpoints() -> list[Endpoint]:
    """The endpoints of the transparency log."""
    return [
        Endpoint(
            method="GET",
            path="/log/checkpoint",
            handler=get_checkpoint,
            summary="Read the signed head of the log",
            tag="log",
            authenticated=False,
            answers={200: str},
            answer_media_type="text/plain",
        ),
        Endpoint(
            method="GET",
            path="/log/cosigned",
            handler=get_cosigned_checkpoint,
            summary="Read the newest cosigned head of the log",
            tag="log",
            authenticated=False,
            answers={200: str},
            answer_media_type="text/plain",
            errors=("not-found",),
        ),
        Endpoint(
            method="GET",
            path="/log/key",
            handler=get_log_key,
            summary="Read the key of the log",
            tag="log",
            authenticated=False,
            answers={200: str},
            answer_media_type="text/plain",
            errors=("log-unavailable",),
            reads_state=False,
        ),
        Endpoint(
            method="GET",
            path="/log/tile/entries/{place:path}",
            handler=get_entries,
            summary="Read the lines of a tile",
            tag="log",
            answers={200: str},
            answer_media_type="application/octet-stream",
            errors=("forbidden", "not-found"),
        ),
        Endpoint(
            method="GET",
            path="/log/tile/{level:str}/{place:path}",
            handler=get_tile,
            summary="Read the hashes of a tile",
            tag="log",
            authenticated=False,
            answers={200: str},
            answer_media_type="application/octet-stream",
            errors=("not-found", "log-unavailable"),
            reads_state=False,
        ),
        Endpoint(
            method="GET",
            path="/log/proof/{position:str}",
            handler=prove_inclusion,
            summary="Prove that an event is in the log",
            tag="log",
            answers={200: str},
            answer_media_type="text/plain",
            errors=("not-found",),
        ),
        Endpoint(
            method="GET",
            path="/log/consistency/{size:str}",
            handler=prove_consistency,
            summary="Prove that the log continues what it was",
            tag="log",
            authenticated=False,
            answers={200: str},
            answer_media_type="text/plain",
            errors=("not-found",),
        ),
    ]
