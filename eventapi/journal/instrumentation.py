"""Instrumentation hooks of the journal. The base class does nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Final

_NOTHING: Final = nullcontext()


class Instrumentation:
    """Does nothing; a subclass overrides the hooks that it needs."""

    def write(self) -> AbstractContextManager[object]:
        """Entered by a request when its write is queued, and left when that is answered."""
        return _NOTHING

    def batch(self, requests: int, waited: float) -> None:
        """Called for each batch; ``waited`` is the wait for the lock in seconds."""

    def append(self, lines: int) -> AbstractContextManager[object]:
        """Entered and left around an append of lines to the log."""
        return _NOTHING


def combine(watches: Sequence[Instrumentation]) -> Instrumentation:
    """One object that calls all of these."""
    if not watches:
        return NO_INSTRUMENTATION
    return watches[0] if len(watches) == 1 else _Combined(watches)


class _Combined(Instrumentation):
    """Calls several others in their order."""

    def __init__(self, watches: Sequence[Instrumentation]) -> None:
        self._watches = watches

    def write(self) -> AbstractContextManager[object]:
        return _enter_all([watch.write() for watch in self._watches])

    def batch(self, requests: int, waited: float) -> None:
        for watch in self._watches:
            watch.batch(requests, waited)

    def append(self, lines: int) -> AbstractContextManager[object]:
        return _enter_all([watch.append(lines) for watch in self._watches])


class LateInstrumentation(Instrumentation):
    """Calls another object, which may be set later."""

    def __init__(self) -> None:
        self.watch: Instrumentation = NO_INSTRUMENTATION

    def write(self) -> AbstractContextManager[object]:
        return self.watch.write()

    def batch(self, requests: int, waited: float) -> None:
        self.watch.batch(requests, waited)

    def append(self, lines: int) -> AbstractContextManager[object]:
        return self.watch.append(lines)


@contextmanager
def _enter_all(contexts: Sequence[AbstractContextManager[object]]) -> Iterator[None]:
    with ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        yield


NO_INSTRUMENTATION: Final = Instrumentation()
