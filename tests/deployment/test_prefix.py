"""A server behind a path prefix: all its links stay under the prefix."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from tests.end_to_end.accounts import TIMEOUT_SECONDS, log_in
from tests.end_to_end.server import Command, Server, by_serve, by_uvicorn, uvicorn_of
from tests.servers.serving import serving
from tests.servers.web import Nginx

pytestmark = pytest.mark.long

PREFIXES = ("/below", "/api")
"""The second is also the beginning of the server's own paths."""

NGINX = """\
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log crit;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location {prefix}/ {{
            proxy_pass http://127.0.0.1:{behind}{stripped};
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"""

MOUNTED = """\
from eventapi.app import create_app

def app():
    inner = create_app()

    async def mounted(scope, receive, send):
        # What Starlette's Mount does: the path keeps the prefix (ASGI 3, root_path).
        if scope["type"] == "http" and scope["path"].startswith({prefix!r} + "/"):
            scope = {{**scope, "root_path": {prefix!r}}}
        await inner(scope, receive, send)

    return mounted
"""


class PrefixProxy(Nginx):
    """nginx in front of one server, which strips or keeps the prefix."""

    def __init__(self, behind: int, prefix: str, *, strip: bool) -> None:
        def configuration(port: int, folder: Path) -> str:
            stripped = "/" if strip else ""
            return NGINX.format(
                port=port, folder=folder, prefix=prefix, behind=behind, stripped=stripped
            )

        super().__init__(configuration)


def by_root_path(prefix: str) -> Command:
    """The arguments of uvicorn, which prepends the prefix to the path."""

    def command(port: int, workers: int) -> Sequence[str]:
        return [*by_uvicorn(port, workers), "--root-path", prefix]

    return command


COMMANDS: dict[str, Callable[[str], Command]] = {
    "root_path, stripped": by_root_path,
    "PUBLIC_URL, stripped": lambda _: by_serve,
    "mounted, kept": lambda _: uvicorn_of("mounted:app"),
}


