"""The service that eventapi replaces: FastAPI, pydantic, bcrypt, memory and a JSON file.

It follows the description of that service and really works: `eventapi log import` reads its
`db.json` in `PEER_DATA`. If the description leaves a choice, this code takes the faster one (async
endpoints, compact JSON in one piece), so that ratios err in the peer's favour.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request, status
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from pydantic import ValidationError

from benchmarks.peer import auth
from benchmarks.peer.auth import CurrentUser
from benchmarks.peer.config import settings
from benchmarks.peer.database import db
from benchmarks.peer.models import Item, ItemCreate, Token, UserCreate, UserLogin, UserResponse

FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")

# FastAPI does not see the body of `login`, because a dependency reads it.
LOGIN_BODY = {
    "required": True,
    "content": {"application/json": {"schema": UserLogin.model_json_schema()}},
}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Load the data file before the first request."""
    db.load()
    yield


# A body without a Content-Type is JSON, as it was in the FastAPI 0.104 of that service.
app = FastAPI(title="REST API", lifespan=lifespan, strict_content_type=False)
app.add_middleware(
    CORSMiddleware,
    allow_origins=settings.cors_origins,
    allow_credentials=True,
    allow_methods=["*"],
    allow_headers=["*"],
)


async def login_credentials(request: Request) -> UserLogin:
    """Read credentials from JSON or from the OAuth2 password form, by content type."""
    try:
        if request.headers.get("content-type", "").startswith(FORM_TYPES):
            content = dict(await request.form())
        else:
            content = await request.json()
        return UserLogin.model_validate(content, from_attributes=True)
    except json.JSONDecodeError as error:
        fault = {"type": "json_invalid", "msg": "JSON decode error", "ctx": {"error": error.msg}}
        raise RequestValidationError([{**fault, "loc": ("body", error.pos), "input": {}}]) from None
    except ValidationError as error:
        faults = error.errors(include_url=False)
        raise RequestValidationError(
            [{**fault, "loc": ("body", *fault["loc"])} for fault in faults]
        ) from None


def item_not_found() -> HTTPException:
    """The 404 of an unknown item and of another user's item."""
    return HTTPException(status.HTTP_404_NOT_FOUND, detail="Item not found")


@app.post("/auth/register", response_model=UserResponse)
async def register(user: UserCreate) -> dict[str, Any]:
    """Register a user."""
    if db.get_user(user.username):
        raise HTTPException(status.HTTP_400_BAD_REQUEST, detail="Username already registered")
    hashed_password = auth.hash_password(user.password)
    return db.create_user(user.username, user.email, hashed_password, user.full_name)


@app.post("/auth/login", openapi_extra={"requestBody": LOGIN_BODY})
async def login(credentials: Annotated[UserLogin, Depends(login_credentials)]) -> Token:
    """Exchange a password for an access token."""
    user = auth.authenticate_user(credentials.username, credentials.password)
    if user is None:
        raise auth.unauthorized("Incorrect username or password")
    return Token(access_token=auth.create_access_token(user.username))


@app.get("/auth/me", response_model=UserResponse)
async def read_current_user(current_user: CurrentUser) -> Any:
    """The calling user."""
    return current_user


@app.post("/items", response_model=Item)
async def create_item(item: ItemCreate, current_user: CurrentUser) -> dict[str, Any]:
    """Create an item."""
    return db.create_item(current_user.username, item.title, item.description)


@app.get("/items", response_model=list[Item])
async def list_items(current_user: CurrentUser) -> list[dict[str, Any]]:
    """All items of the calling user."""
    return db.get_items(current_user.username)


@app.get("/items/{item_id}", response_model=Item)
async def read_item(item_id: int, current_user: CurrentUser) -> dict[str, Any]:
    """One item of the calling user."""
    item = db.get_item(current_user.username, item_id)
    if item is None:
        raise item_not_found()
    return item


@app.put("/items/{item_id}", response_model=Item)
async def update_item(item_id: int, item: ItemCreate, current_user: CurrentUser) -> dict[str, Any]:
    """Replace an item's title and description."""
    updated = db.update_item(current_user.username, item_id, item.title, item.description)
    if updated is None:
        raise item_not_found()
    return updated


@app.delete("/items/{item_id}", status_code=status.HTTP_204_NO_CONTENT)
async def delete_item(item_id: int, current_user: CurrentUser) -> None:
    """Delete an item."""
    if not db.delete_item(current_user.username, item_id):
        raise item_not_found()
