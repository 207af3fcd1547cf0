"""Signal handlers of a server: stop at any moment, without a traceback."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final, NoReturn

END_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def exit_at_signals() -> None:
    """Exit at once at SIGTERM and SIGINT, until the server installs its own handlers.

    The kernel drops signals to process 1 without a handler, so a container would have to be killed.
    Signals that were blocked by `eventapi.server.restarting` are delivered now; SIGHUP stays blocked
    until `handle_hangup`.
    """
    for number in END_SIGNALS:
        signal.signal(number, exit_now)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)


@contextmanager
def interrupts_exit() -> Iterator[None]:
    """Exit at once at Ctrl-C during imports, which leave nothing to clean up.

    A KeyboardInterrupt in the middle of an import would be printed as a traceback.
    """
    if signal.getsignal(signal.SIGINT) != signal.default_int_handler or _is_in_thread():
        yield
        return
    signal.signal(signal.SIGINT, exit_now)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_in_thread() -> bool:
    return threading.current_thread() is not threading.main_thread()


def exit_now(number: int, _frame: FrameType | None) -> NoReturn:
    """Signal handler: exit at once, because nothing was acknowledged yet."""
    os._exit(_exit_code(number))


def exit_once(number: int, _frame: FrameType | None) -> NoReturn:
    """Signal handler: exit in an orderly way, and ignore further signals."""
    ignore_end_signals()
    sys.exit(_exit_code(number))


def ignore_end_signals() -> None:
    """Ignore SIGTERM and SIGINT from now on, because the process is ending.

    The interpreter resets every other handler at its end, and a repeated signal would then kill the
    process, whose exit code would report a failure.
    """
    for number in END_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _exit_code(number: int) -> int:
    """0 for SIGTERM, because stopping on request is no failure; as a shell for SIGINT."""
    return 128 + number if number == signal.SIGINT else os.EX_OK


def handle_hangup(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    """Install a handler of SIGHUP, and unblock the signal."""
    signal.signal(signal.SIGHUP, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def signal_name(number: int) -> str:
    """The name of a signal, such as SIGKILL, or its number for real-time signals."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Terminal:
    """The terminal that a server was started from; closing it sends SIGHUP.

    Create it before a handler of SIGHUP is installed: an ignored SIGHUP means `nohup`.
    """

    def __init__(self) -> None:
        is_ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        self._had_terminal = not is_ignored and _has_terminal()

    def was_closed(self) -> bool:
        """Whether the server had a terminal that has been closed since."""
        return self._had_terminal and not _has_terminal()


def _has_terminal() -> bool:
    with suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
        return True
    return False
