"""Evidence of ten thousand events, carried to machines without this project."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eventapi.commands.users import RegisterUser
from eventapi.evidence.writer import PACK
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item
from tests.end_to_end.browser import needs_chromium
from tests.end_to_end.devtools import Page, offline_page
from tests.eventapi.cli.running import output_of, run, written, written_together
from tests.eventapi.evidence.packs import Flip, files_in, random_flips, zipped
from tests.eventapi.evidence.test_flips import sample_pack
from tests.eventapi.evidence.test_opened import (
    opened_pack,
    with_changed_letter,
    with_exchanged_values,
)
from tests.eventapi.evidence.test_page import TABLES, Case, given_to_page, program, shown

pytestmark = pytest.mark.long

EVENTS = 10_000
MANY_FLIPS = 2_000
BATCH = 500


def other_pythons() -> list[str]:
    """Interpreters of other versions than this one, from 3.6 on."""
    folders = [*Path("/usr/bin").glob("python3*"), *Path("/usr/local/bin").glob("python3*")]
    folders += Path.home().glob(".pyenv/versions/*/bin/python3")
    found = {}
    for file in folders:
        script = "import sys; print(sys.version_info[:2] >= (3, 6), sys.version)"
        done = subprocess.run(
            [file, "-I", "-c", script], capture_output=True, text=True, check=False
        )
        if done.stdout.startswith("True") and sys.version not in done.stdout:
            found[done.stdout] = str(file)
    return sorted(found.values())


class Packed:
    """A pack of many events about one user, in a data directory with another user's beside."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        written(self.data, RegisterUser(profile("ann")), RegisterUser(profile("ben")))
        for start in range(1, EVENTS, BATCH):
            owners = (1 if number % 4 else 2 for number in range(start, start + BATCH))
            written_together(
                self.data,
                [create_item(owner, Content(f"title {start}", "x" * 100)) for owner in owners],
            )
        written_together(
            self.data, [create_item(1, Content("more")) for _ in range(EVENTS // 4 - 1)]
        )
        self.zip = folder / "evidence.zip"
        ended = run(
            folder,
            "log",
            "evidence",
            "--user",
            "ann",
            "--open",
            str(self.zip),
            EVENTAPI_DATA="data",
        )
        assert ended.code == 0, ended.err
        self.key = output_of(self.data, "log", "checkpoint", "--key").strip()
        self.files = files_in(self.zip.read_bytes())


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    return Packed(tmp_path_factory.mktemp("packed"))


def test_ten_thousand_events_are_collected(packed: Packed) -> None:
    assert packed.files["lines.jsonl"].count(b"\n") == EVENTS
    assert packed.files["opened.jsonl"].count(b"\n") == EVENTS


def test_another_python_without_this_project_verifies_it(packed: Packed, tmp_path: Path) -> None:
    interpreters = other_pythons()
    if not interpreters:
        pytest.skip("there is no other version of Python here")
    shutil.unpack_archive(packed.zip, tmp_path)

    for python in interpreters:
        done = subprocess.run(
            [python, "-I", "verify.py", "--key", packed.key],
            cwd=tmp_path,
            env={},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), (python, done.stdout)
        assert f"OK    {EVENTS} lines are in the log" in done.stdout
        assert f"OK    {EVENTS - 1} opened values are those that were sealed." in done.stdout


def test_another_python_names_what_is_changed(packed: Packed, tmp_path: Path) -> None:
    interpreters = other_pythons()
    if not interpreters:
        pytest.skip("there is no other version of Python here")
    for flip in random_flips(packed.files, 12, seed=1):
        for name, content in flip.apply(packed.files).items():
            (tmp_path / name).write_bytes(content)
        done = subprocess.run(
            [interpreters[0], "-I", "verify.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert flip.file in done.stdout + done.stderr, flip


class Checked:
    """What the page shows."""

    def __init__(self, page: Page) -> None:
        shown = page.run(
            """(async () => {
                const verdict = document.getElementById("verdict");
                while (!verdict.className) await new Promise((done) => setTimeout(done, 20));
                const texts = (id) => [...document.getElementById(id).children].map((one) => one.textContent);
                return [verdict.className, verdict.textContent, texts("faults"), texts("notes")];
            })()"""
        )
        self.verdict, self.text, self.faults, self.notes = shown


@pytest.fixture
def page(packed: Packed, tmp_path: Path) -> Iterator[Page]:
    """The page of the pack, opened from a disk."""
    file = tmp_path / "verify.html"
    file.write_bytes(packed.files["verify.html"])
    with offline_page(file.as_uri(), tmp_path / "profile") as page:
        yield page


@needs_chromium
def test_a_browser_without_a_network_verifies_it(
    packed: Packed, page: Page, tmp_path: Path
) -> None:
    page.choose("#choose", packed.zip)
    found = Checked(page)
    assert (found.verdict, found.faults) == ("good", [])
    assert f"{EVENTS} lines are in the log" in found.text
    assert f"{EVENTS - 1} opened values are those that were sealed." in found.notes

    shutil.unpack_archive(packed.zip, tmp_path / "files")
    page.run("document.getElementById('verdict').className = ''")
    page.choose("#choose", *sorted((tmp_path / "files").iterdir()))
    assert Checked(page).verdict == "good"


@needs_chromium
def test_a_browser_compares_the_key_that_a_person_has(packed: Packed, page: Page) -> None:
    page.choose("#choose", packed.zip)
    assert Checked(page).verdict == "good"
    other = packed.key.replace(packed.key[-3:], "AAA")

    for key, verdict in {packed.key: "good", other: "unsure"}.items():
        page.run(
            f"""(() => {{
                const key = document.getElementById("key");
                key.value = {json.dumps(key)};
                document.getElementById("verdict").className = "";
                key.dispatchEvent(new Event("change"));
            }})()"""
        )
        assert Checked(page).verdict == verdict


@needs_chromium
def test_a_browser_without_ed25519_says_so_and_is_never_green(packed: Packed, page: Page) -> None:
    page.run("crypto.subtle.importKey = async () => { throw new Error('not supported'); }")

    page.choose("#choose", packed.zip)

    found = Checked(page)
    assert (found.verdict, found.faults) == ("unsure", [])
    assert found.text.startswith("CANNOT CHECK")
    assert any("no Ed25519" in note for note in found.notes)


_FLIP_ALL = """(async (packed, flips) => {
    const bytes = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
    const files = new Map(Object.entries(packed).map(([name, text]) => [name, bytes(text)]));
    const results = [];
    for (const [name, bit] of flips) {
        const changed = new Map([...files].map(([other, content]) => [other, content.slice()]));
        if (name) changed.get(name)[bit >> 3] ^= 1 << (bit & 7);
        const list = [...changed].map(([other, content]) => new File([content], other));
        const { verdict, faults } = await examine(list, "");
        results.push([verdict, faults.map(({ file, line }) => [file, line])]);
    }
    return results;
})(%s, %s)"""


def flipped_in(page: Page, files: dict[str, bytes], flips: list[Flip]) -> list[Any]:
    """The verdict and the places of the faults after each flip; first without one."""
    packed = {name: base64.b64encode(content).decode() for name, content in files.items()}
    given = [["", 0], *([one.file, one.bit] for one in flips)]
    found: list[Any] = page.run(_FLIP_ALL % (json.dumps(packed), json.dumps(given)))
    return found


@needs_chromium
def test_a_browser_names_each_of_2000_flips_with_its_file_and_line(page: Page) -> None:
    files = sample_pack()
    flips = random_flips(files, MANY_FLIPS, seed=3)

    unflipped, *results = flipped_in(page, files, flips)

    assert unflipped == ["good", []]
    missed = [
        (flip, flip.line_in(files), result)
        for flip, result in zip(flips, results, strict=True)
        if result[0] != "bad"
        or {name for name, _ in result[1]} != {flip.file}
        or flip.line_in(files) not in {line for _, line in result[1]}
    ]
    assert missed == []


@needs_chromium
def test_a_browser_names_values_that_were_changed_or_exchanged(page: Page) -> None:
    packs = {"good": opened_pack(), "letter": with_changed_letter()}
    packs["exchanged"] = with_exchanged_values()

    found = {name: flipped_in(page, files, [])[0] for name, files in packs.items()}

    assert found["good"] == ["good", []]
    assert [place for place in found["letter"][1] if place[0] == "opened.jsonl"] == [
        ["opened.jsonl", 5]
    ]
    assert [place for place in found["exchanged"][1] if place[0] == "opened.jsonl"] == [
        ["opened.jsonl", 3],
        ["opened.jsonl", 8],
    ]


_EXAMINE_ALL = """(async (cases) => {
    const results = [];
    for (const { files, key, witnesses } of cases) {
        const bytes = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
        const list = files.map(([name, content]) => new File([bytes(content)], name));
        results.push(await examine(list, key, witnesses));
    }
    return results;
})(%s)"""


def with_bytes_behind_a_file() -> dict[str, Case]:
    """A zip in which a file is longer than its compressed content; Node accepts that."""
    content = bytearray(zipped(sample_pack()))
    entry = content.index(b"PK\1\2")
    content[entry + 20] += 1
    return {"bytes behind a file": Case(bytes(content), "bad")}


@needs_chromium
@pytest.mark.parametrize("table", [*TABLES, with_bytes_behind_a_file])
def test_a_browser_judges_like_the_program(
    table: Callable[[], dict[str, Case]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cases = table()
    page_file = tmp_path / "verify.html"
    page_file.write_bytes((PACK / "verify.html").read_bytes())
    with offline_page(page_file.as_uri(), tmp_path / "profile") as page:
        results = page.run(_EXAMINE_ALL % given_to_page(cases.values()))
    wrong = {}
    for number, (name, case) in enumerate(cases.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        judged, found = program(case, folder, capsys), shown(results[number])
        if judged != found:
            wrong[name] = judged, found
    assert wrong == {}
