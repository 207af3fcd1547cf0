"""Projections: declared by an application, served by a journal, and isolated from it."""

from __future__ import annotations

import logging
import textwrap
from functools import partial
from typing import Any

import msgspec
import pytest

from eventapi.commands.users import RegisterUser
from eventapi.queries.history import History
from eventapi.queries.projections import query_projection
from eventapi.resources import Caller, Projection, PublicEvent, projection
from eventapi.testing.given import profile
from events.errors import ProjectionFailed
from events.log.memory import MemoryLog
from events.vault.memory import MemoryVault
from tests.eventapi.resources.applications import (
    ANN,
    Broken,
    Revenue,
    answer,
    create,
    invoices_with,
    pay_some,
    running,
)

# The example


async def test_revenue_of_a_month() -> None:
    registry = invoices_with(Revenue)
    async with running(registry) as journal:
        await pay_some(registry, journal)
        assert await answer(registry, journal, "revenue", month="2026-01") == 350
        assert await answer(registry, journal, "revenue", month="2026-02") == 0


async def test_revenue_as_of_an_earlier_position() -> None:
    registry = invoices_with(Revenue)
    async with running(registry) as journal:
        await pay_some(registry, journal)
        end = journal.position
        for position, expected in ((end - 2, 0), (end - 1, 100), (end, 350)):
            declared, state = registry.projections["revenue"], await journal.state()
            parameters = declared.parse({"month": "2026-01"})
            found = await query_projection(
                declared, ANN, parameters, state, history=journal.history, position=position
            )
            assert found == expected


async def test_the_example_in_the_documentation_is_this_one() -> None:
    """Given the class of the docstring, then it sums the same payments."""
    text = projection.__doc__ or ""
    example = textwrap.dedent(text.partition("::\n")[2].partition("\n``GET")[0])
    names: dict[str, Any] = {
        "Struct": msgspec.Struct,
        "Projection": Projection,
        "PublicEvent": PublicEvent,
        "Caller": Caller,
        "__name__": __name__,
    }
    exec(example, names)  # noqa: S102 - our own text
    registry = invoices_with(names["Revenue"])
    async with running(registry) as journal:
        await pay_some(registry, journal)
        assert await answer(registry, journal, "revenue", month="2026-01") == 350
    assert registry.projections["revenue"].summary == "The sum of the paid invoices, by month"


# Failures


async def test_an_exception_stops_one_projection_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry = invoices_with(Revenue, Broken)
    async with running(registry) as journal:
        await pay_some(registry, journal)
        await journal.execute(create(registry, 1))
        assert await answer(registry, journal, "revenue", month="2026-01") == 350
        with pytest.raises(ProjectionFailed, match="'broken' failed at position 6"):
            await answer(registry, journal, "broken")
        assert journal.failed_projections == ["broken"]
    lines = [one for one in caplog.records if "projection" in one.getMessage()]
    assert [one.levelno for one in lines] == [logging.ERROR], "one line, although events follow"
    assert "the projection 'broken' failed at position 6" in lines[0].getMessage()
    assert "ZeroDivisionError: the fault of an application" in lines[0].getMessage()
    assert lines[0].exc_info is not None


async def test_control_sound_projections_are_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    registry = invoices_with(Revenue)
    async with running(registry) as journal:
        await pay_some(registry, journal)
        assert journal.failed_projections == []
    assert not caplog.records


async def test_a_failure_during_the_start_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    log, vault = MemoryLog(), MemoryVault()
    plain = invoices_with()
    async with running(plain, log, vault) as journal:
        await pay_some(plain, journal)
    async with running(invoices_with(Broken), log, vault) as journal:
        assert journal.failed_projections == ["broken"]
    assert [one.levelno for one in caplog.records] == [logging.ERROR]


async def test_as_of_a_position_before_the_failure_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = invoices_with(Broken)
    async with running(registry) as journal:
        await pay_some(registry, journal)
        declared, state = registry.projections["broken"], await journal.state()
        ask = partial(
            query_projection, declared, ANN, declared.parse({}), state, history=journal.history
        )
        assert await ask(position=5) == 5
        monkeypatch.setattr(History, "state_at", None)  # No fold is needed for what is known.
        for position in (6, 7, None):
            with pytest.raises(ProjectionFailed):
                await ask(position=position)


async def test_another_process_that_appends_makes_them_fold() -> None:
    log, vault = MemoryLog(), MemoryVault()
    registry, plain = invoices_with(Revenue), invoices_with()
    async with running(registry, log, vault) as reader, running(plain, log, vault) as writer:
        await pay_some(plain, writer)
        assert await answer(registry, reader, "revenue", month="2026-01") == 350


async def test_two_applications_in_one_process() -> None:
    one, other = invoices_with(Revenue), invoices_with(Broken)
    async with running(one) as first, running(other) as second:
        await pay_some(one, first)
        await second.execute(RegisterUser(profile("bob")))
        assert await answer(one, first, "revenue", month="2026-01") == 350
        assert await answer(other, second, "broken") == 1
        assert list(one.projections) == ["revenue"]
        assert list(other.projections) == ["broken"]
