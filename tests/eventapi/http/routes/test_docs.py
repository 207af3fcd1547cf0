"""The documentation page: loaded from this server only, compressed and cached."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest

from eventapi.http.problem_types import PROBLEMS
from tests.eventapi.http.client import Api, quiet_settings


class References(HTMLParser):
    """Everything that a page refers to, and its inline scripts."""

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


PAGES = {"/docs": "v2", "/docs/v1": "v1"}
"""The version that each page shows: the newest first."""


@pytest.mark.parametrize("page", PAGES)
def test_the_page_refers_only_to_assets_of_this_server(api: Api, page: str) -> None:
    answer = api.request("GET", page)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    references = References(answer.text)
    types = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
    assets = [one for one in references.found if one.endswith(tuple(types))]

    assert len(assets) == 4
    for asset in assets:
        served = api.request("GET", urljoin(page, asset))
        assert served.status_code == 200
        assert served.headers["content-type"] == types["." + asset.rpartition(".")[2]]
        assert served.content
    assert references.inline == []


@pytest.mark.parametrize("root", ["", "/prefix"])
@pytest.mark.parametrize("page", PAGES)
def test_urls_are_relative_and_work_below_any_path_prefix(api: Api, page: str, root: str) -> None:
    text = api.request("GET", page).text
    addresses = [one for one in References(text).found if not one.startswith("data:")]
    addresses += re.findall(r'data-document="([^"]+)"', text)
    assert len(addresses) == 8

    for address in addresses:
        assert not address.startswith(("/", "http"))
        place = urljoin(f"{root}{page}", address)
        assert place.startswith(f"{root}/")
        assert api.request("GET", place.removeprefix(root)).status_code == 200


@pytest.mark.parametrize(("page", "version"), list(PAGES.items()))
def test_a_page_shows_one_version_and_links_to_the_others(
    api: Api, page: str, version: str
) -> None:
    text = api.request("GET", page).text
    (document,) = re.findall(r'data-document="([^"]+)"', text)
    assert urljoin(page, document) == f"/api/{version}/openapi.json"

    links = re.findall(r'<a href="([^"]+)"( aria-current="page")?>Version', text)
    assert [urljoin(page, link) for link, _ in links] == list(PAGES)
    assert [urljoin(page, link) for link, current in links if current] == [page]


def test_control_a_foreign_asset_in_a_page_is_detected() -> None:
    page = '<script src="https://cdn.example/x.js"></script><script>alert(1)</script><p onclick=x>'
    references = References(page)

    assert references.found == ["https://cdn.example/x.js"]
    assert references.inline == ["alert(1)", "onclick"]


def test_the_style_sheet_loads_nothing_from_other_servers(api: Api) -> None:
    style = api.request("GET", "/docs/assets/swagger-ui.css").text
    urls = re.findall(r"url\(\s*[\"']?([^\"')]{0,12})", style)

    assert all(url.startswith("data:") for url in urls)
    assert "@import" not in style


def test_the_policy_allows_sources_of_this_server_only(api: Api) -> None:
    for path in (*PAGES, "/docs/start.js", "/docs/assets/swagger-ui.css"):
        policy = api.request("GET", path).headers["content-security-policy"]
        directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
        assert directives["default-src"] == "'none'"
        sources = " ".join(directives.values()).split()
        assert set(sources) <= {"'none'", "'self'", "data:", "'unsafe-inline'"}
        assert directives["script-src"] == "'self'"


def test_the_page_starts_collapsed_and_uses_no_external_validator(api: Api) -> None:
    script = api.request("GET", "/docs/start.js").text

    assert "validatorUrl: null" in script
    assert 'docExpansion: "list"' in script
    assert "://" not in script


def test_the_documents_have_the_public_url_of_the_server() -> None:
    settings = quiet_settings(public_url="https://api.example/prefix")
    with Api(settings) as api:
        document = api.request("GET", "/api/v2/openapi.json").json()
    assert document["servers"] == [{"url": "https://api.example/prefix"}]

    flow = document["components"]["securitySchemes"]["bearer"]["flows"]["password"]
    assert flow["tokenUrl"] == "https://api.example/prefix/api/v2/auth/login"
    assert flow["refreshUrl"] == "https://api.example/prefix/api/v2/auth/refresh"


CACHED = [
    *PAGES,
    *("/docs/start.js", "/docs/page.css"),
    *("/docs/assets/swagger-ui.css", "/docs/assets/swagger-ui-bundle.js"),
    *("/openapi.json", "/api/v1/openapi.json", "/api/v2/openapi.json"),
]


@pytest.mark.parametrize("path", CACHED)
def test_static_content_is_compressed_if_the_client_accepts_it(api: Api, path: str) -> None:
    plain = api.request("GET", path, headers={"accept-encoding": "identity"})

    packed = api.request("GET", path, headers={"accept-encoding": "br, gzip;q=0.5"})

    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content  # The client unpacks it.
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"])
    for answer in (plain, packed):
        assert "accept-encoding" in answer.headers["vary"].lower()


@pytest.mark.parametrize(
    ("accepted", "is_packed"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("*", True),
        ("gzip;q=0", False),
        ("*, gzip;q=0", False),
        ("*;q=0", False),
        ("br", False),
        ("", False),
        ("gzip;q=x", True),
    ],
)
def test_the_content_coding_is_one_that_the_client_accepts(
    api: Api, accepted: str, is_packed: bool
) -> None:
    answer = api.request("GET", "/openapi.json", headers={"accept-encoding": accepted})

    assert ("content-encoding" in answer.headers) == is_packed
    assert answer.json()["openapi"] == "3.1.0"


@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize("path", CACHED)
def test_content_that_the_client_has_is_a_304(api: Api, path: str, coding: str) -> None:
    headers = {"accept-encoding": coding}
    first = api.request("GET", path, headers=headers)
    tag = first.headers["etag"]
    assert re.fullmatch(r'"[!#-~]+"', tag)  # Strong, because it does not begin with W/.
    assert first.headers["cache-control"] == "no-cache"

    for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        again = api.request("GET", path, headers=headers | {"if-none-match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert "content-length" not in again.headers
        for name in ("etag", "vary", "cache-control"):
            assert again.headers[name] == first.headers[name]
    other = api.request("GET", path, headers=headers | {"if-none-match": '"other"'})
    assert (other.status_code, other.content) == (200, first.content)


@pytest.mark.parametrize("path", CACHED)
def test_each_content_coding_has_its_own_entity_tag(api: Api, path: str) -> None:
    """RFC 9110, section 8.8.3.3: a strong entity tag identifies the sent bytes."""
    tags = {
        api.request("GET", path, headers={"accept-encoding": coding}).headers["etag"]
        for coding in ("identity", "gzip")
    }
    assert len(tags) == 2


def test_content_is_built_and_compressed_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.request("GET", "/openapi.json")
    monkeypatch.setattr("gzip.compress", None)

    assert api.request("GET", "/openapi.json").status_code == 200


@pytest.mark.parametrize("slug", PROBLEMS)
def test_every_problem_type_is_documented_at_its_uri(api: Api, slug: str) -> None:
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
        "second-factor-required": 401,
        "account-disabled": 403,
        "email-unverified": 403,
        "forbidden": 403,
        "not-found": 404,
        "method-not-allowed": 405,
        "request-timeout": 408,
        "username-taken": 409,
        "email-taken": 409,
        "request-in-progress": 409,
        "quota-exceeded": 409,
        "action-refused": 409,
        "not-unique": 409,
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
        "projection-failed": 503,
        "overloaded": 503,
        "storage-full": 507,
    }
