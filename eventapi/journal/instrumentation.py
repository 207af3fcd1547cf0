"""What the journal tells of its work to whoever wants to know; by itself, nothing comes of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Final

_NOTHING: Final = nullcontext()


class Instrumentation:
    """Hears nothing; a subclass overrides what it wants to hear."""

    def write(self) -> AbstractContextManager[object]:
        """Entered by a request when its write is queued, and left when that is answered."""
        return _NOTHING

    def batch(self, requests: int, waited: float) -> None:
        """Told when so many requests are written together, the lock waited for so many seconds."""

    def append(self, lines: int) -> AbstractContextManager[object]:
        """Entered and left around an append of so many lines to the log."""
        return _NOTHING


def combine(watches: Sequence[Instrumentation]) -> Instrumentation:
    """One that hears for all of these."""
    if not watches:
        return NO_INSTRUMENTATION
    return watches[0] if len(watches) == 1 else _Several(watches)


class _Several(Instrumentation):
    """Hears for others, in their order."""

    def __init__(self, watches: Sequence[Instrumentation]) -> None:
        self._watches = watches

    def write(self) -> AbstractContextManager[object]:
        return _entered([watch.write() for watch in self._watches])

    def batch(self, requests: int, waited: float) -> None:
        for watch in self._watches:
            watch.batch(requests, waited)

    def append(self, lines: int) -> AbstractContextManager[object]:
        return _entered([watch.append(lines) for watch in self._watches])


class LateWatch(Instrumentation):
    """Passes everything on to another watch, which may come later."""

    def __init__(self) -> None:
        self.watch: Instrumentation = NO_INSTRUMENTATION

    def write(self) -> AbstractContextManager[object]:
        return self.watch.write()

    def batch(self, requests: int, waited: float) -> None:
        self.watch.batch(requests, waited)

    def append(self, lines: int) -> AbstractContextManager[object]:
        return self.watch.append(lines)


@contextmanager
def _entered(contexts: Sequence[AbstractContextManager[object]]) -> Iterator[None]:
    with ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        yield


NO_INSTRUMENTATION: Final = Instrumentation()
