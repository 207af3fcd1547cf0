"""The parameters of a projection's query: every type, in the document and in requests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from msgspec import Meta

from eventapi.resources import Caller, Projection, PublicEvent
from eventapi.resources.registry import Registry
from tests.eventapi.http.client import assert_problem
from tests.eventapi.http.resources.server import V2, ResourceApi
from tests.eventapi.resources.applications import Positions

PATH = "/projections/echo"
A_UUID = "00000000-0000-0000-0000-0000000000ab"
TIME = "2026-01-31T12:00:00Z"


class Colour(Enum):
    """Texts."""

    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    """Whole numbers."""

    LOW = 1
    HIGH = 2


class Echo(Projection):
    """Answers with its parameters."""

    state = Positions()

    def apply(self, event: PublicEvent) -> None:
        """Fold nothing."""

    def query(
        self,
        caller: Caller,
        *,
        colour: Colour,
        shade: Colour | None = None,
        level: Level = Level.LOW,
        sign: Literal["plus", "minus"] = "plus",
        day: date = date(2026, 1, 31),
        time: datetime = datetime(2026, 1, 31, tzinfo=UTC),
        price: Decimal = Decimal("1.50"),
        key: UUID | None = None,
        least: Annotated[int, Meta(ge=1)] | None = None,
        part: float = 0.5,
        whole: bool = False,
        text: str = "",
    ) -> dict[str, Any]:
        names = ("colour", "shade", "level", "sign", "day", "time", "price", "key", "least")
        values = locals()
        return {name: values[name] for name in (*names, "part", "whole", "text")}


@pytest.fixture(scope="module")
def api() -> Iterator[ResourceApi]:
    with ResourceApi(Registry([Echo])) as running:
        yield running


def test_parameters_of_every_type_are_documented(api: ResourceApi) -> None:
    document = api.request("GET", f"{V2}/openapi.json").json()
    shared = document["components"]["parameters"]
    given = document["paths"][V2 + PATH]["get"]["parameters"]
    resolved = [shared.get(one.get("$ref", "").rpartition("/")[2], one) for one in given]
    found = {one["name"]: one for one in resolved if one["in"] == "query"}
    assert "$defs" not in str(found)
    assert found["colour"]["required"] is True
    assert set(found["colour"]["schema"]["enum"]) == {"red", "blue"}
    assert "red" in str(found["shade"]["schema"]["anyOf"])
    assert found["level"]["schema"]["enum"] == [1, 2]
    assert found["level"]["schema"]["default"] == 1
    assert not found["level"].get("required", False)
    assert found["day"]["schema"]["format"] == "date"


def test_parameters_of_every_type_are_parsed(api: ResourceApi) -> None:
    ann = api.user()
    query = (
        f"colour=red&shade=blue&level=2&sign=minus&day=2026-02-28&time={TIME}&price=2.50"
        f"&key={A_UUID}&least=3&part=1.5&whole=true&text=a"
    )
    found = ann.get(f"{PATH}?{query}").json()
    assert found == {
        "colour": "red",
        "shade": "blue",
        "level": 2,
        "sign": "minus",
        "day": "2026-02-28",
        "time": "2026-01-31T12:00:00.000000Z",
        "price": "2.50",
        "key": A_UUID,
        "least": 3,
        "part": 1.5,
        "whole": True,
        "text": "a",
    }
    assert ann.get(f"{PATH}?colour=blue").json()["level"] == 1


@pytest.mark.parametrize(
    "query",
    [
        *("shade=green", "level=3", "sign=x", "day=2026-02-30", "time=2026-01-31T12:00:00"),
        *("price=NaN", "key=x", "least=0", "part=x", "whole=1", "text=a&text=b", "other=1"),
    ],
)
def test_a_bad_value_is_refused_with_the_name_of_its_parameter(
    api: ResourceApi, query: str
) -> None:
    answer = api.user().get(f"{PATH}?colour=red&{query}")
    problem = assert_problem(answer, 422, "validation-failed")
    assert [one["pointer"] for one in problem["errors"]] == [f"/{query.partition('=')[0]}"]
