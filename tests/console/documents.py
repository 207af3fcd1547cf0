"""The OpenAPI document of a server with a declared resource."""

from __future__ import annotations

from typing import Any

from eventapi.resources.registry import load_registry
from tests.eventapi.http.client import Api


def document() -> Any:
    """The document of version 2 with items and the invoices of the example."""
    with Api(registry=load_registry(("eventapi.examples.shop",))) as api:
        return api.request("GET", "/api/v2/openapi.json").json()
