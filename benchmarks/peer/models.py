"""Pydantic models of requests, answers and stored values."""

from pydantic import BaseModel, Field


class UserBase(BaseModel):
    """The fields of every user model."""

    username: str
    email: str
    full_name: str | None = None


class UserCreate(UserBase):
    """The body of a registration."""

    username: str = Field(min_length=3, max_length=32, pattern=r"^[A-Za-z0-9_.-]+$")
    email: str = Field(max_length=254, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")
    full_name: str | None = Field(default=None, max_length=100)
    password: str = Field(min_length=8)


class UserResponse(UserBase):
    """The public fields of a user."""

    disabled: bool = False
    created_at: str


class UserInDB(UserResponse):
    """A user as stored."""

    hashed_password: str


class UserLogin(BaseModel):
    """The body of a login."""

    username: str
    password: str


class Token(BaseModel):
    """The answer to a login."""

    access_token: str
    token_type: str = "bearer"


class ItemCreate(BaseModel):
    """The body of a create and of a replacing update."""

    title: str = Field(min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=5000)


class Item(BaseModel):
    """An item, as stored and as answered."""

    id: int
    title: str
    description: str | None = None
    owner: str
    created_at: str
