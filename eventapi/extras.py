"""What is not installed with eventapi itself: whether it is wanted, and then whether it is there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final

from events.errors import ConfigurationError

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SPOKEN: Final = "http/protobuf"
_ADDRESS: Final = re.compile(r"https?://[^/?#]", re.IGNORECASE)


def traces_wanted(environ: Mapping[str, str]) -> bool:
    """Whether OpenTelemetry's own variables ask for traces.

    Raises `ConfigurationError` where they ask for what there is not.
    """
    endpoint = next((name for name in _ENDPOINTS if environ.get(name)), None)
    if endpoint is None or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    if exporter == "none":
        return False
    if exporter != "otlp":
        raise ConfigurationError(f"OTEL_TRACES_EXPORTER: only otlp or none, not {exporter}")
    protocol = next((environ[name] for name in _PROTOCOLS if environ.get(name)), _SPOKEN)
    if protocol != _SPOKEN:
        raise ConfigurationError(f"OTEL_EXPORTER_OTLP_PROTOCOL: only {_SPOKEN}, not {protocol}")
    if not _ADDRESS.match(environ[endpoint].strip()):
        raise ConfigurationError(f"{endpoint}: must begin with http:// or https:// and a host")
    _require("opentelemetry.exporter.otlp.proto.http", "otel", endpoint)
    return True


def reports_wanted(dsn: str | None) -> bool:
    """Whether Sentry is to be told of errors; raises `ConfigurationError` where it cannot be."""
    if not dsn:
        return False
    _require("sentry_sdk", "sentry", "EVENTAPI_SENTRY_DSN")
    return True


def _require(module: str, extra: str, setting: str) -> None:
    try:
        found = find_spec(module) is not None
    except ModuleNotFoundError:  # Of a package above it.
        found = False
    if not found:
        raise ConfigurationError(f"{setting} is set, which needs: pip install 'eventapi[{extra}]'")
