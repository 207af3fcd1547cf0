"""The cost of Litestar with routing, parameters and msgspec, without an application.

It has no authentication, storage or middleware, so the distance to eventapi is eventapi's own cost.
"""

from datetime import UTC, datetime

import msgspec
from litestar import Litestar, get, post, put
from litestar.params import FromPath, JSONBody

from benchmarks.sample_data import LISTED


class Item(msgspec.Struct):
    """The shape of an item in v1."""

    id: int
    title: str
    description: str | None
    owner: str
    created_at: datetime


class NewItem(msgspec.Struct):
    """The body of a create."""

    title: str
    description: str | None = None


def make_item(item_id: int, title: str, description: str | None) -> Item:
    """An item created now."""
    return Item(item_id, title, description, "reader", datetime.now(UTC))


ITEMS = [make_item(n, content.title, content.description) for n, content in enumerate(LISTED, 1)]


@get("/items/{item_id:int}")
async def read_item(item_id: FromPath[int]) -> Item:
    """One item."""
    return make_item(item_id, "First Item", "My first item")


@get("/items")
async def list_items() -> list[Item]:
    """A hundred items."""
    return ITEMS


@post("/items", status_code=200)
async def create_item(data: JSONBody[NewItem]) -> Item:
    """Return the item that a real service would have stored."""
    return make_item(1, data.title, data.description)


@put("/items/{item_id:int}")
async def update_item(item_id: FromPath[int], data: JSONBody[NewItem]) -> Item:
    """Return the item that a real service would have changed."""
    return make_item(item_id, data.title, data.description)


app = Litestar(
    [read_item, list_items, create_item, update_item], openapi_config=None, logging_config=None
)
