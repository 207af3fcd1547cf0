"""A URL is shown without its password, whatever characters that has."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from events.urls import mask_url

# No character of it is in the rest of the address.
PASSWORDS = st.text("ABCXYZ@/:#?&=%[] '\"\\\n\té", min_size=4, max_size=20)
SCHEMES = ["postgresql", "mysql", "redis", "rediss", "smtp", "https"]


def pieces(secret: str) -> set[str]:
    """Every part of four characters of a secret that is not also a part of the address."""
    return {secret[at : at + 4] for at in range(len(secret) - 3)} - {"://:"}


@given(PASSWORDS, st.sampled_from(SCHEMES))
@example("S3C@RETPW", "postgresql")
@example("A/B@C#D?E", "redis")
@example("ABCD@XYZ:6379/0", "redis")
def test_no_part_of_a_password_is_shown(password: str, scheme: str) -> None:
    shown = mask_url(f"{scheme}://ev:{password}@host.example/db")
    assert not [piece for piece in pieces(password) if piece in shown]


@given(PASSWORDS)
def test_no_part_of_a_password_in_the_query_is_shown(password: str) -> None:
    shown = mask_url(f"postgresql://host.example/db?user=ev&password={password}&sslmode=require")
    assert not [piece for piece in pieces(password) if piece in shown]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ev:pw@host/db", "postgresql://ev:********@host/db"),
        ("postgresql://ev:S3c@retPW@host/db", "postgresql://ev:********@host/db"),
        ("postgresql://ev@[::1]:5432/db", "postgresql://ev@[::1]:5432/db"),
        ("postgresql://h/db?sslmode=require", "postgresql://h/db?sslmode=require"),
        ("redis://:pw@cache:6379/0", "redis://:********@cache:6379/0"),
        ("https://public@sentry.example/1", "https://public@sentry.example/1"),
        ("https://public:secret@sentry.example/1", "https://public:********@sentry.example/1"),
        ("https://page.example/a?b=c#d", "https://page.example/a?b=c#d"),
        ("postgresql://ev:no-host-follows", "********"),
        ("postgresql://who@knows:pw@host/db", "********"),
    ],
)
def test_the_rest_is_shown_where_it_is_certainly_no_secret(url: str, shown: str) -> None:
    assert mask_url(url) == shown
