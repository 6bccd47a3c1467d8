"""The whole command, as a user runs it: its own processes, real models, a real processor."""

import asyncio
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.otlp import OtlpSink

UP = "Sending prompts"
CHILDREN = 3


@contextmanager
def demo(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "shadowmesh", "demo", *arguments]
    settings = {"COLUMNS": "80", "NO_COLOR": "1", "GRPC_VERBOSITY": "ERROR"}
    # Killed outright, the demo cannot remove its files.
    with (
        tempfile.TemporaryDirectory() as scratch,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | settings | {"TMPDIR": scratch},
        ) as running,
    ):
        try:
            yield running
        finally:
            running.kill()


def until(running: subprocess.Popen[str], text: str) -> str:
    """Return what the demo prints up to the line with this text."""
    assert running.stdout is not None
    printed = ""
    for line in running.stdout:
        printed += line
        if text in line:
            return printed
    raise AssertionError(f"the demo ended before it said {text!r}: {printed}")


def children(parent: int) -> list[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], check=True, capture_output=True, text=True)
    pairs = (line.split() for line in listed.stdout.splitlines())
    # ps itself is a child of this process, never of the demo.
    return [int(pid) for pid, ppid in pairs if int(ppid) == parent]


def test_real_calls_are_mirrored_paired_compared_and_seen(tmp_path: Path) -> None:
    written = tmp_path / "demo.json"
    with demo("--seconds", "3", "--json", str(written)) as running:
        printed = until(running, UP)
        started = children(running.pid)
        assert len(started) == CHILDREN
        rest, errors = running.communicate(timeout=60)
        assert (running.returncode, errors) == (0, "")
    for pid in started:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    printed += rest
    assert max(map(len, printed.splitlines())) <= 80
    assert "\x1b" not in printed
    for said in ("adds up:", "unary (", "streaming (", "first chunk", "shadowmesh.compare", "(link: live)"):
        assert said in printed
    assert "unknown" not in printed
    assert "◆" in printed
    # Three seconds are not enough even for its small limits, and the file is the one that the servers had.
    _, _, judged = printed.partition("May it go live?\n\n")
    assert judged.startswith("trigram of demo: NOT YET  ")
    assert "other config" not in judged
    assert "These limits are small" in judged
    assert re.search(r"^\S+/report\.html: [\d,]+ bytes$|shadowmesh\[report\]", judged, re.MULTILINE)

    told = json.loads(written.read_text(encoding="utf-8"))
    assert (told["verdict"]["schema"], told["verdict"]["answer"]) == ("shadowmesh.verdict/1", "NOT_YET")
    assert told["verdict"]["verdicts"][0]["pairs"] == told["funnel"]["pairs_expected"]
    calls = sum(count for statuses in told["client"].values() for count in statuses.values())
    funnel = told["funnel"]
    assert told["adds_up"] is True
    assert calls == funnel["eligible"] == sum(funnel["decisions"].values()) > 5
    assert funnel["pairs_expected"] == sum(funnel["outcomes"].values())
    assert funnel["outcomes"]["matched"] > 0
    assert set(told["client"]) == {"Generate", "StreamGenerate"}
    assert sum(group["pairs"] for group in told["groups"]) == funnel["outcomes"]["matched"]
    for group in told["groups"]:
        assert group["pairs"] > 0
        assert all(row["live"] and row["shadow"] for row in group["metrics"])
        assert group["cost_per_1000_calls"]["ratio"] > 0

    inbound, live, shadow, compared = told["trace"]["spans"]
    assert live["parent_span_id"] == shadow["parent_span_id"] == inbound["span_id"]
    assert shadow["linked_span_ids"] == [live["span_id"]]
    difference = shadow["duration_s"] - live["duration_s"]
    stall = live["attributes"].get("shadowmesh.stream.write_stall", 0.0)
    assert compared["attributes"]["shadowmesh.pair.duration.delta"] == pytest.approx(difference + stall, abs=1e-6)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux can wait for a process of others")
@pytest.mark.parametrize("taken", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_stays_behind_when_the_demo_is_taken_down(taken: signal.Signals) -> None:
    with demo("--seconds", "60") as running:
        until(running, UP)
        watched = [os.pidfd_open(pid) for pid in children(running.pid)]
        assert len(watched) == CHILDREN
        running.send_signal(taken)
        _, errors = running.communicate(timeout=60)
        assert running.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[taken]
        assert errors == ""
    for descriptor in watched:
        # Readable once the process has ended.
        assert select.select([descriptor], [], [], 30)[0]
        os.close(descriptor)


def test_a_process_that_dies_on_the_way_is_told_in_one_line() -> None:
    with demo("--seconds", "60") as running:
        until(running, UP)
        os.kill(max(children(running.pid)), signal.SIGKILL)
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 69
    assert errors == "shadowmesh: the live model ended early with code -9: it left no message\n"


def test_keep_stays_up_until_it_is_interrupted() -> None:
    with demo("--seconds", "1", "--keep") as running:
        printed = until(running, "shadowmesh.cli.demo.traffic --address")
        assert "adds up:" in printed
        assert "-m shadowmesh gate --config " in until(running, "--store sqlite:///")
        started = children(running.pid)
        assert len(started) == CHILDREN
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)
        assert (running.returncode, errors) == (0, "")
    for pid in started:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_otlp_sends_everything_to_a_collector_too(tmp_path: Path) -> None:
    async with OtlpSink() as collector:
        command = ("-m", "shadowmesh", "demo", "--seconds", "1", "--otlp", f"127.0.0.1:{collector.port}")
        running = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdout=asyncio.subprocess.PIPE, cwd=tmp_path
        )
        printed, _ = await asyncio.wait_for(running.communicate(), 60)
        assert running.returncode == 0, printed
    roles = [
        attribute.value.string_value
        for span in collector.spans()
        for attribute in span.attributes
        if attribute.key == "shadowmesh.role"
    ]
    assert roles.count("live") == roles.count("shadow") > 0
    assert "shadowmesh.compare" in {span.name for span in collector.spans()}
    assert {"shadowmesh.mirror.requests", "shadowmesh.pairs", "shadowmesh.call.cost"} <= collector.metrics().keys()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--seconds", "0"), 64, "--seconds"),
        (("--json", "no/such/directory/file"), 64, "--json"),
        (("--otlp", "http://127.0.0.1:1"), 69, "nothing listens at --otlp http://127.0.0.1:1: Connect call failed"),
        (("--otlp", "http://:nonsense"), 69, "--otlp"),
    ],
)
def test_what_cannot_be_is_told_in_one_line_before_anything_starts(
    arguments: tuple[str, ...], code: int, said: str
) -> None:
    with demo(*arguments) as running:
        printed, errors = running.communicate(timeout=60)
    assert running.returncode == code
    assert said in errors
    assert errors.count("\n") == 1
    assert printed == ""
