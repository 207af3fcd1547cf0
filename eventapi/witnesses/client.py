"""Ask one witness for a cosignature: C2SP tlog-witness, ``add-checkpoint``."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from events.errors import NotDelivered
from events.transparency.checkpoints import Checkpoints
from events.transparency.policy import Witness
from events.transparency.signed_note import Consistency, Note, Signature, TreeHead

MAX_SKEW_SECONDS: Final = 300
"""How far the time of a new cosignature may be from the clock of this machine."""

MAX_ANSWER_BYTES: Final = 1 << 16

_ATTEMPTS: Final = 3
"""The first one may have a wrong old size, and the witness may know more by the next."""

_HEADERS: Final = [(b"content-type", b"text/plain; charset=utf-8"), (b"user-agent", b"eventapi")]
_SIZE: Final = re.compile(rb"(0|[1-9][0-9]{0,17})\n?")
_REASONS: Final = {
    400: "it finds the request malformed",
    403: "it does not trust this log's key: give its operator the output of "
    "`eventapi log checkpoint --key`",
    404: "it does not know this log: give its operator the output of "
    "`eventapi log checkpoint --key`",
    429: "it limits requests",
}

Exchange = Callable[[str, list[tuple[bytes, bytes]], bytes, int], Awaitable[tuple[int, bytes]]]
"""Posts a body and returns status and body of the answer; raises `NotDelivered`."""


class Contradiction(Exception):
    """A witness has seen another history of this log than the one that is here."""


class Cosigned(msgspec.Struct, frozen=True):
    """A cosignature, its time in seconds since 1970, and the checkpoint's size."""

    size: int
    signature: Signature
    time: int


class WitnessClient:
    """Submits checkpoints with their proofs of consistency."""

    def __init__(
        self, checkpoints: Checkpoints, exchange: Exchange, now: Callable[[], float]
    ) -> None:
        """``now`` returns the time in seconds since 1970."""
        self._checkpoints = checkpoints
        self._exchange = exchange
        self._now = now

    async def cosign(self, witness: Witness, note: Note, old: int) -> Cosigned:
        """The verified cosignature of a witness under a checkpoint of this log.

        ``old`` is the size that the witness is believed to have seen, at most that of the checkpoint.
        Raises `NotDelivered`, `Contradiction`, and the errors of `Checkpoints.current`.
        """
        head = TreeHead.parse(note)
        for _ in range(_ATTEMPTS):
            status, answer = await self._submit(witness, note, old, head.size)
            if status == 200:
                return self._verified(witness, note, head.size, answer)
            if status == 422:
                raise Contradiction(
                    f"the first {old:,} events of the log are not the ones that it has seen"
                )
            if status != 409:
                raise NotDelivered(_REASONS.get(status, f"it answered {status}"))
            seen = _SIZE.fullmatch(answer)
            if old == head.size and (seen is None or int(seen[1]) == old):
                raise Contradiction(f"it has seen {old:,} events, which are not those of this log")
            if seen is None or int(seen[1]) == old:
                raise NotDelivered("it answered 409 without another size")
            old = int(seen[1])
            if old > head.size:
                await self._require_size(old)
                raise NotDelivered("it has seen a newer checkpoint, which is submitted next")
        raise NotDelivered("it changes its size from one answer to the next")

    async def _submit(self, witness: Witness, note: Note, old: int, size: int) -> tuple[int, bytes]:
        hashes = await self._checkpoints.tree.consistency(old, size)
        body = str(Consistency(old, hashes, note)).encode()
        url = f"{witness.url}/add-checkpoint"
        return await self._exchange(url, _HEADERS, body, MAX_ANSWER_BYTES)

    async def _require_size(self, seen: int) -> None:
        """Raise `Contradiction` if this log has never signed so many events.

        Every signature is recorded before it leaves a process, so the newest checkpoint of all
        processes covers what a witness can have seen.
        """
        newest = TreeHead.parse(await self._checkpoints.current()).size
        if newest < seen:
            raise Contradiction(
                f"it has seen {seen:,} events, and the newest checkpoint covers {newest:,}"
            )

    def _verified(self, witness: Witness, note: Note, size: int, answer: bytes) -> Cosigned:
        try:
            given = Note.parse(f"{note.text}\n{answer.decode()}")
        except ValueError:
            given = None
        found = None
        if given is not None and given.text == note.text:
            found = witness.cosigner.newest(given)
        if found is None:
            raise NotDelivered("its answer has no valid cosignature of the key in the policy")
        time, signature = found
        skew = abs(time - self._now())
        if skew > MAX_SKEW_SECONDS:
            raise NotDelivered(
                f"its cosignature is dated {skew:,.0f} seconds from now; check both clocks"
            )
        return Cosigned(size, signature, time)
