"""Tables of the command line: nothing is cut but the first column, whatever the terminal's width."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsockets.cli.table import column_groups, fitted, plain_table, print_table

WORDS = st.text(alphabet="abc", min_size=1, max_size=12)


@given(
    st.integers(1, 8).flatmap(lambda n: st.lists(st.lists(WORDS, min_size=n, max_size=n), min_size=1)),
    st.data(),
)
def test_every_column_is_printed_once_beside_the_first(table: list[list[str]], data: st.DataObject) -> None:
    columns, *rows = table
    width = data.draw(st.integers(30, 120))
    groups = column_groups(columns, rows, width)
    assert [index for group in groups for index in group] == list(range(1, len(columns)))
    for group in groups:
        heads = [columns[index] for index in [0, *group]]
        cells = fitted([[row[index] for index in [0, *group]] for row in rows], heads, width, wrap=False)
        assert [row[1:] for row in cells] == [[row[index] for index in group] for row in rows]
        assert max(map(len, plain_table(heads, cells))) <= width


def test_the_first_column_gives_way() -> None:
    rows = [["x" * 90, "complete", "1 B"]]
    (group,) = column_groups(["address", "outcome", "sent"], rows, 78)
    assert group == range(1, 3)
    (row,) = fitted(rows, ["address", "outcome", "sent"], 78, wrap=False)
    assert len(row[0]) == 78 - len("  complete  sent")
    assert "…" in row[0]


def test_the_last_column_is_broken_into_lines() -> None:
    rows = fitted([["name", "one two three four five"]], ["name", "notes"], 22, wrap=True)
    assert plain_table(["name", "notes"], rows) == [
        "name  notes",
        "----  -------------",
        "name  one two three",
        "      four five",
    ]


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colours_where_they_are_wanted(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    coloured: bool,
) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    print_table(["address", "outcome"], [["x" * 200, "complete"]], tones=["good"])
    shown = capsys.readouterr().out
    assert ("\x1b[32m" in shown) is coloured
    assert "x" * 200 in shown
