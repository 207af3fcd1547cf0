"""Restart of a server of one process, with new code, while its socket stays open.

::

    SIGHUP ─> finish requests ─> exec the same command ─> inherit the socket ─> serve

The process keeps its id. Connections that arrive during the restart wait in the socket's queue,
which the kernel keeps while a descriptor is open.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Final, NoReturn

from eventapi.server.signals import END_SIGNALS
from eventapi.tasks.isolation import original_environment

_SOCKET_VARIABLE: Final = "_EVENTAPI_LISTENING"
"""``PID:DESCRIPTOR`` of the socket; the id shows that the variable is meant for this process."""


def inherited_socket() -> socket.socket | None:
    """The socket that this process had before it restarted."""
    process, _, descriptor = os.environ.pop(_SOCKET_VARIABLE, "").partition(":")
    if process != str(os.getpid()):
        return None
    return socket.socket(fileno=int(descriptor))


def restart(listening: socket.socket) -> NoReturn:
    """Replace this process by a new run of its command, which inherits the socket.

    Signals are blocked until the new run has installed its handlers. Otherwise they would end it or,
    in process 1, be dropped by the kernel.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {*END_SIGNALS, signal.SIGHUP})
    listening.set_inheritable(True)
    environment = original_environment()
    environment[_SOCKET_VARIABLE] = f"{os.getpid()}:{listening.fileno()}"
    # The operator accepted the clock for the first run only.
    arguments = [one for one in sys.orig_argv[1:] if one != "--accept-clock"]
    os.execve(sys.executable, [sys.executable, *arguments], environment)  # noqa: S606
