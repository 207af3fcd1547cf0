"""Addresses of databases: accepted ones can be connected to, refused ones are not shown."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from events.database.connection import Database
from events.database.urls import database_fault
from events.errors import ConfigurationError

PARTS = st.text("QXé:/@?#%[]&=. 0", max_size=8)
ADDRESSES = st.builds(
    "{}://{}:{}@{}:{}/{}{}".format,
    st.sampled_from(["postgresql", "postgres", "mysql", "mariadb", "pg", ""]),
    PARTS,
    PARTS,
    st.sampled_from(["db.example", "[::1]", "[x", "", "a" * 70]) | PARTS,
    st.sampled_from(["5432", "0", "65536", "port", ""]),
    PARTS,
    st.sampled_from(["", "?sslmode=require", "?ssl=true", "?ssl=1", "?x=QX", "?sslmode=QX"]),
)


@given(ADDRESSES)
@example("postgresql://ev:S3c@ret@db/log")
@example("postgresql:///log")
def test_a_refusal_contains_no_part_of_the_address(url: str) -> None:
    fault = database_fault(url)
    if fault is None:
        assert str(Database(url))  # No connection is made.
        return
    assert "QX" not in fault
    with pytest.raises(ConfigurationError, match=r"^EVENTAPI_LOG: "):
        Database(url)
