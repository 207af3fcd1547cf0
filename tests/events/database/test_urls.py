"""Addresses of databases: accepted ones can be used, refused ones are not shown."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from events.database.connection import Database
from events.database.urls import database_fault, mask_url, split_hosts
from events.errors import ConfigurationError

PARTS = st.text("QXé:/@?#%[]&=. 0", max_size=8)
ADDRESSES = st.builds(
    "{}://{}:{}@{}:{}/{}{}".format,
    st.sampled_from(["postgresql", "postgres", "mysql", "mariadb", "pg", ""]),
    PARTS,
    PARTS,
    st.sampled_from(["db.example", "[::1]", "[x", "", "a" * 70, "a,b", "a:1,[::1]"]) | PARTS,
    st.sampled_from(["5432", "0", "65536", "port", ""]),
    PARTS,
    st.sampled_from(["", "?sslmode=require", "?ssl=true", "?ssl=1", "?x=QX", "?sslmode=QX"])
    | st.sampled_from(["?target_session_attrs=read-write", "?target_session_attrs=QX"]),
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


@pytest.mark.parametrize(
    ("address", "why"),
    [
        (
            "postgresql://u:p@h:1/d?sslrootcert=x",
            "only options of a postgresql:// address are sslmode and",
        ),
        (
            "postgresql://u:p@h:1/d?sslmode=require&sslmode=disable",
            "give each at most once",
        ),
        ("mysql://u:p@h:1/d?ssl=true&ssl=true", "is ssl; give it at most once"),
        ("mysql://u:p@h:1/d?sslmode=require", "only option of a mysql:// address is ssl"),
        ("mysql://u:p@h:1/d?ssl=required", "the option ssl must be true"),
        ("mysql://u:p@h:1/", "postgresql://USER"),
        ("postgresql://u:p@h:1,/d", "HOST:PORT,HOST:PORT"),
        ("postgresql://u:p@,h/d", "HOST:PORT,HOST:PORT"),
        ("postgresql://u:p@h:1,i:99999/d", "HOST:PORT,HOST:PORT"),
        ("postgresql://u:p@h:1,db..example/d", "HOST:PORT,HOST:PORT"),
        ("postgresql://u:p@h:1,i:port/d", "HOST:PORT,HOST:PORT"),
        ("postgresql://u:p@h,i/d?target_session_attrs=any", "must be read-write"),
        (
            "postgresql://h/d?target_session_attrs=read-write&target_session_attrs=read-write",
            "give each at most once",
        ),
        ("mysql://u:p@db..example:1/d", "postgresql://USER"),
        ("postgresql://u:p@h:99999/d", "postgresql://USER"),
    ],
)
def test_an_address_with_wrong_options_or_parts_is_refused(address: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        Database(address)


@pytest.mark.parametrize("address", ["oracle://x", "postgresql", "mysql+pymysql://x", "://"])
def test_an_address_of_an_unknown_scheme_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="postgresql://USER"):
        Database(address)


def test_the_hosts_of_an_address_have_ports_of_their_own() -> None:
    url = "postgresql://u:p,q@a:5432,[::1]:5433,c.example/log?target_session_attrs=read-write"
    first, hosts = split_hosts(url)
    assert first == "postgresql://u:p,q@a:5432/log?target_session_attrs=read-write"
    assert hosts == [("a", 5432), ("::1", 5433), ("c.example", None)]
    assert database_fault(url) is None


def test_an_address_of_several_hosts_is_shown_without_its_password() -> None:
    url = "postgresql://u:p,q@a:5432,[::1]:5433/log?sslmode=require&target_session_attrs=read-write"
    assert mask_url(url) == url.replace("p,q", "********")
    assert str(Database(url)) == "postgresql://u:********@a:5432,[::1]:5433/log"
