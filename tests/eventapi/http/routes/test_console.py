"""The console: which files are served, how, and that they load nothing from other servers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path, PurePosixPath
from urllib.parse import urljoin

import httpx
import pytest

from eventapi.http.routes.console import Assets
from tests.eventapi.http.client import Api, assert_problem, quiet_settings
from tests.eventapi.http.routes.test_docs import References

ASSETS = Assets()
SOURCE = Path(str(files("eventapi"))) / "console"
FILES = sorted(one for one in SOURCE.rglob("*") if one.is_file())
VENDORED = {"vendor/preact.js", "vendor/LICENSE"}
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self' data:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
PAGES = [
    *("/console", "/console/items", "/console/items/7", "/console/audit/events/12"),
    *("/reset-password", "/verify-email"),
]
MAX_BYTES = 150_000
IMPORT = re.compile(r'^\s*(?:import|\} from|export .* from)\b[^"\n]*"([^"]+)"', re.MULTILINE)


def name_of(file: Path) -> str:
    return file.relative_to(SOURCE).as_posix()


@pytest.fixture(scope="module")
def without() -> Iterator[Api]:
    with Api(quiet_settings(console="off")) as api:
        yield api


@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_the_same_document_with_a_strict_policy(api: Api, page: str) -> None:
    answer = api.request("GET", page)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    given = answer.headers.get_list("content-security-policy")
    assert [dict(part.strip().split(" ", 1) for part in one.split(";")) for one in given] == [
        POLICY
    ]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    references = References(answer.text)
    assert references.inline == []
    assert "style=" not in answer.text
    assert "<style" not in answer.text


@pytest.mark.parametrize("root", ["", "/prefix"])
@pytest.mark.parametrize("page", PAGES)
def test_files_are_found_from_every_page_below_any_path_prefix(
    api: Api, page: str, root: str
) -> None:
    found = References(api.request("GET", page).text).found
    addresses = [one for one in found if not one.startswith("data:")]
    assert len(addresses) == len(ASSETS.files) + 1  # main.js is preloaded and run.

    for address in addresses:
        place = urljoin(f"{root}{page}", address)
        assert place.startswith(f"{root}/console/assets-")
        served = api.request("HEAD", place.removeprefix(root))
        assert served.status_code == 200
        assert served.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_a_root_path_changes_nothing(api: Api) -> None:
    """`uvicorn --root-path /api` serves it so."""

    async def get(path: str) -> httpx.Response:
        transport = httpx.ASGITransport(api.edge, root_path="/api")
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.get(f"http://shop.example{path}")

    page = api.run(get("/api/console/items"))
    assert page.text == api.request("GET", "/console/items").text
    assert "trusted-types" in page.headers["content-security-policy"]
    script = urljoin("/api/console/items", f"../console/{ASSETS.folder}/main.js")
    assert api.run(get(script)).status_code == 200


def test_every_file_is_served_and_imported() -> None:
    named = {name_of(one) for one in FILES}
    assert named == {*ASSETS.files, "index.html", *(VENDORED - {"vendor/preact.js"})}

    reached, todo = set[str](), ["main.js"]
    while todo:
        name = todo.pop()
        if name in reached:
            continue
        reached.add(name)
        text = ASSETS.files[name].decode()
        if name in VENDORED:
            continue
        todo += [str(PurePosixPath(urljoin(f"/{name}", one)))[1:] for one in IMPORT.findall(text)]
    assert reached == {one for one in ASSETS.files if one.endswith(".js")}


def test_the_vendored_file_is_the_one_of_npm() -> None:
    """`preact/standalone.module.js` of htm 3.1.1; see vendor/LICENSE."""
    digest = hashlib.sha256(ASSETS.files["vendor/preact.js"]).hexdigest()

    assert digest == "72284e8e9079c87817145df1110f74e8a2aa040b2fc384922e18dfcb46fc1fd7"


def test_json_is_read_and_written_in_one_module() -> None:
    """`JSON` rounds integers of 64 bits, and fails for those that are kept exactly."""
    found = {name for name, content in ASSETS.files.items() if re.search(rb"\bJSON\.", content)}

    assert found == {"json.js"}


def test_modules_are_imported_by_relative_paths_alone() -> None:
    for name, content in ASSETS.files.items():
        for found in IMPORT.findall(content.decode()) if name not in VENDORED else ():
            assert re.fullmatch(r"\.{1,2}/[\w/-]+\.js", found), (name, found)


@pytest.mark.parametrize(
    "file", [one for one in FILES if name_of(one) not in VENDORED], ids=name_of
)
def test_no_file_names_another_server_or_makes_code_of_texts(file: Path) -> None:
    text = file.read_text()

    assert not re.findall(r"(?<!\^)https?://(?!www\.w3\.org/)\S+|\burl\((?!data:)|@import", text)
    assert not re.findall(r"\beval\(|new Function|innerHTML|document\.write|\bimport\(", text)


def test_control_a_foreign_url_is_found() -> None:
    assert re.findall(r"(?<!\^)https?://(?!www\.w3\.org/)\S+", 'fetch("https://cdn.example/x.js")')


def test_files_are_small_enough_to_read_and_to_load(api: Api) -> None:
    for name, content in ASSETS.files.items():
        if name not in VENDORED:
            assert content.count(b"\n") <= 250, name
            assert max(map(len, content.decode().splitlines())) <= 240, name
    total = len(api.request("GET", "/console").content)
    for name in ASSETS.files:
        answer = api.request("GET", f"/console/{ASSETS.folder}/{name}")
        assert answer.headers["content-encoding"] == "gzip"
        total += int(answer.headers["content-length"]) + sum(map(len, answer.headers.values()))
    assert total <= MAX_BYTES


@pytest.mark.parametrize(
    "place",
    [
        "../app.py",
        "..%2fapp.py",
        "%2e%2e/%2e%2e/events.jsonl",
        "{assets}/../../app.py",
        "{assets}/%2e%2e/index.html",
        "{assets}/pages/..%2f..%2f..%2fapp.py",
        "{assets}/..%5c..%5capp.py",
        "{assets}//etc/passwd",
        "{assets}/main.js/",
        "{assets}/main.js%00",
        "{assets}/",
        "{assets}",
        "{assets}/index.html",
        "{assets}/vendor",
        "assets-0000000000000000/main.js",
        "main.js",
        "style.css",
        "a/b/c/d/e/f",
        "items/7 8",
    ],
)
def test_nothing_but_the_files_is_served(api: Api, place: str) -> None:
    answer = api.request("GET", f"/console/{place.format(assets=ASSETS.folder)}")

    assert_problem(answer, 404, "not-found")


@pytest.mark.parametrize("path", ["/console", "/console/items/7", "/console/{assets}/main.js"])
def test_only_get_and_head_are_answered(api: Api, path: str) -> None:
    path = path.format(assets=ASSETS.folder)
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = api.request(method, path)
        assert_problem(answer, 405, "method-not-allowed")
        assert {"GET", "HEAD"} <= set(answer.headers["allow"].split(", "))
    head = api.request("HEAD", path)
    assert head.status_code == 200
    assert head.content == b""


@pytest.mark.parametrize("path", ["/console", "/console/{assets}/main.js"])
def test_a_browser_that_has_a_file_gets_304(api: Api, path: str) -> None:
    path = path.format(assets=ASSETS.folder)
    tag = api.request("GET", path).headers["etag"]

    answer = api.request("GET", path, headers={"if-none-match": tag})

    assert answer.status_code == 304
    assert "trusted-types" in answer.headers["content-security-policy"]


def test_the_folder_of_the_files_has_their_digest() -> None:
    changed = Assets()
    changed.__dict__["files"] = ASSETS.files | {"main.js": ASSETS.files["main.js"] + b" "}

    assert re.fullmatch(r"assets-[0-9a-f]{16}", ASSETS.folder)
    assert changed.folder != ASSETS.folder


def test_a_trailing_slash_is_redirected(api: Api) -> None:
    answer = api.request("GET", "/console/")

    assert (answer.status_code, answer.headers["location"]) == (307, api.url("/console"))


@pytest.mark.parametrize("path", [*PAGES, "/console/{assets}/main.js"])
def test_the_setting_removes_it(without: Api, path: str) -> None:
    answer = without.request("GET", path.format(assets=ASSETS.folder))

    assert_problem(answer, 404, "not-found")
    assert "script-src" not in answer.headers["content-security-policy"]
