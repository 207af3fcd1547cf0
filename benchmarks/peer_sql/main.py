"""The service that eventapi replaces, over SQL: FastAPI and SQLAlchemy's ORM.

Tokens, passwords and models are those of `benchmarks.peer`. Each request queries the token's user,
as in that service, and a new item is a row, inserted and committed before the answer. It implements
only what the workloads and `benchmarks.fill` need. `PEER_DATABASE` is the database's URL for
SQLAlchemy, ``sqlite+aiosqlite://`` or ``postgresql+asyncpg://``.
"""

import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, status
from fastapi.middleware.cors import CORSMiddleware
from jose import JWTError, jwt
from pydantic import BaseModel

from benchmarks.peer import auth
from benchmarks.peer.config import settings
from benchmarks.peer.database import now
from benchmarks.peer.models import Item, ItemCreate, Token, UserCreate, UserLogin, UserResponse
from benchmarks.peer_sql import database
from benchmarks.peer_sql.database import Session, User


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Create the tables before the first request."""
    async with database.engine.begin() as connection:
        await connection.run_sync(database.Base.metadata.create_all)
    yield
    await database.engine.dispose()


KEY_PREFIX = "key_"


class KeyCreate(BaseModel):
    """The body of a new API key."""

    name: str


app = FastAPI(title="REST API", lifespan=lifespan)
app.add_middleware(
    CORSMiddleware,
    allow_origins=settings.cors_origins,
    allow_credentials=True,
    allow_methods=["*"],
    allow_headers=["*"],
)


async def get_current_user(
    token: Annotated[str, Depends(auth.oauth2_scheme)], session: Session
) -> User:
    """The user that the request's token or API key names, unless disabled."""
    if token.startswith(KEY_PREFIX):
        key = await session.get(database.ApiKey, digest(token))
        if key is None:
            raise auth.unauthorized("Could not validate credentials")
        return enabled(await session.get(User, key.owner))
    try:
        claims = jwt.decode(token, settings.secret_key, algorithms=[settings.algorithm])
    except JWTError:
        raise auth.unauthorized("Could not validate credentials") from None
    if claims.get("type") != "access":
        raise auth.unauthorized("Could not validate credentials")
    return enabled(await session.get(User, claims.get("sub", "")))


def enabled(user: User | None) -> User:
    """The user of valid credentials, unless disabled."""
    if user is None:
        raise auth.unauthorized("Could not validate credentials")
    if user.disabled:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, detail="Inactive user")
    return user


def digest(key: str) -> str:
    """The form in which an API key is stored."""
    return hashlib.sha256(key.encode()).hexdigest()


CurrentUser = Annotated[User, Depends(get_current_user)]


@app.post("/auth/register", response_model=UserResponse)
async def register(user: UserCreate, session: Session) -> Any:
    """Register a user."""
    if await session.get(User, user.username):
        raise HTTPException(status.HTTP_400_BAD_REQUEST, detail="Username already registered")
    created = User(
        **user.model_dump(exclude={"password"}),
        hashed_password=auth.hash_password(user.password),
        created_at=now(),
    )
    session.add(created)
    await session.commit()
    return created


@app.post("/auth/login")
async def login(credentials: UserLogin, session: Session) -> Token:
    """Exchange a password for an access token."""
    user = await session.get(User, credentials.username)
    if user is None or not auth.verify_password(credentials.password, user.hashed_password):
        raise auth.unauthorized("Incorrect username or password")
    return Token(access_token=auth.create_access_token(user.username))


@app.post("/auth/keys")
async def create_key(key: KeyCreate, current_user: CurrentUser, session: Session) -> dict[str, str]:
    """Create an API key, which only this answer shows."""
    made = KEY_PREFIX + secrets.token_urlsafe(32)
    owner = current_user.username
    session.add(database.ApiKey(digest=digest(made), name=key.name, owner=owner))
    await session.commit()
    return {"name": key.name, "key": made}


@app.post("/items", response_model=Item)
async def create_item(item: ItemCreate, current_user: CurrentUser, session: Session) -> Any:
    """Create an item."""
    created = database.Item(
        title=item.title,
        description=item.description,
        owner=current_user.username,
        created_at=now(),
    )
    session.add(created)
    await session.commit()
    return created


@app.post("/items/batch", response_model=list[Item])
async def create_items(items: list[ItemCreate], current_user: CurrentUser, session: Session) -> Any:
    """Create items, all or none."""
    created = [
        database.Item(
            title=item.title,
            description=item.description,
            owner=current_user.username,
            created_at=now(),
        )
        for item in items
    ]
    session.add_all(created)
    await session.commit()
    return created


@app.get("/items", response_model=list[Item])
async def list_items(  # noqa: PLR0917 - the parameters of a query
    current_user: CurrentUser,
    session: Session,
    limit: int = 100,
    contains: str = "",
    differs: str = "",
    sort: str = "",
) -> Any:
    """The first items of the calling user, filtered by their titles and in an order."""
    owner = current_user.username
    return await database.items_of(session, owner, limit, contains, differs, sort)


@app.get("/items/{item_id}", response_model=Item)
async def read_item(item_id: int, current_user: CurrentUser, session: Session) -> Any:
    """One item of the calling user."""
    return await owned_item(session, item_id, current_user)


@app.put("/items/{item_id}", response_model=Item)
async def update_item(
    item_id: int, item: ItemCreate, current_user: CurrentUser, session: Session
) -> Any:
    """Replace an item's title and description."""
    updated = await owned_item(session, item_id, current_user)
    updated.title, updated.description = item.title, item.description
    await session.commit()
    return updated


@app.delete("/items/{item_id}", status_code=status.HTTP_204_NO_CONTENT)
async def delete_item(item_id: int, current_user: CurrentUser, session: Session) -> None:
    """Delete an item."""
    await session.delete(await owned_item(session, item_id, current_user))
    await session.commit()


async def owned_item(session: Session, item_id: int, owner: User) -> database.Item:
    """Return an item of the owner; any other item is a 404."""
    item = await session.get(database.Item, item_id)
    if item is None or item.owner != owner.username:
        raise HTTPException(status.HTTP_404_NOT_FOUND, detail="Item not found")
    return item
