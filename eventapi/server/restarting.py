"""A server of one process that starts anew, with new code, while its socket stays open.

::

    SIGHUP ─> finish the requests ─> exec the same command ─> take the socket over ─> serve

The process keeps its id. Connections that arrive meanwhile wait in the queue of the socket, which
the kernel keeps for as long as a descriptor of it is open.
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
"""``PID:DESCRIPTOR``: the socket of the process that had this id before."""


def inherited_socket() -> socket.socket | None:
    """The socket that this process had before it started anew."""
    process, _, descriptor = os.environ.pop(_SOCKET_VARIABLE, "").partition(":")
    if process != str(os.getpid()):
        return None
    return socket.socket(fileno=int(descriptor))


def restart(listening: socket.socket) -> NoReturn:
    """Replace this process by a new run of the same command, which takes the socket over.

    Signals are blocked until the new run has its handlers: they would end it, or be dropped by the
    kernel where it is process 1.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {*END_SIGNALS, signal.SIGHUP})
    listening.set_inheritable(True)
    environment = original_environment()
    environment[_SOCKET_VARIABLE] = f"{os.getpid()}:{listening.fileno()}"
    # The operator's word about the clock was for the first run.
    arguments = [one for one in sys.orig_argv[1:] if one != "--accept-clock"]
    os.execve(sys.executable, [sys.executable, *arguments], environment)  # noqa: S606
