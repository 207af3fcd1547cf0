"""Reads the page of metrics of an app."""

from __future__ import annotations

from tests.eventapi.http.client import Api
from tests.eventapi.telemetry.metrics.reading import Page

REQUESTS = "eventapi_http_requests_total"
DURATIONS = "eventapi_http_request_duration_seconds"


def scrape(api: Api, **headers: str) -> Page:
    """Request the page and parse it."""
    answer = api.request("GET", "/metrics", headers=headers)
    assert answer.status_code == 200
    return Page.of(answer.text, answer.headers["content-type"])


def requests(page: Page, method: str, route: str, status: int) -> float | None:
    """The number of requests with these labels, if the page has them."""
    return page.value(REQUESTS, method=method, route=route, status=str(status))
