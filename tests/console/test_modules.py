"""Modules of the console that need no browser, run by node against the server's own implementation."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from events.transparency import merkle
from events.transparency.signed_note import Consistency, Inclusion, Signer, TreeHead
from tests.eventapi.http.routes.test_console import SOURCE
from tests.generators.tools import needs

PROGRAM = Path(__file__).parent / "browser" / "modules.mjs"
LEAVES = [merkle.leaf_hash(b"line %d" % number) for number in range(40)]
LINES = [f'{{"id":"{number + 1}"}}' for number in range(9)]
SIGNER = Signer("eventapi/test", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))

Node = Callable[[str, Any], Any]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """Run a function of the program with a value, and return its result."""
    needs("node")
    folder = tmp_path_factory.mktemp("modules")
    shutil.copytree(SOURCE, folder / "console")
    shutil.copy(PROGRAM, folder)
    (folder / "package.json").write_text('{"type": "module"}')

    def call(name: str, value: Any) -> Any:
        done = subprocess.run(
            ["node", PROGRAM.name, name],
            input=json.dumps(value),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return call


def root(start: int, end: int) -> bytes:
    return merkle.root_of(LEAVES[start:end])


def checkpoint(size: int, signer: Signer = SIGNER) -> str:
    return str(signer.sign(str(TreeHead(signer.verifier.name, size, root(0, size)))))


def consistency(old: int, size: int) -> str:
    hashes = [root(*one) for one in merkle.consistency_ranges(old, size)]
    note = SIGNER.sign(str(TreeHead(SIGNER.verifier.name, size, root(0, size))))
    return str(Consistency(old, hashes, note))


def test_proofs_of_consistency_hold_for_all_sizes_and_for_no_other_root(node: Node) -> None:
    sizes = [(old, size) for size in range(1, len(LEAVES) + 1) for old in range(1, size + 1)]
    right: list[list[Any]] = [
        [old, size, root(0, old).hex(), consistency(old, size)] for old, size in sizes
    ]
    wrong = [[old, size, root(0, old)[::-1].hex(), proof] for old, size, _, proof in right]

    assert node("consistency", right) == [True] * len(right)
    assert node("consistency", wrong) == [False] * len(wrong)


def test_proofs_with_a_changed_missing_or_further_hash_never_hold(node: Node) -> None:
    cases: list[list[Any]] = []
    for old, size in ((3, 7), (4, 8), (6, 31), (16, 40), (1, 2), (39, 40)):
        first, *hashes = consistency(old, size).partition("\n\n")[0].split("\n")
        rest = consistency(old, size).partition("\n\n")[2]
        changed = [hashes[:-1], [*hashes, hashes[0]], hashes[::-1] if len(hashes) > 1 else []]
        cases += [
            [old, size, root(0, old).hex(), "\n".join([first, *some]) + f"\n\n{rest}"]
            for some in changed
        ]

    assert node("consistency", cases) == [False] * len(cases)


def test_proofs_of_inclusion_hold_for_every_leaf_alone(node: Node) -> None:
    cases, expected = [], []
    for size in (1, 2, 3, 7, 8, 33, 40):
        note = SIGNER.sign(str(TreeHead(SIGNER.verifier.name, size, root(0, size))))
        for index in range(size):
            hashes = [root(*one) for one in merkle.inclusion_ranges(index, size)]
            proof = str(Inclusion(index, hashes, note))
            for leaf in {index, (index + 1) % size}:
                cases.append([LEAVES[leaf].hex(), proof])
                expected.append(leaf == index)

    assert node("inclusion", cases) == expected


def test_signatures_are_those_of_the_key_alone(node: Node) -> None:
    other = Signer("eventapi/test", Ed25519PrivateKey.from_private_bytes(bytes(32)))
    cases = [
        [SIGNER.verifier.vkey, checkpoint(5)],
        [other.verifier.vkey, checkpoint(5)],
        [SIGNER.verifier.vkey, checkpoint(5).replace("\n5\n", "\n6\n")],
        [SIGNER.verifier.vkey, checkpoint(5, other)],
    ]

    assert node("signed", cases) == [True, False, False, False]


def test_a_member_is_cut_out_byte_for_byte(node: Node) -> None:
    records = [
        '{"a":"}\\"],","b":[{"c":1.0}], "hash":"x"},"personal":{"record":{}}',
        '{"x":"\\\\","y":"\\u00e9\\ud83d\\ude00 é"}',
    ]
    cases = [f'{{"record":{one},"personal":null}}' for one in records]

    assert node("member", cases) == [records[0].partition(',"personal"')[0], records[1]]


def exported(size: int, *positions: int, without: tuple[int, ...] = ()) -> str:
    """An export of lines of a log of `LINES`, with proofs in the checkpoint of a size."""
    leaves = [merkle.leaf_hash(line.encode()) for line in LINES]
    head = TreeHead(SIGNER.verifier.name, size, merkle.root_of(leaves[:size]))
    note = SIGNER.sign(str(head))
    lines = []
    for position in positions:
        proof = None
        if position <= size and position not in without:
            ranges = merkle.inclusion_ranges(position - 1, size)
            hashes = [merkle.root_of(leaves[start:end]) for start, end in ranges]
            proof = str(Inclusion(position - 1, hashes, note))
        lines.append(f'{{"record":{LINES[position - 1]},"proof":{json.dumps(proof)}}}\n')
    return "".join(lines)


def test_only_a_line_newer_than_every_checkpoint_may_be_without_a_proof(node: Node) -> None:
    refused = "event {} has no proof, although it is signed".format
    cases: list[tuple[str, int, Any]] = [
        (exported(7, 2, 5, 7), 7, [3, 0]),
        (exported(7, 2, 5, 8), 7, [2, 1]),
        (exported(7, 2, 5, 7, without=(7,)), 3, refused(7)),
        (exported(7, 2, 5, 7, without=(2,)), 3, refused(2)),
        # No line is signed.
        (exported(7, 8, 9), 7, [0, 2]),
        (exported(7, 7, 9, without=(7,)), 7, refused(7)),
        # The proofs are in an older checkpoint than the browser has seen.
        (exported(3, 2, 5), 7, refused(5)),
    ]

    found = node("exports", [[text, SIGNER.verifier.vkey, size] for text, size, _ in cases])

    assert found == [expected for _, _, expected in cases]


def test_a_session_of_another_tab_ends_the_notice_that_the_last_one_has_ended(node: Node) -> None:
    assert node("expired", ["null", '{"access":"a","refresh":"r"}']) == [True, False]


def test_positions_get_times_between_those_of_their_neighbours(node: Node) -> None:
    known = [[10, "2026-01-01T00:00:00Z"], [20, "2026-01-01T01:00:00Z"]]
    found = node("moments", {"known": known, "positions": [10, 15, 5, 25]})

    assert found == [
        {"time": "2026-01-01T00:00:00.000Z", "isExact": True},
        {"time": "2026-01-01T00:30:00.000Z", "isExact": False},
        {"time": "2026-01-01T00:00:00.000Z", "isExact": False},
        {"time": "2026-01-01T01:00:00.000Z", "isExact": False},
    ]


def test_of_many_known_positions_some_are_kept_and_the_others_estimated(node: Node) -> None:
    found = node("thinned", 10_000)

    assert found["exact"] <= 2_000
    assert found["right"]
    assert found["ends"]
    assert node("thinned", 1_000)["exact"] == 1_000


def test_times_are_shown_in_a_zone_and_in_utc(node: Node) -> None:
    assert node("times", ["2026-07-01T23:30:05.123456Z", "America/New_York"]) == [
        "1 Jul 2026, 19:30:05",
        "1 Jul 2026, 23:30:05 UTC",
    ]


def test_an_input_shows_a_time_in_its_zone_and_gives_it_back(node: Node) -> None:
    times = {
        "2026-07-01T23:30:05.123456Z": ["2026-07-01T19:30:05", "2026-07-01T23:30:05.000Z"],
        "1950-03-01T12:00:00Z": ["1950-03-01T07:00:00", "1950-03-01T12:00:00.000Z"],
        "yesterday": ["", ""],
    }

    found = node("inputs", {"zone": "America/New_York", "times": [*times]})

    assert found == [*times.values()]


def test_a_typed_time_is_one_of_the_zone_and_any_other_text_is_left_to_the_server(
    node: Node,
) -> None:
    texts = {
        "2026-12-24 10:00": "2026-12-24T15:00:00.000Z",
        "2026-12-24T10:00:05": "2026-12-24T15:00:05.000Z",
        **{
            text: text
            for text in (
                *("2026-12-24T10:00:05Z", "2026-12-24T10:00:05.123456+01:00", "2026-12-24"),
                *("2026-13-01 10:00", "10:00", "yesterday", ""),
            )
        },
    }

    assert node("instants", {"zone": "America/New_York", "texts": [*texts]}) == [*texts.values()]


def test_days_have_years_of_four_digits(node: Node) -> None:
    days = {
        "0001-01-01": "1 Jan 0001",
        "0050-03-01": "1 Mar 0050",
        "0999-12-31": "31 Dec 0999",
        "2026-02-28": "28 Feb 2026",
        "9999-12-31": "31 Dec 9999",
    }

    assert node("days", [*days]) == [*days.values()]
    assert node("times", ["0050-03-01T12:00:00Z", "UTC"])[0] == "1 Mar 0050, 12:00:00"


def test_numbers_are_shown_with_every_digit(node: Node) -> None:
    numbers = {
        0: "0",
        999: "999",
        -1000: "-1,000",
        1234567: "1,234,567",
        0.0004: "0.0004",
        1.00001: "1.00001",
        -1234.56789: "-1,234.56789",
        -0.5: "-0.5",
        1e-9: "1e-9",
        1e300: "1e+300",
    }

    assert node("grouped", [*numbers]) == [*numbers.values()]


def test_an_event_is_later_than_a_position_or_a_time_to_the_microsecond(node: Node) -> None:
    event = {"position": 10, "time": "2026-07-01T23:30:05.123456Z"}
    moments = {
        "9": True,
        "10": False,
        "11": False,
        "2026-07-01T23:30:05.123455Z": True,
        "2026-07-01T23:30:05.123456Z": False,
        "2026-07-01T23:30:05.123Z": True,
        "2026-07-01T23:30:05.124Z": False,
        "2026-07-02T01:30:05+02:00": True,
        "2026-07-02T01:30:06+02:00": False,
        "yesterday": False,
    }

    assert node("later", [[event, at] for at in moments]) == [*moments.values()]


def test_a_text_that_is_no_time_is_shown_as_it_is(node: Node) -> None:
    assert node("times", ["yesterday", "America/New_York"])[0] == "yesterday"


def test_every_declared_resource_has_fields_filters_and_actions(node: Node) -> None:
    from tests.console.documents import document  # noqa: PLC0415 - starts an application

    found = {one["collection"]: one for one in node("resources", document())}

    assert set(found) == {"items", "invoices"}
    invoice = found["invoices"]
    assert [one["name"] for one in invoice["form"]] == [
        "number",
        "customer",
        "cents",
        "due",
        "paid",
    ]
    assert [one["kind"] for one in invoice["form"]] == [
        "long",
        "text",
        "integer",
        "date",
        "boolean",
    ]
    assert [one["isRequired"] for one in invoice["form"]] == [True, True, True, False, False]
    assert [one["name"] for one in invoice["actions"]] == ["pay"]
    assert invoice["noun"] == "invoice"
    filters = {
        one["field"]["name"]: [op["name"] for op in one["operators"]] for one in invoice["filters"]
    }
    assert set(filters) == {
        *("id", "number", "customer", "cents", "due", "paid"),
        *("owner", "created_at", "updated_at"),
    }
    assert filters["paid"] == ["eq", "ne", "in", "null"]
    assert "contains" in filters["customer"]
