"""docs/migrating.md explains every difference between the two services."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from tests.clients.cases.case import Case
from tests.clients.cases.every import CASES, INSTALLED
from tests.clients.observing import Answer, Difference, ask, differences
from tests.clients.rows import ROWS
from tests.clients.services import ROOT, Peer, Successor
from tests.clients.tokens import tokens_of

GUIDE = ROOT / "docs" / "migrating.md"
_ANCHOR = re.compile(r'^\| <a id="([a-z0-9-]+)"></a>', re.MULTILINE)


def _between(old: Peer, new: Successor, cases: Sequence[Case]) -> Iterator[Difference]:
    before, after = tokens_of(old.url, old.url), tokens_of(new.url, old.url)
    for case in cases:
        yield from differences(case.name, _last(old, case, before), _last(new, case, after))


def _last(service: Peer | Successor, case: Case, tokens: Mapping[str, str]) -> Answer:
    answers = [ask(service.url, case.request(tokens)) for _ in range(case.times)]
    return answers[-1]


def test_exactly_one_row_explains_each_difference(
    old: Peer, new: Successor, installed: Successor
) -> None:
    found = [*_between(old, new, CASES), *_between(old, installed, INSTALLED)]

    rows = {str(one): {row.anchor for row in ROWS if row.explains(one)} for one in found}
    superfluous = [row for row in ROWS if not any(row.explains(one) for one in found)]

    assert {text: anchors for text, anchors in rows.items() if len(anchors) != 1} == {}
    assert superfluous == []


def test_the_guide_has_exactly_the_rows_that_explain_differences() -> None:

    rows = _ANCHOR.findall(GUIDE.read_text())

    assert len(rows) == len(set(rows))
    assert set(rows) == {row.anchor for row in ROWS}
