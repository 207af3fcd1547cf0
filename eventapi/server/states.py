"""The states of a connection and of its parser.

::

    phase      event                                               next phase
    OPEN       a request is malformed, too large or late, or       REFUSING
               there are too many connections
    OPEN       the connection was idle for too long, or the        CLOSING
               client has closed its side and has all answers
    REFUSING   the last answer is sent, or the client sends the    CLOSING
               rest of a refused body for too long
    any        the socket is closed                                LOST

A connection never returns to an earlier phase.

::

    stage      callback of the parser    next stage
    BETWEEN    on_message_begin          HEAD
    HEAD       on_headers_complete       BODY
    BODY       on_message_complete       BETWEEN

An answer may be complete while the stage is still BODY: the rest of the body is then discarded.
"""

from __future__ import annotations

from enum import Enum, auto


class Phase(Enum):
    """The phases of a connection, in order."""

    OPEN = auto()
    """Requests are parsed and answered."""

    REFUSING = auto()
    """Nothing more is parsed; requests that were accepted, and then the refusal, are answered."""

    CLOSING = auto()
    """Nothing more is answered; input is discarded until the client has read the last answer."""

    LOST = auto()
    """The socket is closed."""


class Stage(Enum):
    """The input that the parser expects next."""

    BETWEEN = auto()
    """The first byte of a request."""

    HEAD = auto()
    """The rest of a head."""

    BODY = auto()
    """The rest of a body, or of its trailers."""
