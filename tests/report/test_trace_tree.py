import pytest
from rich.cells import cell_len

from shadowmesh.names import Role
from shadowmesh.report import trace_tree
from shadowmesh.report.records import TraceSpan

MS = 1_000_000


def exchange(*, shadow_ms: int = 240) -> TraceSpan:
    comparison = TraceSpan(
        name="shadowmesh.compare",
        role="",
        started_ns=shadow_ms * MS,
        ended_ns=shadow_ms * MS,
        facts=("matched",),
    )
    return TraceSpan(
        name="Inference/StreamGenerate",
        role="",
        started_ns=0,
        ended_ns=120 * MS,
        children=(
            TraceSpan(name="live", role=Role.LIVE, started_ns=0, ended_ns=120 * MS, facts=("OK",)),
            TraceSpan(
                name="shadow",
                role=Role.SHADOW,
                started_ns=0,
                ended_ns=shadow_ms * MS,
                facts=("OK · stop",),
                children=(comparison,),
            ),
        ),
    )


def test_the_tree_shows_what_hangs_where() -> None:
    lines = [line.rstrip() for line in trace_tree.draw(exchange(), width=80).plain.splitlines()]
    assert [line.split("━")[0].split("◆")[0].rstrip() for line in lines] == [
        "Inference/StreamGenerate",
        "├─ live",
        "│    OK",
        "└─ shadow",
        "   │ OK · stop",
        "   └─ shadowmesh.compare",
        "        matched",
    ]


def test_bars_share_one_axis() -> None:
    bars = [line.count("━") for line in trace_tree.draw(exchange(), width=80).plain.splitlines()]
    inbound, live, _, shadow, *_ = bars
    assert inbound == live
    assert shadow == pytest.approx(2 * live, abs=1)


def test_durations_stand_at_the_right_edge_and_an_instant_has_none() -> None:
    lines = trace_tree.draw(exchange(), width=80).plain.splitlines()
    assert lines[0].endswith("120.0 ms")
    assert lines[3].endswith("240.0 ms")
    assert lines[5].rstrip().endswith("◆")


def test_the_shortest_span_still_has_a_mark_inside_the_axis() -> None:
    late = TraceSpan(name="late", role="", started_ns=10**12 - 1, ended_ns=10**12)
    root = TraceSpan(name="root", role="", started_ns=0, ended_ns=10**12, children=(late,))
    lines = trace_tree.draw(root, width=60).plain.splitlines()
    assert lines[1].count("━") == 1
    assert len({cell_len(line) for line in lines}) == 1


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_than_asked(width: int) -> None:
    long = TraceSpan(name="x" * 200, role="", started_ns=0, ended_ns=1, facts=("y" * 200,))
    for root in (exchange(), long):
        assert max(map(cell_len, trace_tree.draw(root, width=width).plain.splitlines())) <= width


def test_an_exchange_of_no_length_can_be_drawn() -> None:
    assert "◆" in trace_tree.draw(TraceSpan(name="root", role="", started_ns=5, ended_ns=5)).plain
