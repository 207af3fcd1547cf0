"""Statistics, goals, tables and the page that are made from measurements."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import goals, page, report
from benchmarks.machine import Context, processor, rounds_within, two_cores
from benchmarks.plot import panels
from benchmarks.results import (
    Features,
    Growth,
    Http,
    Kinds,
    Measured,
    Results,
    Rounds,
    Size,
    Whole,
    keep,
    load,
    middle,
    percentile,
    place,
    ratio,
    spread,
)
from benchmarks.workload import CREATE, STATELESS_TARGET
from benchmarks.wrk import script

CONTEXT = Context("2026-01-02", {"cores": "2"}, 1, 3)


def measured(rate: float, cpu: float = 50.0) -> Measured:
    return Measured(1000, rate, 1.0, 2.0, 4.0, cpu, 1 << 20)


def rate(figures: Measured) -> float:
    return figures.rate


def http(**rungs: Rounds[Measured]) -> Results:
    return Results(http=Http(CONTEXT, figures={"read 32": dict(rungs)}))


def test_a_feature_is_compared_with_its_plain_request_on_the_same_server() -> None:
    part = Features(
        CONTEXT,
        figures={
            "read": {"eventapi": [measured(900)], "peer": [measured(90, 500.0)]},
            "read, API key": {"eventapi": [measured(800, 60.0)], "peer": [measured(80, 550.0)]},
            "a webhook": {"eventapi": [measured(700, 75.0)]},
        },
    )
    bases = {"read": "", "read, API key": "read", "a webhook": "read"}
    assert report.features(part, bases, "peer").rows == [
        ["read", "-", "900", "50", "-", "90", "500", "-"],
        ["read, API key", "read", "800", "60", "1.20", "80", "550", "1.10"],
        ["a webhook", "read", "700", "75", "1.50", "-", "-", "-"],
    ]


def test_the_figures_of_a_batch_are_those_of_one_of_its_parts() -> None:
    one = measured(10.0, 5_000.0).divided(100)
    assert (one.rate, one.cpu) == (1_000.0, 50.0)


def growth() -> Growth:
    whole = Whole(10, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 100)
    sizes = [
        Size(10, items, 100, [whole], [memory], {"read 32": [measured(900, cpu)]})
        for items, memory, cpu in ((1_000, 10_000_000, 50.0), (11_000, 18_000_000, 55.0))
    ]
    return Growth(CONTEXT, sizes=sizes)


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1.0), (0.5, 50.0), (0.99, 99.0), (0.999, 100.0), (1.0, 100.0)]
)
def test_percentile_is_a_measured_value(share: float, value: float) -> None:
    assert percentile([float(n) for n in range(100, 0, -1)], share) == value


def test_ratio_is_the_median_over_rounds_in_which_both_were_measured() -> None:
    ours = [measured(10), None, measured(400), measured(90)]
    theirs = [measured(5), measured(1), measured(100), None]
    assert ratio(ours, theirs, rate) == 3  # The median of 2 and 4.
    assert ratio([None], [measured(1)], rate) is None


def test_missing_round_is_kept_as_a_gap() -> None:
    rounds: Rounds[Measured] = []
    place(rounds, 1, measured(1))
    place(rounds, 3, measured(3))
    assert [figures and figures.rate for figures in rounds] == [1, None, 3]
    assert middle(rounds, rate) == 2
    assert spread(rounds, rate) == 1


def test_no_round_starts_after_the_time_is_over() -> None:
    assert list(rounds_within(3, minutes=1)) == [1, 2, 3]
    assert list(rounds_within(3, minutes=-1)) == []


def test_saving_one_part_keeps_the_others(tmp_path: Path) -> None:
    path = tmp_path / "performance.json"
    keep(Http(CONTEXT, figures={"read 32": {"eventapi": [measured(7), None]}}), path)
    keep(growth(), path)
    results = load(path)
    assert results.http is not None
    assert results.http.figures["read 32"]["eventapi"] == [measured(7), None]
    assert results.growth == growth()


def test_figures_of_another_format_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "performance.json"
    path.write_text('{"http": 7}')
    assert load(path) == Results()


@pytest.mark.parametrize(("ours", "code"), [(81.0, 0), (79.0, goals.MISSED)])
def test_missed_goal_is_printed_and_sets_the_exit_code(
    ours: float, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    results = http(eventapi=[measured(ours)], litestar=[measured(100)])
    assert goals.judge(results) == code
    assert ("MISSED: read one, of bare Litestar" in capsys.readouterr().err) is bool(code)


def test_goal_without_a_figure_in_a_whole_run_counts_as_missed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = http(eventapi=[None], litestar=[measured(100)])
    assert goals.judge(results) == 0
    assert goals.judge(results, whole=True) == goals.MISSED
    assert "NOT MEASURED: read one, of bare Litestar\n" in capsys.readouterr().err


def test_exit_code_of_a_missed_goal_differs_from_those_of_errors() -> None:
    """Python exits with 1 after an exception, and argparse with 2."""
    assert goals.MISSED not in {0, 1, 2}


def test_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr("shutil.which", lambda name: None if name == "wrk" else name)
    with pytest.raises(SystemExit, match="wrk is missing"):
        two_cores("wrk")


def test_goal_for_most_items_is_relative_to_fewest_items() -> None:
    rows = {row[0]: row[2:] for row in goals.table(Results(growth=growth())).rows}
    assert rows["read one, CPU at the most items"] == ["1.10", "yes"]
    assert rows["memory, bytes an item"] == ["800", "yes"]
    assert rows["replay, of msgspec alone"] == ["-", "not measured"]


def test_goal_for_creates_is_relative_to_reads_over_the_same_connections() -> None:
    figures: dict[str, dict[str, Rounds[Measured]]] = {
        "read 32": {"eventapi": [measured(100, cpu=50.0)]},
        "create 32": {"eventapi": [measured(50, cpu=100.0)]},
    }
    rows = {
        row[0]: row[2:] for row in goals.table(Results(http=Http(CONTEXT, figures=figures))).rows
    }
    assert rows["create, times the CPU of a read, connections: 32"] == ["2.00", "NO"]
    assert rows["create, times the CPU of a read, connections: 1"] == ["-", "not measured"]


def test_table_has_a_ratio_to_every_rung_measured_with_it() -> None:
    part = http(litestar=[measured(100)], eventapi=[measured(80)]).http
    assert part is not None
    (table,) = report.http(part)
    assert table.columns[:4] == ["rung", "requests/s", "spread", "x litestar"]
    assert table.rows[1][:4] == ["eventapi", "80", "-", "0.80"]
    assert "| eventapi | 80 | - | 0.80 |" in table.markdown()
    assert len({len(line) for line in table.text().splitlines()[1:]}) == 1


def test_page_names_failed_rounds_and_keeps_text_written_below_it(tmp_path: Path) -> None:
    path = tmp_path / "performance.md"
    results = http(eventapi=[measured(1)])
    assert results.http is not None
    results.http.failures.append("peer, round 2")
    page.write(results, path)
    path.write_text(path.read_text() + "\nTried and left.\n")
    page.write(results, path)
    text = path.read_text()
    assert "failed: peer, round 2." in text
    assert text.count("Tried and left.") == 1
    assert text.endswith("Tried and left.\n")


def test_plot_panel_has_a_line_for_each_number_of_users() -> None:
    part = growth()
    part.sizes.append(Size(20, 1_000, 100, memory=[None, 3 << 20]))
    few, many = panels(part)["memory of a server, MiB"]
    assert [items for items, _ in few.points] == [1_000, 11_000]
    assert (many.name, many.points) == ("memory, 20 users", [(1_000, 3.0)])
    assert [line.points for line in panels(part)["CPU of a request, µs"]] == [
        [(1_000, 50.0), (11_000, 55.0)],
        [],
    ]


def test_processor_is_named_without_its_clock_rate() -> None:
    assert processor("flags\t: x\nmodel name\t: Any CPU @ 2.60GHz\n") == "Any CPU"


def test_script_of_the_load_generator_has_every_request() -> None:
    text = script(CREATE.requests(STATELESS_TARGET), "a.token")
    assert 'wrk.format("POST", "/items", nil, "{\\"title\\"' in text
    assert 'Bearer a.token"' in text


def test_page_has_a_section_of_declared_kinds_once_they_are_measured(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    page.write(Results(), path)
    assert "declared kinds" not in path.read_text()
    kinds = Kinds(CONTEXT, sizes=growth().sizes)
    page.write(Results(kinds=kinds), path)
    assert path.read_text().count("## Growth of declared kinds") == 1
