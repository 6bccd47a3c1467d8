"""Text of the wire as it is shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.report.wire_text import many_lines, one_line


@given(st.text())
def test_a_line_is_one_and_holds_only_what_can_be_printed(text: str) -> None:
    assert one_line(text).isprintable()
    assert len(one_line(text)) <= 160


@given(st.text())
def test_lines_stay_lines_and_nothing_else_moves_anything(text: str) -> None:
    shown = many_lines(text)
    assert len(shown) == len(text)
    assert shown.replace("\n", "").replace("\t", "").isprintable()


def test_printable_text_is_itself() -> None:
    assert one_line("/chat.Chat/Complete – χ 你好") == "/chat.Chat/Complete – χ 你好"
    assert many_lines("a\n\tb") == "a\n\tb"
