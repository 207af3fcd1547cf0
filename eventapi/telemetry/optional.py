"""Optional packages: which the settings need, and which are installed."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final
from urllib.parse import urlsplit

from events.errors import ConfigurationError

_ENDPOINT_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOL_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL: Final = "http/protobuf"

PACKAGES: Final = {
    "otel": ("opentelemetry-sdk>=1.45,<2", "opentelemetry-exporter-otlp-proto-http>=1.45,<2"),
    "sentry": ("sentry-sdk>=2.75,<3",),
}
"""The extras of ``pyproject.toml``, by package, because this project is not on PyPI."""


def require_tracing(environ: Mapping[str, str]) -> bool:
    """Whether OpenTelemetry's own variables turn traces on.

    Raises `ConfigurationError` for an unsupported value or a missing package.
    """
    endpoint = next((name for name in _ENDPOINT_VARIABLES if environ.get(name)), None)
    if endpoint is None or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    if exporter == "none":
        return False
    if exporter != "otlp":
        raise ConfigurationError(f"OTEL_TRACES_EXPORTER: only otlp or none, not {exporter}")
    protocol = next((environ[name] for name in _PROTOCOL_VARIABLES if environ.get(name)), _PROTOCOL)
    if protocol != _PROTOCOL:
        raise ConfigurationError(f"OTEL_EXPORTER_OTLP_PROTOCOL: only {_PROTOCOL}, not {protocol}")
    if not _is_http_url(environ[endpoint].strip()):
        raise ConfigurationError(f"{endpoint}: must begin with http:// or https:// and a host")
    _require("opentelemetry.exporter.otlp.proto.http", "otel", endpoint)
    return True


def _is_http_url(text: str) -> bool:
    """Whether it is an HTTP URL with a host.

    The exporter would log one that it cannot parse, with its password.
    """
    try:
        parts = urlsplit(text)
        is_port = parts.port != 0  # Raises `ValueError`, also if a password has a `/` or `#`.
    except ValueError:
        return False
    return (
        parts.scheme in {"http", "https"} and bool(parts.hostname) and is_port and " " not in text
    )


def require_sentry(dsn: str | None) -> bool:
    """Whether Sentry is on; raises `ConfigurationError` without its package."""
    if not dsn:
        return False
    _require("sentry_sdk", "sentry", "EVENTAPI_SENTRY_DSN")
    return True


def _require(module: str, extra: str, setting: str) -> None:
    try:
        found = find_spec(module) is not None
    except ModuleNotFoundError:  # The parent package is missing.
        found = False
    if not found:
        command = shlex.join([sys.executable, "-m", "pip", "install", *PACKAGES[extra]])
        raise ConfigurationError(
            f"{setting} is set, but a package that it needs is not installed; install it with: {command}"
        )
