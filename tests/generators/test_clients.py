"""Generated clients compile and work with a real server.

Each program in `clients` makes the same calls through its generated client, and prints each call
that succeeded.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.generators.conftest import DOCUMENTS
from tests.generators.tools import CLIENTS, Node, Python, needs, run

pytestmark = pytest.mark.long

CALLS = (
    "register 201",
    "register 409",
    "login 200",
    "create_item 201",
    "create_item 422",
    "get_item 200",
    "list_items 200",
    "update_item 200",
    "replace_item 200",
    "get_item_history 200",
    "delete_item 204",
    "get_item 404",
    "refresh 200",
    "get_me 200",
    "logout 204",
    "get_me 401",
)
"""The calls of every client, with the statuses of the answers."""

UNUSED = [name for name in DOCUMENTS if name != "v2"]
"""The documents whose clients are only compiled; the tests that use a client compile it, too."""

_READ_AS = {"application/zip": "application/octet-stream", "application/x-ndjson": "text/plain"}
"""Media types that openapi-python-client does not know, with the ones it reads them as."""

_GO_PATH = "/usr/share/gocode"
_OAUTH2 = Path(_GO_PATH, "src/golang.org/x/oauth2")


def assert_called(output: str) -> None:
    """Assert that a client made all its calls."""
    assert tuple(output.split("\n")[: len(CALLS)]) == CALLS, output


def arguments(address: str) -> list[str]:
    """The arguments of every client: the URL of the server and the name of a new user."""
    return [address, f"user-{secrets.token_hex(6)}"]


def generate_openapi_typescript(node: Node, document: Path, folder: Path) -> None:
    node.run("openapi-typescript", document, "-o", folder / "client" / "schema.ts")


def generate_orval(node: Node, document: Path, folder: Path) -> None:
    target = folder / "client" / "api.ts"
    node.run("orval", "--input", document, "--output", target, "--client", "fetch")


def generate_hey_api(node: Node, document: Path, folder: Path) -> None:
    node.run("openapi-ts", "-i", document, "-o", folder / "client", directory=folder)


def generate_swagger_typescript_api(node: Node, document: Path, folder: Path) -> None:
    target: list[str | Path] = ["-o", folder / "client", "-n", "api.ts"]
    node.run("swagger-typescript-api", "generate", "-p", document, *target)


_NODE_GENERATORS = {
    "openapi_typescript": generate_openapi_typescript,
    "orval": generate_orval,
    "hey_api": generate_hey_api,
    "swagger_typescript_api": generate_swagger_typescript_api,
}
_JAVA_GENERATORS = ("typescript-fetch", "typescript-axios")

_TSCONFIG = {
    "compilerOptions": {
        "strict": True,
        "target": "ES2022",
        "lib": ["ES2022", "DOM", "DOM.Iterable"],
        "module": "NodeNext",
        "moduleResolution": "NodeNext",
        "skipLibCheck": True,  # Skips declarations of packages only.
        "types": ["node"],
        "outDir": "built",
        "rootDir": ".",
    },
    "include": ["**/*.ts"],
}


def generate_typescript(node: Node, document: Path, generated: Path, folder: Path) -> list[str]:
    """Generate all clients, each in its own folder below a folder; return their names."""
    for name, generate in _NODE_GENERATORS.items():
        (folder / name).mkdir()
        generate(node, document, folder / name)
    named = {name: name.replace("-", "_") for name in _JAVA_GENERATORS}
    for name, target in named.items():
        shutil.copytree(generated / name, folder / target / "client")
    return [*_NODE_GENERATORS, *named.values()]


def compile_typescript(node: Node, folder: Path) -> Path:
    """Compile the TypeScript in a folder in strict mode, and return the output folder."""
    (folder / "tsconfig.json").write_text(json.dumps(_TSCONFIG))
    (folder / "package.json").write_text('{"type": "commonjs"}')
    node.compile(folder)
    return folder / "built"


@pytest.mark.parametrize("name", UNUSED)
def test_typescript_clients_compile(
    node: Node, documents: dict[str, Path], generated: Callable[[str], Path], name: str
) -> None:
    folder = node.folder(f"compiled-{name}")
    clients = generate_typescript(node, documents[name], generated(name), folder)

    built = compile_typescript(node, folder)

    assert {client.name for client in built.iterdir()} == set(clients)


def test_typescript_clients_work(
    node: Node,
    documents: dict[str, Path],
    address: str,
    generated: Callable[[str], Path],
    subtests: pytest.Subtests,
) -> None:
    folder = node.folder("working")
    clients = generate_typescript(node, documents["v2"], generated("v2"), folder)
    for client in clients:
        shutil.copy(CLIENTS / f"{client}.ts", folder / client / "main.ts")
        shutil.copy(CLIENTS / "calls.ts", folder / client / "calls.ts")

    built = compile_typescript(node, folder)

    for client in clients:
        with subtests.test(client):
            main = built / client / "main.js"
            assert_called(run(["node", main, *arguments(address)], folder))


def go_client(generated: Path, root: Path, cache: Path) -> dict[str, str]:
    """Put a generated Go client in a workspace; return the environment to build it."""
    needs("go")
    if not _OAUTH2.exists():
        pytest.skip(f"{_OAUTH2} is absent: apt-get install golang-golang-x-oauth2-dev")
    package = root / "src" / "eventapi"
    package.mkdir(parents=True)
    for file in (generated / "go").glob("*.go"):
        shutil.copy(file, package)
    environment = {"GOPATH": f"{root}:{_GO_PATH}", "GO111MODULE": "off", "GOFLAGS": ""}
    return environment | {"GOCACHE": str(cache)}


@pytest.mark.parametrize("name", UNUSED)
def test_a_go_client_compiles(
    generated: Callable[[str], Path], name: str, tmp_path: Path, go_cache: Path
) -> None:
    environment = go_client(generated(name), tmp_path, go_cache)
    run(["go", "vet", "eventapi"], tmp_path, environment)


def test_a_go_client_works(
    generated: Callable[[str], Path], address: str, tmp_path: Path, go_cache: Path
) -> None:
    environment = go_client(generated("v2"), tmp_path, go_cache)
    run(["go", "vet", "eventapi"], tmp_path, environment)
    main = tmp_path / "src" / "main"
    main.mkdir()
    shutil.copy(CLIENTS / "main.go", main)
    run(["go", "build", "-o", tmp_path / "client", "main"], tmp_path, environment)

    assert_called(run([tmp_path / "client", *arguments(address)], tmp_path))


def openapi_python_client(python: Python, document: Path, folder: Path) -> Path:
    """Generate a client for every endpoint: a warning would mean that one is left out."""
    config = folder / "config.json"
    config.write_text(json.dumps({"content_type_overrides": _READ_AS}))
    target: list[str | Path] = ["--output-path", folder / "client", "--meta", "none"]
    options: list[str | Path] = ["--path", document, "--config", config, *target]
    output = run([python.bin / "openapi-python-client", "generate", *options], folder)
    assert "WARNING" not in output, output
    return folder


def import_every_module(python: Python, folder: Path) -> None:
    """Compile and import all modules of the package `client` in a folder."""
    run([python.bin / "python", "-m", "compileall", "-q", folder], folder)
    modules = [
        ".".join(path.relative_to(folder).with_suffix("").parts)
        for path in (folder / "client").rglob("*.py")
    ]
    assert modules, folder
    code = f"import importlib\nfor name in {modules!r}: importlib.import_module(name)"
    run([python.bin / "python", "-c", code], folder)


@pytest.mark.parametrize("name", UNUSED)
def test_python_clients_compile(
    python: Python,
    documents: dict[str, Path],
    generated: Callable[[str], Path],
    name: str,
    tmp_path: Path,
) -> None:
    import_every_module(python, openapi_python_client(python, documents[name], tmp_path))
    import_every_module(python, generated(name) / "python")


def test_python_clients_work(
    python: Python,
    documents: dict[str, Path],
    address: str,
    generated: Callable[[str], Path],
    *,
    tmp_path: Path,
    subtests: pytest.Subtests,
) -> None:
    folders = {
        "openapi_python_client": openapi_python_client(python, documents["v2"], tmp_path),
        "python": generated("v2") / "python",
    }
    for name, folder in folders.items():
        with subtests.test(name):
            import_every_module(python, folder)
            program: list[str | Path] = [python.bin / "python", CLIENTS / f"{name}.py"]
            command = [*program, *arguments(address)]

            assert_called(run(command, tmp_path, {"PYTHONPATH": str(folder)}))
