"""``eventapi rebuild`` and ``eventapi snapshot`` with projections of an application."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventapi.commands.users import RegisterUser
from eventapi.resources.registry import load_registry
from eventapi.testing.given import profile
from tests.eventapi.cli.running import invoke, written

COUNTER = """\
from pathlib import Path
from msgspec import Struct
from eventapi.resources import Caller, Projection, PublicEvent


class Count(Struct):
    events: int = 0


class Counter(Projection):
    state = Count

    def apply(self, event: PublicEvent) -> None:
        self.state.events += 1

    def query(self, caller: Caller) -> int:
        return self.state.events
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    file = tmp_path / "rebuilt_counter.py"
    file.write_text(COUNTER)
    yield file
    forget()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    written(folder, *[RegisterUser(profile(name)) for name in ("ann", "bob", "eve")])
    return folder


def forget() -> None:
    """Import the module again at the next command, as another process does."""
    sys.modules.pop("rebuilt_counter", None)
    load_registry.cache_clear()


def rebuild(data: Path, exit_code: int = 0) -> dict[str, Any]:
    forget()
    result = invoke(data, "rebuild", "--json", EVENTAPI_RESOURCES="rebuilt_counter")
    assert result.exit_code == exit_code, result.output
    figures: dict[str, Any] = json.loads(result.stdout)
    return figures


def take_snapshot(data: Path) -> None:
    forget()
    result = invoke(data, "snapshot", EVENTAPI_RESOURCES="rebuilt_counter")
    assert result.exit_code == 0, result.output


def test_rebuild_compares_projections_with_those_of_a_snapshot(data: Path, module: Path) -> None:
    take_snapshot(data)
    figures = rebuild(data)
    assert (figures["snapshot"], figures["equal"]) == (3, True)
    assert len(figures["projections"]) == 64
    assert figures["failed_projections"] == []


def test_a_projection_that_is_not_a_fold_of_the_log_is_found(data: Path, module: Path) -> None:
    """Given a projection that depends on a file, when that changes, then the sums differ."""
    amount = module.with_name("amount")
    amount.write_text("1")
    module.write_text(COUNTER.replace("+= 1", f"+= int(Path({str(amount)!r}).read_text())"))
    take_snapshot(data)
    assert rebuild(data)["equal"]
    amount.write_text("2")
    assert not rebuild(data, exit_code=1)["equal"]
    assert not list((data / "snapshots").glob("*.snapshot")), "a wrong snapshot is removed"


def test_changed_code_is_no_difference(data: Path, module: Path) -> None:
    take_snapshot(data)
    before = rebuild(data)
    module.write_text(COUNTER.replace("+= 1", "+= 2"))
    after = rebuild(data)
    assert (after["snapshot"], after["equal"]) == (3, True)
    assert after["projections"] != before["projections"]


def test_rebuild_names_projections_that_failed(data: Path, module: Path) -> None:
    module.write_text(COUNTER.replace("+= 1", "+= 1 // (3 - event.position)"))
    take_snapshot(data)
    figures = rebuild(data)
    assert (figures["failed_projections"], figures["equal"]) == (["counter"], True)
    result = invoke(data, "rebuild", EVENTAPI_RESOURCES="rebuilt_counter")
    assert "failed projections  counter" in result.stdout


def test_without_projections_there_is_no_sum(data: Path) -> None:
    result = invoke(data, "rebuild", "--json")
    assert json.loads(result.stdout)["projections"] is None
