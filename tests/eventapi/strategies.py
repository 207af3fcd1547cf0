"""Commands for Hypothesis: over few names and numbers, so that they meet."""

from __future__ import annotations

from hypothesis import strategies as st
from msgspec import UNSET

from eventapi.commands.command import Command
from eventapi.commands.items import CreateItem, DeleteItem, ImportItem, UpdateItem
from eventapi.commands.sessions import EndSession, StartSession
from eventapi.commands.users import DisableUser, RegisterUser, RehashPassword, UpdateProfile
from tests.given import at
from tests.projections.strategies import EMAILS, NAMES, SESSIONS, contents, devices, profiles, texts

numbers = st.integers(1, 4)
names = st.sampled_from(NAMES)
emails = st.sampled_from(EMAILS)
sessions = st.sampled_from(SESSIONS)
versions = st.none() | st.frozensets(st.integers(1, 12), max_size=4)

commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(RegisterUser, profiles),
    st.builds(UpdateProfile, numbers, st.just(UNSET) | emails, st.just(UNSET) | st.none() | texts),
    st.builds(RehashPassword, numbers, texts, texts),
    st.builds(DisableUser, names, st.just("operator/root")),
    st.builds(StartSession, numbers, texts, sessions, texts, st.just(at(9_000)), devices),
    st.builds(EndSession, numbers, sessions, st.just("logout")),
    st.builds(CreateItem, numbers, contents),
    st.builds(
        ImportItem, names, contents, st.just(at(-9)), numbers, numbers, st.just("operator/x")
    ),
    st.builds(
        UpdateItem,
        numbers,
        numbers,
        st.just(UNSET) | texts,
        st.just(UNSET) | st.none() | texts,
        versions,
    ),
    st.builds(DeleteItem, numbers, numbers, versions),
)
