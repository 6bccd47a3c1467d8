"""W3C trace context: what is a header, what is not, and what is passed on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.telemetry.propagation import Remote, new_span_id, new_trace_id, parse, traceparent

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def header(version: str = "00", trace: str = TRACE, span: str = SPAN, flags: str = "01", more: str = "") -> str:
    return f"{version}-{trace}-{span}-{flags}{more}"


def test_the_example_of_the_standard() -> None:
    assert parse(header(), "congo=t61rcWkgMzE") == Remote(int(TRACE, 16), int(SPAN, 16), 1, "congo=t61rcWkgMzE")


@pytest.mark.parametrize("flags", ["00", "01", "02", "03", "ff"])
def test_flags_are_the_callers(flags: str) -> None:
    remote = parse(header(flags=flags))
    assert remote is not None
    assert remote.flags == int(flags, 16)


@pytest.mark.parametrize("text", [header("01"), header("cc", more="-what-comes-later"), header("01", more="-")])
def test_a_later_version_is_read_as_far_as_it_is_known(text: str) -> None:
    remote = parse(text)
    assert remote is not None
    assert (remote.trace_id, remote.span_id) == (int(TRACE, 16), int(SPAN, 16))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        header("ff"),
        header("0"),
        header("000"),
        header(trace="0" * 32),
        header(span="0" * 16),
        header(trace=TRACE.upper()),
        header(trace=TRACE[:-1]),
        header(span=SPAN + "0"),
        header(flags="1"),
        header(flags="0x"),
        header(more="-00"),
        header("01", more="00"),
        header() + "\n",
        " " + header(),
        header().replace("-", "_"),
        header(trace="٠" * 32),
    ],
)
def test_what_is_no_traceparent_starts_a_new_trace(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    "state",
    [
        "",
        "a=1",
        "a=1,b=2",
        "a=1 , b=2",
        "a=1;b",
        "a=1,,b=2",
        "fw529a3039@dt=FfAG;x",
        "a/b*c-d_e=!",
        ",".join(f"k{n}=v" for n in range(32)),
    ],
)
def test_a_tracestate_is_passed_on_as_it_came(state: str) -> None:
    remote = parse(header(), state)
    assert remote is not None
    assert remote.state == state


@pytest.mark.parametrize(
    "state",
    ["a", "=1", "a=", "A=1", "a=1=2", "a=\u00fc", "a b=1", "a=" + "x" * 257, ",".join(f"k{n}=v" for n in range(33))],
)
def test_a_bad_tracestate_is_let_go_and_the_trace_goes_on(state: str) -> None:
    remote = parse(header(), state)
    assert remote is not None
    assert remote.state == ""


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_header_raises(text: str, state: str) -> None:
    parse(text, state)
    parse(header(), state)


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 255))
def test_what_is_written_is_read_back(trace_id: int, span_id: int, flags: int) -> None:
    assert parse(traceparent(trace_id, span_id, flags)) == Remote(trace_id, span_id, flags, "")


def test_new_ids_fit_are_never_zero_and_differ() -> None:
    traces, spans = {new_trace_id() for _ in range(1000)}, {new_span_id() for _ in range(1000)}
    assert len(traces) == len(spans) == 1000
    assert all(0 < one < 2**128 for one in traces)
    assert all(0 < one < 2**64 for one in spans)
