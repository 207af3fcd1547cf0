"""A page of another origin in a real browser uses the API with credentials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.idioms import log_in
from tests.clients.services import Successor
from tests.end_to_end.browser import browser, needs_chromium, site
from tests.end_to_end.waiting import wait_until
from tests.servers.serving import serving

PAGE = Path(__file__).with_name("page.html")

pytestmark = [pytest.mark.long, needs_chromium]


@pytest.mark.parametrize("prefix", ["", "/api/v2"], ids=["v1", "v2"])
def test_a_page_of_a_listed_origin_can_read_every_answer(tmp_path: Path, prefix: str) -> None:
    titles = ["one", "two", "three"]
    with site() as page:
        origin = page.origin.replace("127.0.0.1", "localhost")
        settings = {"EVENTAPI_CORS_ORIGINS": origin, "EVENTAPI_CORS_CREDENTIALS": "on"}
        with serving(Successor(**settings)) as server, log_in(server.url) as session:
            for title in titles:
                session.post(f"{server.url}/items", json={"title": title}).raise_for_status()
            token = str(session.headers["Authorization"]).removeprefix("Bearer ")
            arguments = json.dumps([f"{server.url}{prefix}", token, len(titles)])
            page.page = PAGE.read_text().replace("ARGUMENTS", arguments).encode()

            with browser(origin, tmp_path / "profile"):
                wait_until(lambda: bool(page.seen))

    expected: list[Any] = [(201 if prefix else 200, True, 204, 422, True, 401, titles)]
    assert page.seen == expected
