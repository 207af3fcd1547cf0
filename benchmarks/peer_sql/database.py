"""Tables and sessions: SQLAlchemy's ORM over asyncpg or aiosqlite, as its documentation shows.

The pool has as many connections as the requests of a worker can use, and opens none for a peak. The
same over plain `sqlite3`, in FastAPI's threads, was no faster. Every commit waits for the disk, as
PostgreSQL does by default, and as SQLite does with a write-ahead log and ``synchronous`` FULL.
SQLite has one writer at a time; the others wait.
"""

import os
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends
from sqlalchemy import ForeignKey, event, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

URL = os.environ["PEER_DATABASE"]
IS_SQLITE = URL.startswith("sqlite")
# SQLAlchemy's default of 5 is the fastest for SQLite, where more only wait for each other.
POOL_SIZE = 5 if IS_SQLITE else 20
WRITER_SECONDS = 30  # until a waiting writer of SQLite gives up

engine = create_async_engine(
    URL,
    pool_size=POOL_SIZE,
    max_overflow=0,
    connect_args={"timeout": WRITER_SECONDS} if IS_SQLITE else {},
)


def make_durable(connection: DBAPIConnection, _: object) -> None:
    """Make SQLite use a write-ahead log, and sync in each commit."""
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


if IS_SQLITE:
    event.listen(engine.sync_engine, "connect", make_durable)

make_session = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    """All tables."""


class User(Base):
    """A registered user."""

    __tablename__ = "users"

    username: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str]
    full_name: Mapped[str | None]
    hashed_password: Mapped[str]
    disabled: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[str]


class Item(Base):
    """An item of a user; a sequence assigns the ids."""

    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    description: Mapped[str | None]
    owner: Mapped[str] = mapped_column(ForeignKey(User.username), index=True)
    created_at: Mapped[str]


class ApiKey(Base):
    """A key of a user, stored as its SHA-256."""

    __tablename__ = "keys"

    digest: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    owner: Mapped[str] = mapped_column(ForeignKey(User.username))


async def session() -> AsyncIterator[AsyncSession]:
    """A session for one request."""
    async with make_session() as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session)]


async def items_of(  # noqa: PLR0917 - the parameters of a query
    opened: AsyncSession, owner: str, limit: int, contains: str, differs: str, sort: str
) -> list[Item]:
    """The first items of a user, filtered by their titles and in an order."""
    query = select(Item).where(Item.owner == owner)
    if contains:
        query = query.where(Item.title.contains(contains, autoescape=True))
    if differs:
        query = query.where(Item.title != differs)
    if sort == "-title":
        query = query.order_by(Item.title.desc())
    return list(await opened.scalars(query.order_by(Item.id).limit(limit)))
