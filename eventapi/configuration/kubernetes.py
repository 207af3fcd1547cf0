"""Recognise the variables that Kubernetes injects ("service links")."""

from __future__ import annotations

import re
from typing import Final

_NAME: Final = re.compile(
    r"SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?"
)
_ADDRESS: Final = re.compile(r"(tcp|udp|sctp)://\S+:[0-9]+", re.IGNORECASE)


def is_service_link(name: str, value: str) -> bool:
    """Whether a variable describes a Service whose name in capitals is our prefix.

    ``name`` lacks the prefix. A Service "eventapi" leads to variables such as
    ``EVENTAPI_PORT=tcp://10.0.0.1:8000``.
    """
    if name == "PORT":
        return _ADDRESS.fullmatch(value) is not None
    return _NAME.fullmatch(name) is not None