@pytest.fixture(scope="module", params=PREFIXES)
def prefix(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module", params=COMMANDS)
def base(
    request: pytest.FixtureRequest, prefix: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of the server for clients, with the prefix."""
    data = tmp_path_factory.mktemp("prefix") / "data"
    data.mkdir()
    (data / "mounted.py").write_text(MOUNTED.format(prefix=prefix))
    settings = {"EVENTAPI_TRUSTED_PROXIES": "127.0.0.1"}
    server = Server(data, 1, COMMANDS[request.param](prefix), settings)
    with serving(PrefixProxy(server.port, prefix, strip="stripped" in request.param)) as nginx:
        url = f"{nginx.url}{prefix}"
        if "PUBLIC_URL" in request.param:
            settings["EVENTAPI_PUBLIC_URL"] = url
        with server:
            yield url


@pytest.fixture(scope="module")
def token(base: str) -> dict[str, str]:
    with httpx.Client(base_url=base, timeout=TIMEOUT_SECONDS) as client:
        return log_in(client, "ann")


def test_paths_of_every_version_are_routed(base: str, token: dict[str, str]) -> None:
    for version in ("", "/api/v1", "/api/v2"):
        assert httpx.get(f"{base}{version}/items", headers=token).status_code == 200
        assert httpx.get(f"{base}{version}/auth/me", headers=token).status_code == 200
        assert httpx.get(f"{base}{version}/log/checkpoint").status_code == 200
    assert httpx.get(f"{base}/health/ready").status_code == 200
    assert httpx.get(f"{base}/nowhere").status_code == 404


def test_path_with_the_prefix_twice_is_404(base: str, prefix: str, token: dict[str, str]) -> None:
    assert httpx.get(f"{base}{prefix}/items", headers=token).status_code == 404


def test_location_and_next_link_are_under_the_prefix(base: str, token: dict[str, str]) -> None:
    for number in range(3):
        made = httpx.post(f"{base}/api/v2/items", json={"title": str(number)}, headers=token)
        location = made.headers["location"]
        assert location.startswith(f"{base}/api/v2/items/")
        assert httpx.get(location, headers=token).json() == made.json()
    first = httpx.get(f"{base}/api/v2/items?limit=2", headers=token)
    following = first.json()["next"]
    assert following.startswith(f"{base}/api/v2/items?")
    assert first.links["next"]["url"] == following
    assert httpx.get(following, headers=token).status_code == 200


def test_errors_have_the_form_of_their_version(base: str, token: dict[str, str]) -> None:
    first = httpx.get(f"{base}/api/v1/items/999999", headers=token)
    second = httpx.get(f"{base}/api/v2/items/999999", headers=token)
    assert (first.status_code, first.json()["detail"]) == (404, "Item not found")
    assert first.headers["content-type"] == "application/json"
    assert second.headers["content-type"] == "application/problem+json"


def test_trailing_slash_redirects_under_the_prefix(base: str, token: dict[str, str]) -> None:
    answer = httpx.get(f"{base}/items/?limit=1", headers=token)
    assert answer.status_code == 307
    followed = urljoin(f"{base}/items/?limit=1", answer.headers["location"])
    assert followed == f"{base}/items?limit=1"
    assert httpx.get(f"{base}/docs/", follow_redirects=True).status_code == 200


def test_the_console_finds_its_files_under_the_prefix(base: str) -> None:
    for place in (f"{base}/console", f"{base}/console/items/7"):
        page = httpx.get(place)
        found = re.findall(r'(?:href|src)="([^":]+)"', page.text)
        assert len(found) > 20
        for address in found:
            assert httpx.get(urljoin(place, address)).status_code == 200, address


def test_empty_session_id_is_404_and_ends_no_session(base: str, token: dict[str, str]) -> None:
    assert httpx.delete(f"{base}/auth/sessions/", headers=token).status_code == 404
    assert httpx.get(f"{base}/auth/me", headers=token).status_code == 200


def test_idempotency_key_repeats_the_response(base: str, token: dict[str, str]) -> None:
    headers = {**token, "Idempotency-Key": "once"}
    first, again = (
        httpx.post(f"{base}/api/v2/items", json={"title": "once"}, headers=headers)
        for _ in range(2)
    )
    assert first.json() == again.json()
    assert first.headers["location"] == again.headers["location"]


def test_documentation_loads_everything_from_under_the_prefix(base: str) -> None:
    page = httpx.get(f"{base}/docs")
    assert page.status_code == 200
    links = [
        urljoin(f"{base}/docs", link) for link in re.findall(r'(?:src|href)="([^"]+)"', page.text)
    ]
    links = [link for link in links if not link.startswith("data:")]
    assert len(links) >= 3
    for link in links:
        assert link.startswith(f"{base}/"), link
        assert httpx.get(link, follow_redirects=True).status_code == 200, link


def test_openapi_document_names_a_server_under_the_prefix(base: str) -> None:
    """Without `servers` the server would be the root of the host (OpenAPI 3.1, 4.8.1)."""
    document = httpx.get(f"{base}/openapi.json").json()
    (server,) = [one["url"] for one in document.get("servers", [{"url": "/"}])]
    address = urljoin(f"{base}/openapi.json", server)
    assert httpx.get(f"{address.rstrip('/')}/health/live").status_code == 200


def test_problem_type_resolves_to_its_page(base: str) -> None:
    """A relative type is resolved against the address of the request (RFC 9457)."""
    kind = httpx.get(f"{base}/nowhere").json()["type"]
    assert kind == "/problems/not-found"
    assert httpx.get(f"{base}{kind}").status_code == 200


def test_unversioned_path_announces_no_deprecation(base: str) -> None:
    assert "deprecation" not in httpx.get(f"{base}/auth/me").headers
