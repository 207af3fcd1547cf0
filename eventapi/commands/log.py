"""Commands about the log itself."""

from __future__ import annotations

from base64 import b64encode

import msgspec

from eventapi.commands.command import Decision
from events.vocabulary.signing_keys import CHECKPOINTS, LogResumed
from projections.state import State


class ResumeLog(msgspec.Struct, frozen=True):
    """Continue to sign the log with a new signing key.

    ``key`` is its verifier key, ``previous`` the name of the key before; ``size`` and ``root`` are
    the newest head that is known to be signed by ``previous``.
    """

    key: str
    actor: str
    previous: str | None = None
    size: int | None = None
    root: bytes | None = None

    def decide(self, state: State) -> Decision:
        root = None if self.root is None else b64encode(self.root).decode()
        event = LogResumed(self.key, self.previous, self.size, root)
        return Decision(CHECKPOINTS, event, self.actor)
