"""Pairs as files: what is in them, in which shape, and how much of them is in memory."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.legs import T0, lasting, live, shadow, usage
from support.stored_pairs import ended, live_only, matched, records
from support.stored_texts import compared, said_by

from shadowmesh.compare.texts import TextComparison
from shadowmesh.model import ChunkGaps, Cost
from shadowmesh.store.document import CONTENT, PAIR, Key
from shadowmesh.store.export import JsonLines, export, rfc3339
from shadowmesh.store.parquet import ParquetFile
from shadowmesh.store.reader import PairFilter
from shadowmesh.store.records import Content, StoredPair
from shadowmesh.store.settings import StoreSettings
from shadowmesh.store.store import Store
from shadowmesh.store.texts import TextsKey

parquet = pytest.importorskip("pyarrow.parquet")

TRACE = 0xA1
FULL = ended(
    live(
        "p1",
        **lasting(0.25),
        trace_id=TRACE,
        streaming=True,
        time_to_first_chunk=0.1,
        chunk_gaps=ChunkGaps(p50=0.01, p95=0.02, max=0.03),
        write_stall=0.05,
        fields=usage(10, 40, request_model="llama-3", finish_reasons=("stop",), temperature=0.5),
        cost=Cost(amount=0.5, currency="USD", source="provider"),
    ),
    shadow("p1", **lasting(0.5), trace_id=TRACE, status="INTERNAL", experiment_version="7"),
)


def lines(store: Store, wanted: PairFilter | None = None, *, with_content: bool = False) -> list[dict[str, Any]]:
    sink = io.BytesIO()
    count = export(store.reader, wanted or PairFilter(), JsonLines(sink), with_content=with_content)
    found = [json.loads(line, parse_constant=pytest.fail) for line in sink.getvalue().splitlines()]
    assert len(found) == count
    return found


def table(store: Store, *, with_content: bool = False) -> Any:
    sink = io.BytesIO()
    export(store.reader, PairFilter(), ParquetFile(sink, with_content=with_content), with_content=with_content)
    return parquet.read_table(io.BytesIO(sink.getvalue()))


def names(keys: tuple[Key, ...]) -> dict[str, Any]:
    """Return the names of keys as a document has them, all the way down."""
    return {name: None if isinstance(of, str) else names(of) for name, of in keys}


def shape(document: Any, expected: dict[str, Any] | None) -> Any:
    """Return the names in a document, taking for granted what is below a null."""
    if expected is None or document is None:
        return expected
    return {name: shape(value, expected.get(name)) for name, value in document.items()}


def test_a_document_says_what_the_pair_said_and_null_where_nobody_knows(store: Store) -> None:
    store.add([FULL], now_ns=T0 + 1_500_000_000)
    (said,) = lines(store)
    assert shape(said, names(PAIR)) == names(PAIR)
    assert (said["schema"], said["outcome"], said["target_kind"]) == ("shadowmesh.pair/1", "matched", "candidate")
    assert (said["dispatched_at"], said["stored_at"]) == (
        "2023-11-14T22:13:20.000000000Z",
        "2023-11-14T22:13:21.500000000Z",
    )
    assert said["matches"] == {"status_code": False, "finish_reason": None, "output_exact": None}
    assert said["changes"] == dict.fromkeys(said["changes"])
    assert (said["live"]["trace_id"], said["live"]["span_id"]) == (f"{TRACE:032x}", f"{1:016x}")
    assert said["live"]["duration"] == pytest.approx(0.2)
    assert said["live"]["chunk_gaps"] == {"p50": 0.01, "p95": 0.02, "max": 0.03}
    assert said["live"]["cost"] == {"amount": 0.5, "currency": "USD", "source": "provider", "pricing_version": None}
    assert (said["live"]["temperature"], said["live"]["finish_reasons"]) == (0.5, ["stop"])
    assert (said["live"]["status"], said["live"]["error_type"]) == ("OK", None)
    assert (said["shadow"]["status"], said["shadow"]["error_type"]) == ("INTERNAL", "INTERNAL")
    assert (said["shadow"]["cost"], said["shadow"]["finish_reasons"], said["shadow"]["seed"]) == (None, None, None)


def test_a_leg_that_never_came_is_null_and_changes_are_shadow_less_live(store: Store) -> None:
    store.add([live_only("a"), matched("b", cost=Cost(amount=2.0, currency="EUR", source="local"))], now_ns=T0)
    half, whole = lines(store)
    assert (half["outcome"], half["shadow"], half["target_kind"]) == ("live_only", None, None)
    assert (whole["changes"]["cost"], whole["currency"]) == ({"delta": 0.0, "ratio": 1.0}, "EUR")


@settings(max_examples=25)
@given(data=st.data())
def test_every_pair_has_every_key_in_both_kinds_of_file(data: st.DataObject) -> None:
    sinks = io.BytesIO(), io.BytesIO()
    batch = [data.draw(records(f"p{n}")) for n in range(3)]
    files = JsonLines(sinks[0]), ParquetFile(sinks[1], with_content=False)
    for file in files:
        stored = [StoredPair(n, n, T0, T0, record) for n, record in enumerate(batch)]
        export(_Pages([stored]), PairFilter(), file, with_content=False)  # type: ignore[arg-type] # reads no store
    said = [json.loads(line, parse_constant=pytest.fail) for line in sinks[0].getvalue().splitlines()]
    assert [shape(document, names(PAIR)) for document in said] == [names(PAIR)] * 3
    rows = parquet.read_table(io.BytesIO(sinks[1].getvalue())).to_pylist()
    for document, row in zip(said, rows, strict=True):
        for timed in (document, row):
            del timed["dispatched_at"], timed["stored_at"]
            for role in ("live", "shadow"):
                (timed[role] or {}).pop("started_at", None)
        row["guards"] = row["guards"] and json.loads(row["guards"])
        assert row == document


class _Pages:
    def __init__(self, pages: list[list[StoredPair]]) -> None:
        self._pages = pages

    def pages(self, _: PairFilter) -> list[list[StoredPair]]:
        return self._pages

    def texts(self, page: list[StoredPair]) -> dict[TextsKey, TextComparison]:
        shown = TextComparison(0.5, 3, 0.25, equal=False, guards={"json": (False, True), "numbers": (None, True)})
        return {("summaries", stored.record.pair.pair_id, "candidate"): shown for stored in page[:1]}


def test_what_captured_texts_showed_is_said_of_their_pair(store: Store, url: str) -> None:
    store.add([matched("a"), matched("b")], now_ns=T0)
    store.add_content([*said_by("a", "Take 5 mg.", "Take 50 mg."), *said_by("b", "yes", "yes")], now_ns=T0)
    assert compared(url) == ["a", "b"]
    one, other = lines(store)
    assert (one["similarity"], one["divergence"]) == (0.75, {"at": 6, "share": 0.6})
    assert (one["matches"]["output_exact"], other["matches"]["output_exact"]) == (False, True)
    assert one["guards"]["numbers"] == {"live": None, "shadow": True}
    assert one["guards"]["refusal"] == {"live": False, "shadow": False}
    assert (other["similarity"], other["divergence"]) == (1.0, None)
    row = table(store).to_pylist()[0]
    assert (row["similarity"], json.loads(row["guards"])) == (one["similarity"], one["guards"])


def test_captured_text_is_there_when_it_is_asked_for_and_only_then(store: Store) -> None:
    store.add([matched("a"), matched("b")], now_ns=T0)
    said = '[{"role":"user","parts":[{"type":"text","content":"¿Qué?"}]}]'
    store.add_content(
        [
            Content(experiment="summaries", pair_id="a", role="live", input=said, output="no JSON"),
            Content(experiment="summaries", pair_id="a", role="shadow", target="candidate", truncated=("output",)),
            Content(experiment="summaries", pair_id="a", role="shadow", target="other", output="[1]"),
        ],
        now_ns=T0,
    )
    assert all("content" not in document for document in lines(store))
    first, second = lines(store, with_content=True)
    assert shape(first, names((*PAIR, CONTENT))) == names((*PAIR, CONTENT))
    assert first["content"] == {
        "live": {"instructions": None, "input": json.loads(said), "output": "no JSON", "truncated": []},
        "shadow": {"instructions": None, "input": None, "output": None, "truncated": ["output"]},
    }
    assert second["content"] == {"live": None, "shadow": None}
    rows = table(store, with_content=True).to_pylist()
    assert rows[0]["content"]["live"]["input"] == said
    assert "content" not in table(store).column_names


def test_parquet_has_types_and_says_which_shape_it_is(store: Store) -> None:
    store.add([FULL, live_only("a")], now_ns=T0)
    found = table(store)
    assert found.schema.metadata[b"shadowmesh.schema"] == b"shadowmesh.pair/1"
    types = {name: str(found.schema.field(name).type) for name in ("dispatched_at", "outcome", "exchange_index")}
    assert types == {"dispatched_at": "timestamp[ns, tz=UTC]", "outcome": "string", "exchange_index": "int64"}
    assert found.column("dispatched_at")[0].value == T0
    assert found.column("live").combine_chunks().field("started_at")[0].value == T0


def test_no_pair_is_an_empty_file_of_the_right_shape(store: Store) -> None:
    assert lines(store) == []
    found = table(store)
    assert (found.num_rows, found.column_names) == (0, [name for name, _ in PAIR])


def test_only_what_passes_is_written(store: Store) -> None:
    store.add([matched("a"), live_only("b")], now_ns=T0)
    assert [said["pair_id"] for said in lines(store, PairFilter(outcome="live_only"))] == ["b"]


def test_a_number_that_is_none_is_unknown() -> None:
    sink = io.BytesIO()
    JsonLines(sink).write([{"ratio": float("inf"), "delta": 1.5}])
    assert sink.getvalue() == b'{"ratio":null,"delta":1.5}\n'


class _Nowhere(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return len(data)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_three_times_as_much_takes_no_more_memory(tmp_path: Path, kind: str) -> None:
    wanted = StoreSettings.model_validate({"url": f"sqlite:///{tmp_path}/pairs.db"})

    def peak() -> int:
        sink = io.BufferedWriter(_Nowhere())
        file = JsonLines(sink) if kind == "jsonl" else ParquetFile(sink, with_content=False)
        tracemalloc.start()
        export(store.reader, PairFilter(), file, with_content=False)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    with Store.open(wanted, name="one", instance="i", now_ns=T0) as store:
        store.add([matched(f"a{n}") for n in range(1500)], now_ns=T0)
        few = peak()
        store.add([matched(f"b{n}") for n in range(3000)], now_ns=T0)
        assert peak() < few * 1.5


def test_a_time_keeps_its_nanoseconds() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00.000000000Z"
    assert rfc3339(2**63 - 1) == "2262-04-11T23:47:16.854775807Z"
