"""``make run``: what it passes on, and that every start which failed half-way is made good by the next.

Python and pip are played by a script that writes down what it is asked to do.
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

PLAYED = """\
#!/bin/sh
# Python, and whatever it puts into a venv: pip and eventapi.
name=$(basename "$0")
echo "$name $*" >> "$ROOT/said"
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
    echo "port=$EVENTAPI_PORT" >> "$ROOT/said"
    exit "${SERVE_EXITS:-0}" ;;
esac
"""


class Checkout:
    """A folder with the Makefile, and how `make run` goes there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(ROOT / "Makefile", folder)
        (folder / "pyproject.toml").touch()
        programs = folder / "programs"
        programs.mkdir()
        (programs / "python3").write_text(PLAYED)
        (programs / "python3").chmod(0o755)
        self._said = folder / "said"
        self._path = f"{programs}:{os.environ['PATH']}"

    def make(
        self, *arguments: str, **environment: str
    ) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        """Run it; the second part is what the programs were asked to do."""
        self._said.write_text("")
        kept = {"PATH": self._path, "ROOT": str(self.folder), **environment}
        done = subprocess.run(
            ["make", "run", *arguments],
            cwd=self.folder,
            env=kept,
            capture_output=True,
            text=True,
            check=False,
        )
        return done, self._said.read_text().splitlines()

    def serves(self, *arguments: str, **environment: str) -> list[str]:
        """What was asked for, when it came to serving."""
        done, said = self.make(*arguments, **environment)
        assert done.returncode == 0, done.stderr
        assert any(line.startswith("eventapi serve") for line in said)
        return said


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def venvs(said: list[str]) -> int:
    """How often a virtual environment was made."""
    return sum(" -m venv " in line for line in said)


def installs(said: list[str]) -> int:
    """How often the project was installed."""
    return sum("--editable" in line for line in said)


def test_it_installs_once_and_serves(checkout: Checkout) -> None:
    said = checkout.serves()
    assert (venvs(said), installs(said)) == (1, 1)
    assert [line for line in said if line.startswith("eventapi")] == ["eventapi serve"]
    assert checkout.serves() == ["eventapi serve", "port="]


@pytest.mark.parametrize(
    ("arguments", "passed"),
    [
        (["PORT=9000"], "eventapi serve --port 9000"),
        (["HOST=::", "PORT=0", "WORKERS=2"], "eventapi serve --host :: --port 0 --workers 2"),
    ],
)
def test_settings_given_to_make_are_passed_on(
    checkout: Checkout, arguments: list[str], passed: str
) -> None:
    assert checkout.serves(*arguments)[-2] == passed


def test_a_variable_for_others_is_not_taken(checkout: Checkout) -> None:
    """Many tools know PORT and HOST; the server's own have its prefix."""
    said = checkout.serves(PORT="5000", HOST="desk", WORKERS="9", EVENTAPI_PORT="9000")
    assert said[-2:] == ["eventapi serve", "port=9000"]
    assert checkout.serves("EVENTAPI_PORT=9001")[-1] == "port=9001"


@pytest.mark.parametrize(("code", "ended"), [(130, 0), (3, 2), (2, 2)])
def test_only_ctrl_c_is_no_error(checkout: Checkout, code: int, ended: int) -> None:
    done, _ = checkout.make(SERVE_EXITS=str(code))
    assert done.returncode == ended
    assert ("Error" in done.stderr) is (ended != 0)


def test_without_ensurepip_it_names_the_package_and_then_recovers(checkout: Checkout) -> None:
    for _ in range(2):
        done, said = checkout.make(NO_ENSUREPIP="yes")
        assert done.returncode == 2
        assert "apt-get install python3-venv" in done.stderr
        assert installs(said) == 0
    assert installs(checkout.serves()) == 1


def test_a_venv_without_pip_is_made_anew(checkout: Checkout) -> None:
    """As an earlier Makefile left it."""
    (checkout.folder / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(
        checkout.folder / "programs" / "python3", checkout.folder / ".venv" / "bin" / "python"
    )
    said = checkout.serves()
    assert (venvs(said), installs(said)) == (1, 1)


def test_an_install_that_was_killed_begins_anew(checkout: Checkout) -> None:
    """Pip would take for installed what is half there."""
    done, _ = checkout.make(PIP_IS_KILLED="yes")
    assert done.returncode == 2
    said = checkout.serves()
    assert (venvs(said), installs(said)) == (1, 1)
    assert venvs(checkout.serves()) == 0


def test_an_install_that_failed_is_tried_again_in_the_same_venv(checkout: Checkout) -> None:
    """Without a network, say."""
    done, _ = checkout.make(PIP_FAILS="yes")
    assert done.returncode == 2
    said = checkout.serves()
    assert (venvs(said), installs(said)) == (0, 1)


def test_what_was_installed_under_the_old_name_is_removed(checkout: Checkout) -> None:
    checkout.serves()
    for name in (".made", ".installed"):
        (checkout.folder / ".venv" / name).unlink()
    (checkout.folder / "eventapi.egg-info").mkdir()
    said = checkout.serves()
    assert venvs(said) == 0
    removed = said.index("pip uninstall --quiet --yes eventapi")
    assert removed < said.index("pip install --quiet --editable .")
    assert not (checkout.folder / "eventapi.egg-info").exists()


def test_a_python_that_is_too_old_is_named(checkout: Checkout) -> None:
    done, said = checkout.make(OLD_PYTHON="1")
    assert done.returncode == 2
    assert "Python 3.9.2 is too old: eventapi needs Python 3.11 or later" in done.stderr
    assert venvs(said) == 0
    assert installs(checkout.serves()) == 1


def test_a_python_that_is_not_there_is_named(checkout: Checkout) -> None:
    done, said = checkout.make("PYTHON=python3.99")
    assert done.returncode == 2
    assert "python3.99 is missing" in done.stderr
    assert said == []


def test_control_the_version_that_make_asks_for_is_that_of_the_package() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert 'requires-python = ">=3.11"' in text
    assert "sys.version_info < (3, 11)" in (ROOT / "Makefile").read_text()
    assert sys.version_info >= (3, 11)
