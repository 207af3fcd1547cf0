"""The OpenAPI document of declared resources, and names that an application may choose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

import jsonschema_rs
import msgspec
import pytest
from msgspec import Meta
from schemathesis.specs.openapi.definitions import OPENAPI_31

from eventapi.resources import Resource, action
from eventapi.resources.registry import Registry
from tests.eventapi.http.resources.kinds import Invoice, Plan, Post, Sample
from tests.eventapi.http.resources.server import V2, ResourceApi


class Problem(Resource):
    """What does not work."""

    collection = "troubles"
    text: str


class ItemV2(Resource):
    """Named as the response body of an item."""

    text: str


class UserV2(Resource):
    """Named as the response body of a user."""

    text: int


class ItemPage(Resource):
    """Named as a page of items."""

    text: str


class Events(Resource):
    """Its query is named as that of the audit."""

    collection = "happenings"
    type: int
    actor: bool


class Visit(msgspec.Struct, frozen=True):
    """When a guest came."""

    at: datetime


class Agenda(Resource):
    """Times at any depth."""

    moment: datetime
    visits: list[Visit] = []  # noqa: RUF012 - a Struct copies it
    by_name: dict[str, datetime | None] = {}  # noqa: RUF012


class Line(msgspec.Struct, frozen=True):
    """A line of a nested list."""

    text: Annotated[str, Meta(max_length=3)]
    amount: int = 1


Nested = msgspec.defstruct("Problem", [("code", int)], frozen=True)
Input = msgspec.defstruct("LineInput", [("other", str)], frozen=True)


class Nest(Resource):
    """Its nested Structs have the names of other components."""

    line: Line
    problem: Nested | None = None  # type: ignore[valid-type]  # made above
    input: Input | None = None  # type: ignore[valid-type]  # made above
    lines: list[Line] = []  # noqa: RUF012 - a Struct copies it


class Book(Resource):
    """Its actions are named as other operations, and their bodies as other components."""

    title: Annotated[str, Meta(description="What is on its cover.")]
    subtitle: Annotated[str, Meta(description="What is below.")] | None = None

    @action
    def get(self) -> Book:
        """Get it {again}."""
        return self

    @action
    def page(self, *, number: int) -> Book:
        """Turn to a page.

        The number may be that of any page.
        """
        return self

    @action
    def body(self, *, number: int) -> Book:
        return self

    @action
    def update(self, *, number: int = 1) -> Book:
        return self


class BookHistory(Resource):
    """Its operation `get` is named as one of a book."""

    text: str


CLASSES: list[type[Resource]] = [
    *(Problem, ItemV2, UserV2, ItemPage, Events, Nest, Book, BookHistory, Agenda)
]


def document_of(api: ResourceApi, path: str) -> dict[str, Any]:
    answer = api.request("GET", path)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture(scope="module")
def api() -> Iterator[ResourceApi]:
    with ResourceApi(Registry([*CLASSES, Invoice, Plan, Post, Sample])) as running:
        yield running


@pytest.fixture(scope="module")
def document(api: ResourceApi) -> dict[str, Any]:
    return document_of(api, f"{V2}/openapi.json")


def resolved(document: dict[str, Any], value: Any) -> Any:
    while "$ref" in value:
        _, _, kind, name = value["$ref"].split("/")
        value = document["components"][kind][name]
    return value


def schema_of(document: dict[str, Any], operation: dict[str, Any], status: str) -> dict[str, Any]:
    (content,) = operation["responses"][status]["content"].values()
    found: dict[str, Any] = resolved(document, content["schema"])
    return found


def body_of(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    content = operation["requestBody"]["content"]["application/json"]
    found: dict[str, Any] = resolved(document, content["schema"])
    return found


@pytest.mark.parametrize("path", ["/openapi.json", f"{V2}/openapi.json", "/api/v1/openapi.json"])
def test_the_document_is_valid_and_its_ids_are_unique(api: ResourceApi, path: str) -> None:
    document = document_of(api, path)
    jsonschema_rs.validate(OPENAPI_31, document)
    ids = Counter(
        one["operationId"] for path in document["paths"].values() for one in path.values()
    )
    assert [name for name, count in ids.items() if count > 1] == []


@pytest.mark.parametrize("path", ["/openapi.json", f"{V2}/openapi.json"])
def test_components_of_this_server_keep_their_names(api: ResourceApi, path: str) -> None:
    with ResourceApi(Registry([])) as plain:
        before = document_of(plain, path)
    after = document_of(api, path)
    for kind in ("schemas", "parameters", "responses"):
        missing = {
            name
            for name, one in before["components"][kind].items()
            if after["components"][kind].get(name) != one
        }
        assert missing == set()


def test_structs_of_one_name_are_different_components(document: dict[str, Any]) -> None:
    paths = document["paths"]
    nest = paths[f"{V2}/nests"]["post"]
    created, body = schema_of(document, nest, "201"), body_of(document, nest)

    problem = resolved(document, schema_of_error(document, nest))
    assert "request_id" in problem["properties"]
    (nested,) = [one for one in created["properties"]["problem"]["anyOf"] if "$ref" in one]
    assert list(resolved(document, nested)["properties"]) == ["code"]
    shown, given = (
        resolved(document, schema["properties"]["line"]).get("additionalProperties")
        for schema in (created, body)
    )
    assert (shown, given) == (None, False)


def schema_of_error(document: dict[str, Any], operation: dict[str, Any]) -> Any:
    response = resolved(document, operation["responses"]["401"])
    return response["content"]["application/problem+json"]["schema"]


def test_actions_named_as_components_have_their_own_body(document: dict[str, Any]) -> None:
    paths = document["paths"]
    for name in ("page", "body"):
        operation = paths[f"{V2}/books/{{book_id}}/{name}"]["post"]
        assert list(body_of(document, operation)["properties"]) == ["number"]
        assert operation["requestBody"]["required"] is True
    page = schema_of(document, paths[f"{V2}/books"]["get"], "200")
    assert list(page["properties"]) == ["items", "next", "count"]
    update = paths[f"{V2}/books/{{book_id}}/update"]["post"]
    assert update["requestBody"]["required"] is False


def test_descriptions_are_those_of_the_declaration(document: dict[str, Any]) -> None:
    paths = document["paths"]
    create = paths[f"{V2}/books"]["post"]
    for schema in (schema_of(document, create, "201"), body_of(document, create)):
        assert schema["properties"]["title"]["description"] == "What is on its cover."
        assert "What is below." in str(schema["properties"]["subtitle"])
    assert schema_of(document, create, "201")["description"].startswith("Its actions are named")
    page = paths[f"{V2}/books/{{book_id}}/page"]["post"]
    assert page["summary"] == "Turn to a page"
    assert "that of any page." in page["description"]
    assert paths[f"{V2}/books/{{book_id}}/get"]["post"]["summary"] == "Get it {again}"
    assert {"name": "troubles", "description": "What does not work."} in document["tags"]


@pytest.mark.parametrize("path", ["/samples", "/agendas"])
def test_responses_have_the_formats_of_requests(document: dict[str, Any], path: str) -> None:
    """A generated client has one type for a value, whether it sends or receives it."""
    create = document["paths"][V2 + path]["post"]
    history = document["paths"][f"{V2}{path}/{{{path[1:-1]}_id}}/history"]["get"]
    given = formats(document, body_of(document, create))
    entry = schema_of(document, history, "200")["items"]
    changes = resolved(document, entry)["properties"]["changes"]

    assert given["moment"] == {"date-time"}
    for received in (schema_of(document, create, "201"), resolved(document, changes)):
        found = formats(document, received)
        assert {name: found[name] for name in given} == given


def formats(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, set[str]]:
    """The formats of each member of a schema, at any depth."""
    return {
        name: set(formats_in(document, member)) for name, member in schema["properties"].items()
    }


def formats_in(document: dict[str, Any], schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for one in schema:
            yield from formats_in(document, one)
    elif isinstance(schema, dict):
        found = resolved(document, schema)
        yield from (found["format"] for _ in range("format" in found))
        for one in found.values():
            yield from formats_in(document, one)


@pytest.mark.parametrize(
    ("path", "method", "statuses"),
    [
        ("/invoices", "post", {201, 400, 401, 409, 413, 415, 422, 429, 500, 503, 507}),
        ("/invoices/{invoice_id}", "get", {200, 304, 401, 404, 412, 422}),
        ("/invoices/{invoice_id}", "put", {200, 401, 404, 409, 412, 422}),
        ("/invoices/{invoice_id}/pay", "post", {200, 401, 404, 409, 412, 415, 422}),
        ("/invoices/{invoice_id}/restore", "post", {200, 401, 404, 409, 412, 422}),
        ("/plans/{plan_id}", "put", {200, 401, 403, 404, 412, 422}),
        ("/plans/{plan_id}/shares/{username}", "put", {200, 401, 403, 404, 422}),
        ("/posts", "get", {200, 401, 422}),
        ("/posts/events", "get", {200, 401, 422, 503}),
    ],
)
def test_all_statuses_are_listed(
    document: dict[str, Any], path: str, method: str, statuses: set[int]
) -> None:
    responses = document["paths"][V2 + path][method]["responses"]
    assert statuses <= {int(status) for status in responses}


def test_a_conflict_of_a_unique_value_and_a_refusal_are_named(document: dict[str, Any]) -> None:
    pay = document["paths"][f"{V2}/invoices/{{invoice_id}}/pay"]["post"]
    text = resolved(document, pay["responses"]["409"])["description"]
    assert "`not-unique`" in text
    assert "`action-refused`" in text


def test_a_token_is_optional_to_read_a_public_kind(document: dict[str, Any]) -> None:
    posts = document["paths"][f"{V2}/posts"]
    assert posts["get"]["security"] == [{}, {"bearer": []}]
    assert posts["post"]["security"] == [{"bearer": []}]


def test_every_filter_is_a_parameter(document: dict[str, Any]) -> None:
    parameters = document["paths"][f"{V2}/samples"]["get"]["parameters"]
    names = {resolved(document, one)["name"]: resolved(document, one) for one in parameters}
    assert {"text", "words.contains", "place.null", "limit.eq", "sort.eq", "q.eq"} <= names.keys()
    assert {"id", "owner", "created_at", "updated_at", "limit", "sort", "q"} <= names.keys()
    assert "`whole.ge`" in names["whole"]["description"]
    events = document["paths"][f"{V2}/happenings"]["get"]["parameters"]
    (actor,) = [
        one for one in (resolved(document, one) for one in events) if one["name"] == "actor"
    ]
    assert actor["example"] != "users/1", "that of the query of the audit"


def test_every_filter_of_the_document_works(api: ResourceApi, document: dict[str, Any]) -> None:
    me = api.user()
    for path, operations in document["paths"].items():
        collection = path.removeprefix(f"{V2}/")
        for one in operations.get("get", {}).get("parameters", ()) if "/" not in collection else ():
            parameter = resolved(document, one)
            if not parameter["description"].startswith("Only resources"):
                continue
            texts = ["1", "true", "x", "red", "s", "2026-01-01", "2026-01-01T00:00:00Z", "1" * 32]
            answers = [me.get(f"/{collection}", params={parameter["name"]: one}) for one in texts]
            assert 200 in {one.status_code for one in answers}, (path, parameter["name"])
