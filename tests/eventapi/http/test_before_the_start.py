"""Requests before the application has started, such as with `uvicorn --lifespan off`."""

from __future__ import annotations

import httpx
import pytest

from eventapi.app import create_app
from tests.eventapi.http.client import quiet_settings


@pytest.mark.parametrize("path", ["/health/live", "/items", "/nope", "/docs", "/api/v2/items"])
async def test_a_request_before_the_start_is_a_503(path: str) -> None:
    transport = httpx.ASGITransport(create_app(quiet_settings()))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get(path)

    assert answer.status_code == 503
    assert answer.json()["type"] == "/problems/log-unavailable"
    assert "x-request-id" in answer.headers
