"""Trust policies: C2SP tlog-policy."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from itertools import chain, combinations
from pathlib import Path

import pytest

from events.transparency.policy import Policy
from events.transparency.signed_note import Note, Signer
from tests.eventapi.witnesses.witness_server import Witness

NAMES = ("X1", "X2", "X3", "Y1", "Y2", "Y3")
TEXT = "example.com/log\n7\n" + b64encode(bytes(32)).decode() + "\n"
LOG = Signer.from_seed(bytes(32), "eventapi/").verifier


@pytest.fixture
def witnesses(tmp_path: Path) -> dict[str, Witness]:
    return {
        name: Witness(tmp_path, f"witness.example/{name}", bytes([number]) * 32)
        for number, name in enumerate(NAMES)
    }


@pytest.fixture
def lines(witnesses: dict[str, Witness]) -> str:
    """The lines of all witnesses, with blanks and comments that mean nothing."""
    named = (f"witness  {name}\t{one.vkey} " for name, one in witnesses.items())
    return "# a comment\n\n \t\n" + "\n".join(named) + "\n  # quorum none\n"


def subsets() -> Iterable[tuple[str, ...]]:
    return chain.from_iterable(combinations(NAMES, size) for size in range(len(NAMES) + 1))


def test_groups_of_groups_decide_as_in_the_standard(lines: str) -> None:
    text = (
        f"log {LOG.vkey}\n{lines}group X 2 X1 X2 X3\ngroup Y any Y1 Y2 Y3\n"
        "group both all X Y\nquorum both\n"
    )
    policy = Policy.parse(text.encode())
    assert [log.vkey for log in policy.logs] == [LOG.vkey]
    for names in subsets():
        enough = sum(name[0] == "X" for name in names) >= 2 and any(
            name[0] == "Y" for name in names
        )
        assert policy.is_met(names) == enough


def test_a_quorum_may_be_one_witness_or_none(lines: str) -> None:
    one, none = (Policy.parse(f"{lines}quorum {name}".encode()) for name in ("X2", "none"))
    for names in subsets():
        assert one.is_met(names) == ("X2" in names)
        assert none.is_met(names)


def test_the_time_of_a_quorum_is_the_last_one_for_which_enough_vouch(
    lines: str, witnesses: dict[str, Witness]
) -> None:
    policy = Policy.parse(f"{lines}group q 2 X1 X2 X3\nquorum q\n".encode())

    def note(**times: int) -> Note:
        signed = (witnesses[name].cosignature(TEXT, time) for name, time in times.items())
        return Note.parse(f"{TEXT}\n{''.join(signed)}")

    assert policy.cosigned_at(note(X1=10, X2=30, X3=20)) == 20
    assert policy.cosigned_at(note(X1=10, X2=30, Y1=40)) == 10
    assert policy.cosigned_at(note(X1=10, Y1=40)) is None
    assert policy.times(note(X1=10, Y1=40)) == {"X1": 10, "Y1": 40}
    assert policy.is_satisfied_by(note(X1=10, X3=10))


@pytest.mark.parametrize(
    ("url", "prefix"),
    [
        ("https://w.example/a/b/", "https://w.example/a/b"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:8000/w", "http://[::1]:8000/w"),
    ],
)
def test_a_url_is_a_prefix(witnesses: dict[str, Witness], url: str, prefix: str) -> None:
    policy = Policy.parse(f"witness w {witnesses['X1'].vkey} {url}\nquorum w".encode())
    assert policy.witnesses["w"].url == prefix


@pytest.mark.parametrize(
    "url",
    [
        *(
            "ftp://w.example",
            "w.example",
            "https://",
            "https://u:p@w.example",
            "http://w.example?a",
        ),
        *(
            "http://w.example:0",
            "http://w.example:99999",
            "http://w.example/#a",
            "http://é.example",
        ),
    ],
)
def test_a_malformed_url_is_refused(witnesses: dict[str, Witness], url: str) -> None:
    with pytest.raises(ValueError, match="line 1: "):
        Policy.parse(f"witness w {witnesses['X1'].vkey} {url}\nquorum w".encode())


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("", "there is no line `quorum`"),
        ("quorum none\nquorum none", "there is a second quorum"),
        ("quorum Z", "no line before defines Z"),
        ("group g any Z\nquorum g", "no line before defines Z"),
        ("group g any g\nquorum g", "no line before defines g"),
        ("group g any none\nquorum g", "no line before defines none"),
        ("group X1 any X2\nquorum X1", "the name X1 is taken"),
        ("group none any X2\nquorum none", "the name none is taken"),
        ("group g any X1 X1\nquorum g", "X1 is in a group already"),
        ("group g any X1\ngroup h any X1\nquorum h", "X1 is in a group already"),
        ("group g 3 X1 X2\nquorum g", "a number from 1 to 2"),
        ("group g 0 X1 X2\nquorum g", "a number from 1 to 2"),
        ("group g 01 X1 X2\nquorum g", "a number from 1 to 2"),
        ("group g most X1 X2\nquorum g", "a number from 1 to 2"),
        ("group g any\nquorum none", "must be `log VKEY"),
        ("quorum", "must be `log VKEY"),
        ("quorum a b", "must be `log VKEY"),
        ("threshold 2", "must be `log VKEY"),
        ("quorum none\r", "a control character"),
        ("quorum\vnone", "a control character"),
        ("witness w nonsense\nquorum w", "is not a verifier key"),
        ("log nonsense\nquorum none", "is not"),
        (f"log {LOG.vkey}\nlog {LOG.vkey}\nquorum none", "another line has the same key"),
    ],
)
def test_a_malformed_policy_is_refused_with_its_reason(lines: str, end: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Policy.parse((lines + end).encode())


def test_the_same_key_under_another_name_is_refused(
    tmp_path: Path, lines: str, witnesses: dict[str, Witness]
) -> None:
    again = Witness(tmp_path, "witness.example/other", bytes(32))
    with pytest.raises(ValueError, match="another line has the same key"):
        Policy.parse(f"{lines}witness Z {again.vkey}\nquorum Z".encode())
    assert again.vkey != witnesses["X1"].vkey


def test_bytes_that_are_not_utf_8_are_refused() -> None:
    with pytest.raises(ValueError, match="not UTF-8"):
        Policy.parse(b"quorum none\n# \xff\n")
