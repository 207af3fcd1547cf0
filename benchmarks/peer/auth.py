"""Password hashing, JWT creation and verification, and the dependencies that use them."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import bcrypt
from fastapi import Depends, HTTPException, status
from fastapi.security import OAuth2PasswordBearer
from jose import JWTError, jwt

from benchmarks.peer.config import settings
from benchmarks.peer.database import db
from benchmarks.peer.models import UserInDB

oauth2_scheme = OAuth2PasswordBearer(tokenUrl="auth/login")

# The original hashed with passlib, whose last release (1.7.4) does not work with bcrypt 5: its
# self-test hashes an over-long password, which bcrypt now refuses. The `$2b$` hashes are the same,
# and so is the cut at 72 bytes, which older bcrypt made by itself.
BCRYPT_MAX_BYTES = 72


def hash_password(password: str) -> str:
    """A new bcrypt hash."""
    secret = password.encode()[:BCRYPT_MAX_BYTES]
    return bcrypt.hashpw(secret, bcrypt.gensalt(settings.bcrypt_rounds)).decode()


def verify_password(password: str, hashed_password: str) -> bool:
    """Whether the password is the one that was hashed."""
    return bcrypt.checkpw(password.encode()[:BCRYPT_MAX_BYTES], hashed_password.encode())


def authenticate_user(username: str, password: str) -> UserInDB | None:
    """The user, if name and password are right."""
    user = db.get_user(username)
    if user is None or not verify_password(password, user.hashed_password):
        return None
    return user


def create_access_token(username: str) -> str:
    """A signed token for the user, valid for half an hour."""
    issued = datetime.now(UTC)
    claims = {
        "sub": username,
        "exp": issued + timedelta(minutes=settings.access_token_expire_minutes),
        "iat": issued,
        "type": "access",
    }
    return jwt.encode(claims, settings.secret_key, algorithm=settings.algorithm)


def unauthorized(detail: str) -> HTTPException:
    """The 401 with the challenge for a bearer token."""
    return HTTPException(
        status.HTTP_401_UNAUTHORIZED, detail=detail, headers={"WWW-Authenticate": "Bearer"}
    )


async def get_current_user(token: Annotated[str, Depends(oauth2_scheme)]) -> UserInDB:
    """The user that the request's token names."""
    try:
        claims = jwt.decode(token, settings.secret_key, algorithms=[settings.algorithm])
    except JWTError:
        raise unauthorized("Could not validate credentials") from None
    user = db.get_user(claims.get("sub", ""))
    if claims.get("type") != "access" or user is None:
        raise unauthorized("Could not validate credentials")
    return user


async def get_current_active_user(
    current_user: Annotated[UserInDB, Depends(get_current_user)],
) -> UserInDB:
    """The same user; raises 400 if the account is disabled."""
    if current_user.disabled:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, detail="Inactive user")
    return current_user


CurrentUser = Annotated[UserInDB, Depends(get_current_active_user)]
