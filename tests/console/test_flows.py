"""The flows of the console in a real browser.

Each is run in light on a wide screen, and in dark on a narrow one. On the way axe-core must find
nothing, and a request to another server, a violation of the policy or an error fails the flow.
"""

from __future__ import annotations

import re

import pytest

from tests.console.programs import PROGRAMS, Run
from tests.console.service import Service

LOOKS = {"light-wide": ("light", 1280), "dark-narrow": ("dark", 390)}
SPECIAL = ("firstPage", "controls", "failsLater", "failsUnnoticed")
FLOWS = {
    name: program
    for program in ("flows.mjs", "past.mjs", "values.mjs")
    for name in re.findall(r"^async function (\w+)", (PROGRAMS / program).read_text(), re.MULTILINE)
    if name not in SPECIAL
}
"""Programs by the names of their flows."""

MAX_BYTES = 150_000


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("flow", FLOWS)
def test_flow(run: Run, served: Service, flow: str, look: str) -> None:
    scheme, width = LOOKS[look]
    run(FLOWS[flow], flow, scheme=scheme, width=width, **served.options)


def test_the_first_page_is_small(run: Run, served: Service) -> None:
    found = run("flows.mjs", "firstPage", **served.options)

    assert found["bytes"] <= MAX_BYTES, found


def test_control_a_foreign_request_and_a_broken_policy_are_noticed(
    run: Run, served: Service
) -> None:
    assert run("flows.mjs", "controls", **served.options) >= 3


def test_a_promise_that_fails_too_late_does_not_fail_the_next_flow(
    run: Run, served: Service
) -> None:
    run("flows.mjs", "failsLater", **served.options)
    assert run("flows.mjs", "controls", **served.options) >= 3


def test_control_a_promise_that_fails_unnoticed_fails_its_flow(run: Run, served: Service) -> None:
    with pytest.raises(AssertionError, match="unnoticed"):
        run("flows.mjs", "failsUnnoticed", **served.options)
