"""Signals of a server: it ends at any moment, starts anew at SIGHUP, and prints no traceback."""

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
    """End this process at once when it is asked to, for as long as it serves nothing.

    The kernel drops a signal to process 1 that has no handler, so a container would have to be
    killed. Signals that arrived while they were blocked, see `eventapi.server.restarting`, arrive now;
    SIGHUP waits for its own handler.
    """
    for number in END_SIGNALS:
        signal.signal(number, exit_now)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)


@contextmanager
def interrupts_exit() -> Iterator[None]:
    """Within, Ctrl-C ends the process at once: imports leave nothing to clean up.

    An exception out of the middle of an import, and another one out of its handling, would be
    printed as a traceback.
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
    """Handler: end at once. Nothing was acknowledged yet, so nothing has to be finished."""
    os._exit(_exit_code(number))


def exit_once(number: int, _frame: FrameType | None) -> NoReturn:
    """Handler: end in an orderly way, whatever signals follow."""
    for other in END_SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    sys.exit(_exit_code(number))


def _exit_code(number: int) -> int:
    """To have ended when asked to is no failure; an interrupt is reported as by a shell."""
    return 128 + number if number == signal.SIGINT else os.EX_OK


def handle_hangup(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    """Install a handler of SIGHUP, and let the signal arrive that `exit_at_signals` held back."""
    signal.signal(signal.SIGHUP, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def signal_name(number: int) -> str:
    """Such as SIGKILL; real-time signals have no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Terminal:
    """The terminal that a server was started from; closing it sends SIGHUP as well.

    Under `nohup` the server has nothing to do with it. Create it before there is a handler.
    """

    def __init__(self) -> None:
        is_ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        self._had_terminal = not is_ignored and _has_terminal()

    def was_closed(self) -> bool:
        """Whether there was one and it was closed since."""
        return self._had_terminal and not _has_terminal()


def _has_terminal() -> bool:
    with suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
        return True
    return False
