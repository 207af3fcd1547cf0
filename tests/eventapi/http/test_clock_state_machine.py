"""The server agrees with a dictionary while clocks differ, are set and jump."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import settings
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from eventapi.bootstrap.storage import SYSTEM
from eventapi.journal.batch import Runtime
from eventapi.testing.items import Content, create_item
from eventapi.values.times import seconds_of, time_of
from tests.eventapi.http.test_http_state_machine import WALKS, Expected, OverHttp, names
from tests.eventapi.journal.clock_machine import DAY, HOUR, Machine


def environment_of(machine: Machine) -> Runtime:
    """The runtime of a process on a machine whose clock can be set."""
    return msgspec.structs.replace(
        SYSTEM, now=lambda: time_of(machine.wall), uptime=lambda: machine.seconds_up
    )


def right_time(machine: Machine) -> float:
    """The time of a machine's clock if it had never been set."""
    return Machine().wall - Machine().seconds_up + machine.seconds_up


class WithClocks(OverHttp):
    """The rules of `OverHttp` on a machine whose clock changes, with two instances."""

    numbers = OverHttp.numbers
    given_settings: ClassVar[dict[str, Any]] = {"access_token_minutes": 525_600}

    def __init__(self) -> None:
        self._machine, self._other_machine = Machine(), Machine()
        self._environment = environment_of(self._machine)
        super().__init__()

    @rule(seconds=st.floats(0, 1_000))
    def time_passes(self, seconds: float) -> None:
        for machine in (self._machine, self._other_machine):
            machine.passes(seconds)

    @rule(step=st.floats(-60, 60))
    def set_the_clock_a_little(self, step: float) -> None:
        self._machine.wall = right_time(self._machine) + step

    @rule(
        name=names,
        number=numbers,
        jump=st.floats(2 * HOUR, 20 * 365 * DAY),
        way=st.sampled_from([1, -1]),
    )
    def the_clock_jumps_and_comes_back(self, name: str, number: int, jump: float, way: int) -> None:
        """While the clock is wrong, writes are refused and reads are answered."""
        self._machine.wall += way * jump
        answer = self._ask(name, "POST", "/items", json={"title": "late"})
        assert answer.status_code == 503
        assert "jumped" in answer.json()["detail"]
        self.read(name, "", number)
        self._machine.wall -= way * jump
        self.read(name, "", number)

    @rule(target=numbers, name=names, skew=st.floats(-60, 60))
    def another_instance_writes(self, name: str, skew: float) -> int:
        """Its clock differs by up to a minute."""
        self._other_machine.wall = right_time(self._other_machine) + skew
        owner = self._api.run(self._journal.state()).users.find_by_username(name)
        assert owner is not None
        environment = environment_of(self._other_machine)
        command = create_item(owner.id, Content("from elsewhere"))
        self._api.execute(command, environment=environment)
        self._last_position += 1
        number = self._last_number = self._last_number + 1
        tag = f'"{self._last_position}"'
        self._items[number] = Expected(name, "from elsewhere", None, tag)
        self.read(name, "/api/v2", number)
        return number

    @rule(name=names, after=st.sampled_from([0, 5, 15, 55, 3_000]))
    def spend_a_refresh_token_twice(self, name: str, after: int) -> None:
        body = {"refresh_token": self._users[name].tokens["refresh_token"]}
        renewed = self._ask(name, "POST", "/auth/refresh", json=body)
        assert renewed.status_code == 200
        self._users[name] = msgspec.structs.replace(self._users[name], tokens=renewed.json())
        self.time_passes(after)
        again = self._ask(name, "POST", "/auth/refresh", json=body)
        if after < 10:
            assert again.json()["refresh_token"] == renewed.json()["refresh_token"]
            return
        assert again.status_code == 401
        assert self._ask(name, "GET", "/items").status_code == 401
        tokens = self._api.login(name).json()
        self._last_position += 2
        self._users[name] = msgspec.structs.replace(self._users[name], tokens=tokens)

    @invariant()
    def times_on_lines_never_go_back(self) -> None:
        log = Path(self._settings.log_path)
        times = [json.loads(line)["time"] for line in log.read_bytes().splitlines()[-3:]]
        assert times == sorted(times)
        if times:
            ahead = seconds_of(times[-1]) - right_time(self._machine)
            assert ahead <= 60 + 1, "no clock was so far ahead"


@pytest.mark.long
def test_wrong_clocks_do_not_change_what_clients_see() -> None:
    brief = settings(WALKS, max_examples=max(1, WALKS.max_examples // 2))
    run_state_machine_as_test(WithClocks, settings=brief)
