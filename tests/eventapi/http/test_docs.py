"""The documentation page asks nobody but this server for anything."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from eventapi.http.problem_types import PROBLEMS
from tests.eventapi.http.client import Api


class References(HTMLParser):
    """Everything that a page refers to, and whether a script stands in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline: list[str] = []
        self._in_script = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in {"src", "href", "action"}]
        self.inline += [name for name, _ in attrs if name.startswith("on")]
        self._in_script = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.inline.append(data)


def test_the_page_names_only_assets_that_are_served_here(api: Api) -> None:
    answer = api.request("GET", "/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    references = References(answer.text)
    types = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
    assets = [reference for reference in references.found if not reference.startswith("data:")]
    assert len(assets) == 3
    for asset in assets:
        assert re.match(r"/[^/]", asset)
        served = api.request("GET", asset)
        assert served.status_code == 200
        assert served.headers["content-type"] == types["." + asset.rpartition(".")[2]]
        assert served.content
    assert references.inline == []


def test_control_a_page_with_a_foreign_asset_would_be_seen() -> None:
    page = '<script src="https://cdn.example/x.js"></script><script>alert(1)</script><p onclick=x>'
    references = References(page)
    assert references.found == ["https://cdn.example/x.js"]
    assert references.inline == ["alert(1)", "onclick"]


def test_the_style_sheet_loads_nothing_from_elsewhere(api: Api) -> None:
    style = api.request("GET", "/docs/assets/swagger-ui.css").text
    urls = re.findall(r"url\(\s*[\"']?([^\"')]{0,12})", style)
    assert all(url.startswith("data:") for url in urls)
    assert "@import" not in style


def test_the_browser_is_told_to_load_nothing_from_elsewhere(api: Api) -> None:
    for path in ("/docs", "/docs/start.js", "/docs/assets/swagger-ui.css"):
        policy = api.request("GET", path).headers["content-security-policy"]
        directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
        assert directives["default-src"] == "'none'"
        sources = " ".join(directives.values()).split()
        assert set(sources) <= {"'none'", "'self'", "data:", "'unsafe-inline'"}
        assert directives["script-src"] == "'self'"


def test_the_page_starts_with_this_servers_document(api: Api) -> None:
    script = api.request("GET", "/docs/start.js").text
    assert '"/openapi.json"' in script
    assert "validatorUrl: null" in script
    assert "http" not in script


@pytest.mark.parametrize("slug", PROBLEMS)
def test_every_problem_type_is_documented_where_its_uri_points(api: Api, slug: str) -> None:
    answer = api.request("GET", f"/problems/{slug}")
    assert (answer.status_code, answer.headers["content-type"]) == (
        200,
        "text/plain; charset=utf-8",
    )
    kind = PROBLEMS[slug]
    assert answer.text.startswith(f"{slug} ({kind.status}): {kind.title}")
    assert kind.meaning in answer.text


def test_the_problem_types_are_those_of_the_contract() -> None:
    assert {slug: kind.status for slug, kind in PROBLEMS.items()} == {
        "malformed-body": 400,
        "unauthenticated": 401,
        "invalid-credentials": 401,
        "account-disabled": 403,
        "forbidden": 403,
        "not-found": 404,
        "method-not-allowed": 405,
        "request-timeout": 408,
        "username-taken": 409,
        "email-taken": 409,
        "request-in-progress": 409,
        "quota-exceeded": 409,
        "precondition-failed": 412,
        "body-too-large": 413,
        "uri-too-long": 414,
        "unsupported-media-type": 415,
        "validation-failed": 422,
        "idempotency-key-reused": 422,
        "rate-limited": 429,
        "headers-too-large": 431,
        "internal-error": 500,
        "log-unavailable": 503,
        "overloaded": 503,
        "storage-full": 507,
    }
