"""The table of recorded failed logins of the last windows."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Final

import msgspec
from msgspec import Raw

from events.record import Record
from events.vocabulary.security import LoginFailed
from projections.copy_on_write import CopyOnWriteDict

WINDOWS_KEPT: Final = 7
"""The windows whose events are known: at least those of the last hour."""

_Key = tuple[str, str, str]
_decode_shared: Final = msgspec.msgpack.Decoder(tuple[tuple[str, ...], list[_Key]]).decode


class FailedLogins:
    """The windows, subjects and addresses of the failed logins that the log has.

    Only the newest windows are kept, by their starts, so that no time has to be computed.
    """

    def __init__(
        self, recorded: MutableMapping[_Key, None] | None = None, windows: Sequence[str] = ()
    ) -> None:
        self.recorded: MutableMapping[_Key, None] = {} if recorded is None else recorded
        self.windows = tuple(windows)
        """The starts of the windows that are kept, ascending."""

    def stage(self) -> FailedLogins:
        """A copy-on-write copy."""
        return FailedLogins(CopyOnWriteDict(self.recorded), self.windows)

    def on_failed(self, record: Record, event: LoginFailed) -> None:
        """Keep an event, and forget those of a window that is not one of the newest now."""
        window = event.window
        if window not in self.windows:
            windows = sorted((*self.windows, window))[-WINDOWS_KEPT:]
            for key in [key for key in self.recorded if key[0] not in windows]:
                del self.recorded[key]
            self.windows = tuple(windows)
        if window in self.windows:
            self.recorded[window, record.subject, event.address_hash] = None

    def has(self, window: str, subject: str, address_hash: str) -> bool:
        """Whether the log has, or may have, the failed logins of a window.

        It is unknown for a window that is older than those that are kept.
        """
        is_old = len(self.windows) == WINDOWS_KEPT and window < self.windows[0]
        return is_old or (window, subject, address_hash) in self.recorded

    def export_owner(self, _: int) -> tuple[object, object]:
        """Nothing, because no personal value is in it; see `Table`."""
        return None, None

    def load_owner(self, owner: int, public: Raw, personal: Raw | None) -> None:
        """Nothing; see `Table`."""

    def export_shared(self) -> object:
        """The windows and all events; see `Table`."""
        return self.windows, [*self.recorded]

    def load_shared(self, content: Raw) -> None:
        """Add all events from a snapshot; see `Table`."""
        self.windows, recorded = _decode_shared(content)
        self.recorded.update(dict.fromkeys(recorded))

    def finish_load(self) -> None:
        """Nothing; see `Table`."""
