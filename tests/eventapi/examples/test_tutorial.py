"""Every step of the tutorial in docs/resources.md works, and prints what it shows."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eventapi.testing.plugin import Server
from tests.test_readme import mask, steps

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "resources.md"

_FILE = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SECONDS = re.compile(r"\bin [\d.]+s\b( \(\d:\d\d:\d\d\))?")


def tutorial() -> str:
    """The part of the page before the reference."""
    return PAGE.read_text().partition("\n## Reference\n")[0]


def files() -> dict[str, str]:
    return dict(_FILE.findall(tutorial()))


def masked(text: str) -> str:
    return _SECONDS.sub("in SECONDS", mask(text))


def test_the_shop_of_the_tutorial_and_of_the_readme_is_the_example() -> None:
    def code(text: str) -> str:
        return text.partition("from datetime")[2].replace("\n\n", "\n").replace("\n\n", "\n")

    example = code((ROOT / "eventapi" / "examples" / "shop.py").read_text())
    assert code(files()["shop.py"]) == example
    (shown,) = re.findall(
        r"^```python\n(from datetime.*?)^```$",
        (ROOT / "README.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    assert code(shown) == example


@pytest.mark.long
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is absent: apt-get install curl")
def test_every_step_of_the_tutorial_prints_what_the_page_shows(tmp_path: Path) -> None:
    assert files().keys() == {"shop.py", "conftest.py", "test_shop.py"}
    for name, content in files().items():
        (tmp_path / name).write_text(content)
    (tmp_path / ".env").write_text("EVENTAPI_RESOURCES=shop\n")
    tour = list(steps(tutorial()))
    assert len(tour) > 10

    with Server(tmp_path, tmp_path / "data") as server:
        end = "echo; echo '---8<---'\n"
        script = "".join(command + end for command, _ in tour)
        script = script.replace("localhost:8000", server.url.removeprefix("http://"))
        script = script.replace("pytest -q", "pytest -q -p no:cacheprovider")
        path = f"export PATH={Path(sys.executable).parent}:$PATH PYTHONPATH={ROOT}\n"
        ran = subprocess.run(
            ["bash", "-c", path + script],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    outputs = ran.stdout.split("---8<---\n")[:-1]
    assert [masked(output) for output in outputs] == [masked(shown) for _, shown in tour], (
        ran.stderr
    )
