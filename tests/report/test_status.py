"""The status of a process as a person reads it."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from shadowmesh.report.status import status
from shadowmesh.telemetry.status_shape import JournalTroubles, read

HEADER = {
    "schema": "shadowmesh.status/1",
    "version": "0.1.0",
    "pid": 4711,
    "service_name": "acme-model",
    "instance_id": "1d5a0c2e-6f3b-4b43-9d33-0c8f2c1f7a10",
    "at": "2026-01-02T10:00:10Z",
    "started_at": "2026-01-02T07:57:10Z",
    "uptime": 7380.5,
    "errors": [{"cause": "export: queue full", "count": 12, "last_at": "2026-01-02T10:00:07Z"}],
    "errors_left_out": 0,
}
FUNNEL = {
    "eligible": 1_234_567,
    "mirrored": 1_000_000,
    "not_sampled": 234_557,
    "dropped": 10,
    "disabled": 0,
    "drop_reasons": {"queue_full": 1, "concurrency_limit": 9},
    "adds_up": True,
}
TARGET = {
    "name": "candidate",
    "kind": "candidate",
    "address": "127.0.0.1:50052",
    "rate": 0.1,
    "admits": True,
    "shed_reason": None,
    "in_flight": {"used": 3, "cap": 64},
    "funnel": FUNNEL,
    "lost": {"worker": 2},
}
INTERCEPTOR: dict[str, Any] = HEADER | {
    "kind": "interceptor",
    "accepting": True,
    "experiments": [{"name": "new-model", "targets": [TARGET]}],
    "buffers": {
        "queue": {"used": 7, "cap": 4096},
        "captured_bytes": {"used": 49152, "cap": 67108864},
        "pairs": {"waiting": {"used": 2, "cap": 4096}, "exported": 1_000_008, "dropped": 1, "failed": 0},
    },
    "carrier": {"kind": "process", "running": True, "workers": {"used": 1, "cap": 2}, "restarts": 1, "unconfirmed": 3},
    "harm_guard": None,
}
PAIRED = {
    "name": "candidate",
    "funnel": FUNNEL,
    "sent": 150,
    "waiting": 3,
    "outcomes": {"matched": 140, "live_only": 5},
    "missing": 2,
    "adds_up": False,
}
PROCESSOR = HEADER | {
    "kind": "processor",
    "listen": "127.0.0.1:24317",
    "requests": {"accepted": 12, "invalid": 1, "failed": 0, "overloaded": 3, "refused": 2},
    "spans": {"accepted": 300, "ignored": 60, "duplicate": 0, "late": 0, "rejected": 1},
    "waiting": {"used": 3, "cap": 100_000},
    "experiments": [{"name": "new-model", "targets": [PAIRED]}],
    "targets_left_out": 0,
    "exports": [
        {
            "endpoint": "http://127.0.0.1:4317",
            "queues": [
                {"name": "spans", "items": {"used": 1, "cap": 8192}, "bytes": {"used": 4096, "cap": 67108864},
                 "sent": 140, "lost": 2, "dropped": 0},
            ],
        }
    ],
}  # fmt: skip


def text_of(answer: dict[str, Any], *, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False, highlight=False)
    console.print(status(read(answer)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def words(text: str) -> str:
    return " ".join(text.split())


def test_an_interceptor_says_who_it_is_and_everything_it_holds() -> None:
    text = words(text_of(INTERCEPTOR))
    for part in (
        "interceptor acme-model: ShadowMesh 0.1.0, pid 4711, up 2 h 3 min",
        "instance 1d5a0c2e-6f3b-4b43-9d33-0c8f2c1f7a10",
        "experiment new-model candidate: candidate at 127.0.0.1:50052, 10 % of calls",
        "admits, 3 of 64 in flight",
        "adds up: 1,234,567 eligible = 1,000,000 mirrored + 234,557 not sampled + 10 dropped",
        "dropped: 9 concurrency limit, 1 queue full",
        "legs lost: 2 worker",
        "frames for the engine 7 4,096",
        "captured messages 48 KiB 64 MiB",
        "span pairs 2 4,096 1,000,008 exported, 1 dropped, 0 failed",
        "carrier process, running, 1 of 2 workers up, restarted 1 ×, 3 calls unconfirmed",
        "harm guard none",
        "12 × 2026-01-02 10:00:07Z, 3 s ago export: queue full",
    ):
        assert part in text
    assert "mirrors nothing" not in text


def test_what_was_captured_to_files_is_said_and_what_was_not() -> None:
    assert "captured" not in words(text_of(INTERCEPTOR)).split("harm guard")[1]
    captured: dict[str, Any] = {
        "accepting": True, "written": 1200, "incomplete": 0, "failed": 0, "shed": {},
        "queue": {"used": 0, "cap": 4096}, "bytes": {"used": 0, "cap": 67108864},
    }  # fmt: skip
    assert "captured 1,200 calls written whole" in words(text_of(INTERCEPTOR | {"captured": captured}))
    captured |= {"accepting": False, "incomplete": 3, "failed": 2, "shed": {"queue_full": 9}}
    captured |= {"queue": {"used": 7, "cap": 4096}, "bytes": {"used": 49152, "cap": 67108864}}
    said = "1,200 calls written whole, 3 incomplete, 2 failed at the disk, shed: 9 queue full"
    assert f"{said}, 7 frames, 48 KiB wait for the disk; ended" in words(text_of(INTERCEPTOR | {"captured": captured}))


def test_what_is_wrong_with_an_interceptor_is_said() -> None:
    target = TARGET | {"admits": False, "shed_reason": "circuit_open"}
    target["funnel"] = FUNNEL | {"eligible": 9, "disabled": 4, "adds_up": False}
    text = words(
        text_of(INTERCEPTOR | {"accepting": False, "experiments": [{"name": "new-model", "targets": [target]}]})
    )
    assert "mirrors nothing" in text
    assert "sheds everything: circuit open" in text
    assert "does not add up: 9 eligible" in text
    assert "4 disabled" in text


def test_what_is_unknown_is_not_drawn_as_zero() -> None:
    buffers = INTERCEPTOR["buffers"] | {"pairs": None}
    errors = [{"cause": "engine: x", "count": 1, "last_at": None}]
    text = words(
        text_of(
            INTERCEPTOR
            | {
                "instance_id": None,
                "service_name": None,
                "buffers": buffers,
                "carrier": {"kind": None, "running": False},
                "errors": errors,
                "errors_left_out": 3,
            }
        )
    )
    assert "interceptor: ShadowMesh" in text
    assert "instance not started yet" in text
    assert "span pairs – – no exporter here" in text
    assert "carrier none yet" in text
    assert "1 × unknown engine: x" in text
    assert "and 3 more causes" in text


def test_a_harm_guard_says_what_it_has_seen_in_words() -> None:
    latency = {
        "name": "latency", "share_on": 0.1021, "share_off": None, "log_evidence": 0.41, "threshold": 7.6, "blocks": 3,
    }  # fmt: skip
    report = {
        "harm": "", "slots_on": 19, "slots_off": 1, "calls_on": 1900, "calls_off": 0, "limit": 0.12,
        "figures": [latency],
    }  # fmt: skip
    text = words(text_of(INTERCEPTOR | {"harm_guard": report}))
    assert "harm guard no harm seen on 1,900 calls in 19 slots, off 0 calls in 1 slots" in text
    assert "over 120.0 ms: on 10.2 %, off unknown, evidence 0.41 of 7.6" in text
    stopped = words(text_of(INTERCEPTOR | {"harm_guard": report | {"harm": "latency", "figures": []}}))
    assert "harm guard harm by latency, mirroring has stopped" in stopped
    begun = words(text_of(INTERCEPTOR | {"harm_guard": report | {"slots_on": 0, "slots_off": 0}}))
    assert "harm guard nothing judged yet" in begun


def test_a_processor_says_what_came_in_what_became_of_it_and_where_it_went() -> None:
    text = words(text_of(PROCESSOR))
    for part in (
        "processor acme-model: ShadowMesh 0.1.0",
        "listens on 127.0.0.1:24317",
        "requests 12 accepted, 1 invalid, 0 failed, 0 set aside, 3 told to come again, 2 refused",
        "spans 361 received: 300 accepted, 0 duplicate, 60 ignored, 0 late, 1 rejected",
        "waiting 3 of 100,000 legs",
        "2 missing (under way, or lost): 150 pairs sent = 145 ended + 3 waiting + 2 missing",
        "ended: 5 live only, 140 matched",
        "interceptors: adds up: 1,234,567 eligible",
        "http://127.0.0.1:4317 spans: 1 of 8,192 waiting, 140 sent, 2 lost, 0 dropped",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sent": 148, "missing": 0, "adds_up": True}, "adds up: 148 pairs sent = 145 ended + 3 waiting"),
        ({"sent": 0, "missing": -148}, "148 ahead of what interceptors have counted yet: 0 pairs sent = 145 ended"),
    ],
)
def test_the_pairs_of_a_processor_add_up_or_say_by_how_much_not(changes: dict[str, Any], says: str) -> None:
    experiments = [{"name": "new-model", "targets": [PAIRED | changes]}]
    assert says in words(text_of(PROCESSOR | {"experiments": experiments, "targets_left_out": 4}))


def test_no_errors_are_said_to_be_none() -> None:
    assert text_of(PROCESSOR | {"errors": []}).endswith("no errors\n")


@pytest.mark.parametrize("answer", [INTERCEPTOR, PROCESSOR], ids=["interceptor", "processor"])
def test_it_fits_80_columns_uncut_and_without_colour(answer: dict[str, Any]) -> None:
    text = text_of(answer)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert "\x1b" not in text


def test_a_name_that_would_drive_the_terminal_does_not() -> None:
    target = PAIRED | {"name": "\x1b[2Jgone\r\n", "outcomes": {"\x1b]0;title\x07": 1}}
    text = text_of(PROCESSOR | {"experiments": [{"name": "\x9b31m", "targets": [target]}]})
    assert not {"\x1b", "\x9b", "\x07", "\r"} & set(text)
    assert "[2Jgone" in text


def test_what_is_left_and_what_the_self_check_found_is_shown_beside_the_target() -> None:
    limits = [
        {"name": "per_day", "currency": "USD", "limit": 20.0, "left": 5.5},
        {"name": "tokens", "currency": None, "limit": 1_000_000.0, "left": 250_000.0},
    ]
    found = TARGET | {"limits": limits, "misfits": {"never_fires": "none of 100 eligible calls was mirrored"}}
    text = text_of(INTERCEPTOR | {"experiments": [{"name": "new-model", "targets": [found]}]})
    assert "left: $5.50 of $20.00 per day, 250,000 of 1,000,000 tokens" in text
    assert "never fires: none of 100 eligible calls was mirrored" in text


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"top_share": 0.3141, "missing": 1200}, "most frequent one 31.4 % of calls, 1,200 calls without a key"),
        ({"top_share": None, "missing": 0}, "most frequent one unknown, 0 calls without a key"),
    ],
)
def test_how_sampling_keys_come_is_shown_where_there_are_any(keys: dict[str, Any], said: str) -> None:
    experiment = {"name": "new-model", "targets": [TARGET]}
    assert said in text_of(INTERCEPTOR | {"experiments": [experiment | {"sampling_keys": keys}]})
    assert "sampled by key" not in text_of(INTERCEPTOR | {"experiments": [experiment]})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "shadowmesh.yaml, watched, changed 2 ×"),
        ({"watched": False}, "shadowmesh.yaml, not watched, changed 2 ×"),
        ({"refused": 1, "problem": "miror: unknown key"}, "refused 1 ×; what is there now is not in force: miror"),
    ],
)
def test_the_configuration_file_says_what_became_of_its_changes(changes: dict[str, Any], said: str) -> None:
    file = {"path": "shadowmesh.yaml", "watched": True, "applied": 2, "refused": 0, "problem": None}
    assert said in words(text_of(INTERCEPTOR | {"config_file": file | changes}))


def test_texts_that_came_too_late_are_said_where_there_were_any() -> None:
    storage = {"journal": {"used": 1, "cap": 2}, "store": "sqlite:///pairs.db", "waiting": 0, "refused": 0}
    known = PROCESSOR | {"storage": storage | {"failing": False}}
    assert "too late" not in words(text_of(known))
    known = PROCESSOR | {"storage": storage | {"failing": False, "late_texts": 12}}
    assert "0 waiting, 12 texts too late to be compared" in words(text_of(known))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "1 B of 2 B store"),
        ({"full": 1200}, "1 B of 2 B, 1,200 requests refused: full"),
        (
            {"busy": 3, "failing": 4},
            "1 B of 2 B, 3 requests refused: its disk is behind, 4 requests refused: its disk fails",
        ),
        ({"unsynced": 2}, "2 syncs failed after requests were acknowledged"),
        ({"damaged": 1, "damaged_bytes": 2048}, "1 × damaged, 2 KiB lost"),
    ],
)
def test_what_went_wrong_in_the_journal_is_said(changes: dict[str, int], said: str) -> None:
    nothing = dict.fromkeys(JournalTroubles.model_fields, 0)
    storage = {"journal": {"used": 1, "cap": 2}, "store": "sqlite:///pairs.db", "waiting": 0, "refused": 0}
    storage |= {"failing": False, "journal_troubles": nothing | changes}
    assert said in words(text_of(PROCESSOR | {"storage": storage}))
