"""Tables and sessions: SQLAlchemy's ORM over asyncpg, as its documentation has it.

As many connections are kept as the requests of a worker can use, and none is opened and closed
for a peak. Every commit waits for the disk, as PostgreSQL does unless told otherwise.
"""

import os
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends
from sqlalchemy import ForeignKey, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

POOL_SIZE = 20

engine = create_async_engine(os.environ["PEER_DATABASE"], pool_size=POOL_SIZE, max_overflow=0)
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
    """An item of a user; ids are given by a sequence."""

    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    description: Mapped[str | None]
    owner: Mapped[str] = mapped_column(ForeignKey(User.username), index=True)
    created_at: Mapped[str]


async def session() -> AsyncIterator[AsyncSession]:
    """A session for one request."""
    async with make_session() as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session)]


async def items_of(opened: AsyncSession, owner: str) -> list[Item]:
    """All items of a user, oldest first."""
    return list(await opened.scalars(select(Item).where(Item.owner == owner).order_by(Item.id)))
