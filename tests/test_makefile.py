"""``make run`` and ``make demo``: their arguments, and recovery from an installation that failed.

A script replaces Python, pip and eventapi, and records its arguments.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(
    shutil.which("make") is None, reason="make is absent: apt-get install make"
)

FAKE_PROGRAM = """\
#!/bin/sh
# Replaces python3, and pip and eventapi in a venv.
name=$(basename "$0")
echo "$name $*" >> "$ROOT/calls"
case "$name $*" in
*" -c "*) exit "${OLD_PYTHON:-0}" ;;
*"--version") echo "Python 3.9.2"; test ! -e "$(dirname "$0")/broken" ;;
*" -m venv "*)
    mkdir -p .venv/bin
    rm -f .venv/.* 2> /dev/null
    cp "$0" .venv/bin/python
    test -z "$NO_ENSUREPIP" || exit 1
    cp "$0" .venv/bin/pip
    cp "$0" .venv/bin/eventapi ;;
"pip install "*"--editable"*)
    test -z "$PIP_FAILS" || exit 1
    test -z "$PIP_IS_KILLED" || kill -KILL $PPID ;;
"eventapi serve"*)
    echo "port=$EVENTAPI_PORT" >> "$ROOT/calls"
    exit "${SERVE_EXITS:-0}" ;;
esac
"""


class Checkout:
    """A folder with the Makefile, in which `make run` is executed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(ROOT / "Makefile", folder)
        (folder / "pyproject.toml").touch()
        programs = folder / "programs"
        programs.mkdir()
        (programs / "python3").write_text(FAKE_PROGRAM)
        (programs / "python3").chmod(0o755)
        self._calls = folder / "calls"
        self._path = f"{programs}:{os.environ['PATH']}"

    def make(
        self, *arguments: str, target: str = "run", **environment: str
    ) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        """Run a target of make; return the process and the calls of the programs."""
        self._calls.write_text("")
        kept = {"PATH": self._path, "ROOT": str(self.folder), **environment}
        done = subprocess.run(
            ["make", target, *arguments],
            cwd=self.folder,
            env=kept,
            capture_output=True,
            text=True,
            check=False,
        )
        return done, self._calls.read_text().splitlines()

    def serves(self, *arguments: str, **environment: str) -> list[str]:
        """The calls of the programs in a run that must reach `eventapi serve`."""
        done, calls = self.make(*arguments, **environment)
        assert done.returncode == 0, done.stderr
        assert any(line.startswith("eventapi serve") for line in calls)
        return calls


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def venvs(calls: list[str]) -> int:
    """How often a virtual environment was created."""
    return sum(" -m venv " in line for line in calls)


def installs(calls: list[str]) -> int:
    """How often the project was installed."""
    return sum("--editable" in line for line in calls)


def test_make_run_installs_once_and_serves(checkout: Checkout) -> None:
    calls = checkout.serves()
    assert (venvs(calls), installs(calls)) == (1, 1)
    assert [line for line in calls if line.startswith("eventapi")] == ["eventapi serve"]
    assert checkout.serves() == ["eventapi serve", "port="]


def test_make_demo_installs_and_serves_the_demonstration(checkout: Checkout) -> None:
    done, calls = checkout.make("PORT=9000", target="demo")
    assert (done.returncode, installs(calls)) == (0, 1)
    assert calls[-2] == "eventapi serve --demo --port 9000"
    done, _ = checkout.make(target="demo", SERVE_EXITS="130")
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "passed"),
    [
        (["PORT=9000"], "eventapi serve --port 9000"),
        (["HOST=::", "PORT=0", "WORKERS=2"], "eventapi serve --host :: --port 0 --workers 2"),
    ],
)
def test_variables_given_to_make_become_options(
    checkout: Checkout, arguments: list[str], passed: str
) -> None:
    assert checkout.serves(*arguments)[-2] == passed


def test_environment_variables_without_the_prefix_are_ignored(checkout: Checkout) -> None:
    """Other tools also use PORT and HOST."""
    calls = checkout.serves(PORT="5000", HOST="desk", WORKERS="9", EVENTAPI_PORT="9000")
    assert calls[-2:] == ["eventapi serve", "port=9000"]
    assert checkout.serves("EVENTAPI_PORT=9001")[-1] == "port=9001"


@pytest.mark.parametrize(("code", "ended"), [(130, 0), (3, 2), (2, 2)])
def test_only_ctrl_c_counts_as_success(checkout: Checkout, code: int, ended: int) -> None:
    done, _ = checkout.make(SERVE_EXITS=str(code))
    assert done.returncode == ended
    assert ("Error" in done.stderr) is (ended != 0)


def test_a_missing_ensurepip_is_reported_with_the_package_to_install(checkout: Checkout) -> None:
    for _ in range(2):
        done, calls = checkout.make(NO_ENSUREPIP="yes")
        assert done.returncode == 2
        assert "apt-get install python3-venv" in done.stderr
        assert installs(calls) == 0
    assert installs(checkout.serves()) == 1


def test_a_venv_without_pip_is_created_again(checkout: Checkout) -> None:
    """An earlier Makefile could leave such a venv."""
    (checkout.folder / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(
        checkout.folder / "programs" / "python3", checkout.folder / ".venv" / "bin" / "python"
    )
    calls = checkout.serves()
    assert (venvs(calls), installs(calls)) == (1, 1)


def test_an_install_that_was_killed_starts_with_a_new_venv(checkout: Checkout) -> None:
    """Pip would treat a partial installation as complete."""
    done, _ = checkout.make(PIP_IS_KILLED="yes")
    assert done.returncode == 2
    calls = checkout.serves()
    assert (venvs(calls), installs(calls)) == (1, 1)
    assert venvs(checkout.serves()) == 0


def test_an_install_that_failed_is_repeated_in_the_same_venv(checkout: Checkout) -> None:
    """For example because there was no network."""
    done, _ = checkout.make(PIP_FAILS="yes")
    assert done.returncode == 2
    calls = checkout.serves()
    assert (venvs(calls), installs(calls)) == (0, 1)


def test_an_install_under_the_old_name_is_removed(checkout: Checkout) -> None:
    checkout.serves()
    for name in (".made", ".installed"):
        (checkout.folder / ".venv" / name).unlink()
    (checkout.folder / "eventapi.egg-info").mkdir()
    calls = checkout.serves()
    assert venvs(calls) == 0
    removed = calls.index("pip uninstall --quiet --yes eventapi")
    assert removed < calls.index("pip install --quiet --editable .")
    assert not (checkout.folder / "eventapi.egg-info").exists()


def test_an_old_python_is_reported(checkout: Checkout) -> None:
    done, calls = checkout.make(OLD_PYTHON="1")
    assert done.returncode == 2
    assert "Python 3.9.2 is too old: eventapi needs Python 3.11 or later" in done.stderr
    assert venvs(calls) == 0
    assert installs(checkout.serves()) == 1


def test_a_missing_python_is_reported(checkout: Checkout) -> None:
    done, calls = checkout.make("PYTHON=python3.99")
    assert done.returncode == 2
    assert "python3.99 is missing" in done.stderr
    assert calls == []


def test_control_make_requires_the_python_version_of_the_package() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert 'requires-python = ">=3.11"' in text
    assert "sys.version_info < (3, 11)" in (ROOT / "Makefile").read_text()
    assert sys.version_info >= (3, 11)
