"""What a recorded call becomes: every exchange one live leg, and one leg per target whatever became of it."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.experiments import CONVERSE, INGEST, STREAM_GENERATE, experiment, target
from support.parsing import Counted
from support.records import Seen, record, wall
from support.wire import delta, last_delta, reference, request, response

from shadowmesh.mirror.call_record import CallRecord
from shadowmesh.mirror.frames import Caller
from shadowmesh.mirror.legs import ExchangeLegs, assemble
from shadowmesh.mirror.observation import MAX_TIMES
from shadowmesh.model import ChunkGaps, Leg
from shadowmesh.names import CallEnd, Decision, DropReason
from shadowmesh.policy.plan import Admission
from shadowmesh.policy.sampling import session_bucket
from shadowmesh.protocols.rewrite import Rewrite
from shadowmesh.rpc import Arity
from shadowmesh.schema import messages

KEY = bytes(32)
UNARY = Seen([response("four", model="m")], at=[90])


def exchanges_of(call: CallRecord, key: bytes = KEY) -> list[ExchangeLegs]:
    span_ids = count(100)
    return assemble(call, new_span_id=lambda: next(span_ids), digest_key=key)


def legs_of(call: CallRecord, key: bytes = KEY) -> list[tuple[Leg, tuple[Leg, ...]]]:
    return [(exchange.live, exchange.shadows) for exchange in exchanges_of(call, key)]


def only(call: CallRecord) -> tuple[Leg, Leg]:
    """The pair of a call that is one exchange with one target."""
    ((live, (shadow,)),) = legs_of(call)
    return live, shadow


def test_a_unary_call_is_a_live_leg_and_a_shadow_leg_of_one_pair() -> None:
    live, shadow = only(record([request(model="m")], UNARY, Seen([response("4")], at=[150], start=2, end=160)))
    assert (live.role, live.target, live.expected_targets) == ("live", "", ("candidate",))
    assert (shadow.role, shadow.target, shadow.target_kind) == ("shadow", "candidate", "candidate")
    assert shadow.expected_targets == ()
    for leg in (live, shadow):
        assert leg.pair_id == f"{0xABC:032x}"
        assert (leg.experiment, leg.method) == ("summaries", "shadowmesh.v1.Inference/Generate")
        assert (leg.trace_id, leg.parent_span_id) == (1 << 100, 11)
        assert (leg.leg_count, leg.message_count, leg.attempt) == (2, 1, 1)
        assert (leg.status, leg.end, leg.complete) == ("OK", "completed", True)
        assert (leg.decision, leg.drop_reason, leg.streaming) == ("mirrored", None, False)
        assert (leg.time_to_first_chunk, leg.chunk_gaps, leg.exchange_index) == (None, None, None)
        assert leg.fields.request_model == "m"
        assert leg.output_digest is None, "a digest only where the configuration asks for one"
    assert (live.span_id, shadow.span_id) == (21, 31), "the ids that were propagated"


def test_times_are_the_wall_clock_of_the_beginning_moved_by_one_monotonic_clock() -> None:
    live, shadow = only(record([request()], UNARY, Seen([response()], at=[150], start=2, end=160)))
    assert (live.started_ns, live.ended_ns) == (wall(0), wall(100))
    assert (shadow.started_ns, shadow.ended_ns) == (wall(2), wall(160))
    assert (live.duration, shadow.duration) == (0.1, 0.158)


def test_what_each_side_measured_about_itself_is_on_its_leg() -> None:
    live, shadow = only(
        record(
            [request()],
            Seen([response()], at=[90], more={"stall_ns": 30_000_000, "concurrency": 1.5}),
            Seen([response()], at=[90], start=2, more={"queue_ns": 2_000_000, "concurrency": 3.0}),
            settings=experiment(target(deadline="7s", address="dns:///models.example:443", kind="control")),
            deadline=1.25,
            caller=Caller(attempt=3),
            admissions=(Admission("candidate", 0.25),),
        )
    )
    assert (live.write_stall, live.concurrency, live.deadline, live.queue_time) == (0.03, 1.5, 1.25, None)
    assert live.duration == pytest.approx(0.07)
    assert (shadow.write_stall, shadow.concurrency, shadow.deadline, shadow.queue_time) == (0.0, 3.0, 7.0, 0.002)
    assert (shadow.server_address, shadow.server_port, shadow.target_kind) == ("models.example", 443, "control")
    assert (live.server_address, live.attempt, shadow.attempt) == (None, 3, 3)
    assert (live.probability, shadow.probability) == (0.25, 0.25)
    assert live.config_digest == shadow.config_digest is not None
    assert (live.target_digest is None, shadow.target_digest is None) == (True, False)


def test_a_stream_has_its_first_chunk_its_gaps_and_its_count() -> None:
    deltas = [delta("a"), delta("b"), delta("c"), last_delta("d")]
    live, shadow = only(
        record(
            [request()],
            Seen(deltas, at=[10, 30, 31, 61]),
            Seen(deltas[-1:], at=[80], start=5),
            method=STREAM_GENERATE,
            arity=Arity.UNARY_STREAM,
        )
    )
    assert (live.streaming, live.message_count, live.time_to_first_chunk) == (True, 4, 0.01)
    assert live.chunk_gaps == ChunkGaps(p50=0.02, p95=0.02, max=0.03)
    assert (shadow.message_count, shadow.time_to_first_chunk, shadow.chunk_gaps) == (1, 0.075, None)
    assert (live.fields.input_tokens, live.fields.finish_reasons) == (1, ("stop",))


@given(st.lists(st.floats(0, 1000), min_size=2, max_size=200).map(sorted))
def test_gap_quantiles_are_gaps_that_occurred_in_order(moments: list[float]) -> None:
    live, _ = only(
        record(
            [request()],
            Seen([delta()] * len(moments), at=moments, end=2000),
            Seen(status="UNAVAILABLE"),
            method=STREAM_GENERATE,
            arity=Arity.UNARY_STREAM,
        )
    )
    gaps = live.chunk_gaps
    assert gaps is not None
    assert 0 <= gaps.p50 <= gaps.p95 <= gaps.max


def stalls(*moments: float, **settings: Any) -> int | None:
    seen = Seen([delta()] * len(moments), at=moments, end=99_000)
    call = record(
        [request()],
        seen,
        seen,
        method=STREAM_GENERATE,
        arity=Arity.UNARY_STREAM,
        settings=experiment(target(), **settings),
    )
    live, shadow = only(call)
    assert live.stall_count == shadow.stall_count
    return live.stall_count


def test_a_gap_longer_than_a_second_is_a_stall_unless_the_experiment_says_otherwise() -> None:
    # The wait for the first message is no gap, whatever it lasts.
    moments = (5000, 5010, 6010, 7011, 9012, 9013)
    assert stalls(*moments) == 2
    assert stalls(*moments, stall_after="2s") == 1
    assert stalls(*moments, stall_after="5ms") == 4
    assert stalls(5000) == stalls() == 0


def test_an_answer_that_is_no_stream_cannot_stall() -> None:
    live, shadow = only(record([request()], UNARY, UNARY))
    assert (live.stall_count, shadow.stall_count) == (None, None)


def test_a_stream_beyond_what_times_are_kept_for_still_counts_every_message() -> None:
    many = MAX_TIMES + 10
    seen = Seen([delta()] * many, at=range(1, many + 1), end=many + 1)
    live, _ = only(record([request()], seen, seen, method=STREAM_GENERATE, arity=Arity.UNARY_STREAM))
    assert live.message_count == many
    assert live.chunk_gaps == ChunkGaps(p50=0.001, p95=0.001, max=0.001)


@pytest.mark.parametrize(
    ("status", "how"),
    [
        ("UNAVAILABLE", CallEnd.COMPLETED),
        ("CANCELLED", CallEnd.CANCELLED),
        ("DEADLINE_EXCEEDED", CallEnd.DEADLINE),
        ("CANCELLED", CallEnd.CUT),
    ],
)
def test_a_failed_shadow_is_a_leg_with_its_status(status: str, how: CallEnd) -> None:
    live, shadow = only(record([request()], UNARY, Seen(status=status, how=how)))
    assert (shadow.status, shadow.end, shadow.complete, shadow.message_count) == (status, how, False, 0)
    assert (shadow.decision, shadow.leg_count) == ("mirrored", 2)
    assert (live.status, live.complete) == ("OK", True)


def test_a_live_call_that_was_cancelled_is_a_leg_too() -> None:
    live, _ = only(record([request()], Seen(status="CANCELLED", how=CallEnd.CANCELLED), UNARY))
    assert (live.status, live.end, live.complete) == ("CANCELLED", "cancelled", False)


def test_a_status_nobody_knows_is_unknown_and_never_complete() -> None:
    live, shadow = only(record([request()], Seen([response()], at=[9], status=""), Seen(status="", how=CallEnd.CUT)))
    assert (live.status, live.complete, shadow.status, shadow.complete) == (None, False, None, False)


def test_a_shed_shadow_is_a_leg_that_says_so() -> None:
    live, shadow = only(
        record(
            [],
            UNARY,
            Seen(status="", how=CallEnd.SHED, end=0, captured=False),
            admissions=(Admission("candidate", 0.5, DropReason.CONCURRENCY_LIMIT),),
        )
    )
    assert (shadow.decision, shadow.drop_reason, shadow.end) == ("dropped", "concurrency_limit", "shed")
    assert (shadow.status, shadow.complete, shadow.queue_time, shadow.duration) == (None, False, None, 0.0)
    assert (live.decision, live.drop_reason, live.expected_targets) == (Decision.DROPPED, None, ("candidate",))
    assert live.leg_count == 2


def test_every_admitted_target_has_a_leg_and_the_live_leg_expects_them_all() -> None:
    admissions = (
        Admission("a", 0.5, DropReason.QUEUE_FULL),
        Admission("b", 1.0),
        Admission("control", 0.1),
    )
    ((live, shadows),) = legs_of(
        record(
            [request()],
            UNARY,
            Seen(status="", how=CallEnd.SHED, end=0, captured=False),
            UNARY,
            Seen(status="UNAVAILABLE"),
            admissions=admissions,
            settings=experiment(target("a"), target("b"), target("control", kind="control"), target("unsampled")),
        )
    )
    assert [shadow.target for shadow in shadows] == ["a", "b", "control"]
    assert live.expected_targets == ("a", "b", "control")
    assert {leg.leg_count for leg in (live, *shadows)} == {4}
    assert {leg.pair_id for leg in (live, *shadows)} == {live.pair_id}
    assert len({leg.span_id for leg in (live, *shadows)}) == 4
    assert (live.decision, live.probability) == (Decision.MIRRORED, 1.0)


# --- bytes that are missing -----------------------------------------------------------------------------------


def digests(live: Seen, shadow: Seen, **changes: Any) -> tuple[str | None, str | None]:
    settings = experiment(target(), output_digest=True)
    one, other = only(record([request()], live, shadow, settings=settings, **changes))
    return one.output_digest, other.output_digest


def test_answers_whose_bytes_were_let_go_have_counts_and_times_but_no_fields_and_no_digest() -> None:
    settings = experiment(target(), output_digest=True)
    blind = Seen([b""] * 3, at=[10, 20, 30], captured=False)
    live, shadow = only(
        record([request(model="m")], blind, UNARY, settings=settings, method=STREAM_GENERATE, arity=Arity.UNARY_STREAM)
    )
    assert (live.message_count, live.time_to_first_chunk, live.complete) == (3, 0.01, True)
    assert (live.fields.request_model, live.fields.response_model) == ("m", None)
    assert live.output_digest is None
    assert shadow.output_digest is not None


def test_without_every_request_no_answer_is_comparable() -> None:
    settings = experiment(target(), output_digest=True)
    live, shadow = only(
        record(
            [request("a")],
            Seen([last_delta("1", "a"), last_delta("2", "b")], at=[10, 20]),
            Seen([], status="CANCELLED", how=CallEnd.CUT),
            settings=settings,
            complete=False,
            method=CONVERSE,
            arity=Arity.STREAM_STREAM,
        )
    )
    assert (live.message_count, live.exchange_index, live.status) == (2, None, "OK")
    assert (live.output_digest, shadow.output_digest, shadow.end) == (None, None, "cut")


@given(st.text(max_size=5), st.text(max_size=5))
def test_digests_are_equal_if_and_only_if_the_answers_are(one: str, other: str) -> None:
    live, shadow = digests(Seen([response(one)], at=[9]), Seen([response(other)], at=[9]))
    assert live is not None
    assert (live == shadow) == (one == other)


def test_digests_do_not_see_how_a_text_was_cut_or_which_model_said_it() -> None:
    live, shadow = digests(
        Seen([delta("ab", model="m"), last_delta("c")], at=[1, 2]),
        Seen([delta("a"), delta(""), delta("b"), last_delta("c", tokens=(9, 9))], at=[1, 2, 3, 4]),
        method=STREAM_GENERATE,
        arity=Arity.UNARY_STREAM,
    )
    assert live == shadow is not None


def test_digests_see_tool_calls() -> None:
    call = messages.ToolCall(name="look", arguments_json="{}")
    live, shadow = digests(Seen([response("x", tool_calls=[call])], at=[9]), Seen([response("x")], at=[9]))
    assert live != shadow


def test_digests_of_another_key_cannot_be_compared() -> None:
    call = record([request()], UNARY, UNARY, settings=experiment(target(), output_digest=True))
    ((one, _),), ((other, _),) = legs_of(call), legs_of(call, bytes(31) + b"\x01")
    assert one.output_digest != other.output_digest


def test_a_method_without_a_map_has_the_digest_of_its_raw_messages() -> None:
    changes: dict[str, Any] = {"method": "/acme.Service/Method", "arity": Arity.UNARY_STREAM}
    same = digests(Seen([b"\xff", b"a"], at=[1, 2]), Seen([b"\xff", b"a"], at=[1, 2]), **changes)
    cut = digests(Seen([b"ab"], at=[1]), Seen([b"a", b"b"], at=[1, 2]), **changes)
    assert same[0] == same[1] is not None
    assert cut[0] != cut[1]


# --- what is captured -----------------------------------------------------------------------------------------


def said(exchange: ExchangeLegs) -> list[tuple[list[bytes], list[bytes] | None]]:
    """What each leg was sent and what it answered."""
    return [
        (list(requests.data), None if answer is None else list(answer.data)) for requests, answer in exchange.messages
    ]


EVENTS = experiment(target(), content="events")
SENT = {"sent": 1}


def test_where_nothing_is_captured_no_message_leaves_the_record() -> None:
    (exchange,) = exchanges_of(record([request()], UNARY, UNARY))
    assert exchange.messages == ()


def test_each_leg_has_the_messages_it_was_sent_and_its_own_answer() -> None:
    asked, answered = request(prompt="q"), response("5")
    call = record([asked], UNARY, Seen([answered], at=[9], more=SENT), settings=EVENTS)
    (exchange,) = exchanges_of(call)
    assert said(exchange) == [([asked], UNARY.responses), ([asked], [answered])]
    assert exchange.messages[0].requests is exchange.messages[1].requests, "so that it is read once"


def test_a_shadow_has_what_it_was_sent_and_not_what_came() -> None:
    call = record([request(model="m")], UNARY, Seen([response()], at=[9], more=SENT), settings=EVENTS)
    call.rewrites["candidate"] = Rewrite(reference("Generate"), values={"model": "n"})
    (exchange,) = exchanges_of(call)
    assert [requests for requests, _ in said(exchange)] == [[request(model="m")], [request(model="n")]]


def test_a_shadow_that_was_sent_a_part_or_nothing_has_no_more_than_that() -> None:
    one, two = request(prompt="1"), request(prompt="2")
    changes: dict[str, Any] = {"settings": EVENTS, "method": INGEST, "arity": Arity.STREAM_UNARY}
    for sent, wanted in ((0, []), (1, [one]), (2, [one, two])):
        (exchange,) = exchanges_of(record([one, two], Seen(), Seen(more={"sent": sent}), **changes))
        assert said(exchange)[1][0] == wanted
    shed = Seen(status="", how=CallEnd.SHED, captured=False)
    (exchange,) = exchanges_of(record([one], UNARY, shed, settings=EVENTS))
    assert said(exchange)[1] == ([], None)


@pytest.mark.parametrize("how", [CallEnd.CUT, CallEnd.CANCELLED, CallEnd.DEADLINE])
def test_a_stream_that_was_cut_has_its_messages_as_far_as_it_went(how: CallEnd) -> None:
    seen = Seen([delta("a"), delta("b")], at=[1, 2], status="CANCELLED", how=how)
    changes: dict[str, Any] = {"settings": EVENTS, "method": STREAM_GENERATE, "arity": Arity.UNARY_STREAM}
    (exchange,) = exchanges_of(record([request()], seen, seen, **changes))
    assert said(exchange)[0][1] == [delta("a"), delta("b")]


def test_answers_of_exchanges_that_cannot_be_told_apart_belong_to_none() -> None:
    seen = Seen([last_delta("1", "a"), last_delta("2", "b")], at=[10, 20])
    changes: dict[str, Any] = {"settings": EVENTS, "complete": False, "arity": Arity.STREAM_STREAM}
    (exchange,) = exchanges_of(record([request("a")], seen, seen, method=CONVERSE, **changes))
    assert said(exchange)[0] == ([request("a")], None)


def test_every_exchange_of_a_call_has_its_own_messages() -> None:
    answers = [delta("1", "a"), delta("1", "b"), last_delta("2", "a"), last_delta("2", "b")]
    seen = Seen(answers, at=[20, 30, 40, 60], asked=[0, 10], more={"sent": 2})
    call = converse(seen, seen, "a", "b", settings=EVENTS)
    for exchange, one in zip(exchanges_of(call), "ab", strict=True):
        own = ([request(one, model=one)], [delta("1", one), last_delta("2", one)])
        assert said(exchange) == [own, own]


# --- several exchanges on one call ----------------------------------------------------------------------------


def converse(live: Seen, shadow: Seen, *ids: str, **changes: Any) -> CallRecord:
    return record(
        [request(one, model=one) for one in ids], live, shadow, method=CONVERSE, arity=Arity.STREAM_STREAM, **changes
    )


def test_every_exchange_of_a_call_is_a_pair_of_its_own() -> None:
    answers = [delta("1", "a"), delta("1", "b"), last_delta("2", "a"), last_delta("2", "b")]
    swapped = [answers[1], answers[3], answers[0], answers[2]]
    exchanges = legs_of(
        converse(
            Seen(answers, at=[20, 30, 40, 60], asked=[0, 10], end=500),
            Seen(swapped, at=[25, 35, 45, 55], asked=[1, 11], start=1, end=600),
            "a",
            "b",
        )
    )
    assert len(exchanges) == 2
    (first, (first_shadow,)), (second, (second_shadow,)) = exchanges
    assert first.pair_id == f"{0xABC:032x}" == first_shadow.pair_id
    assert second.pair_id == second_shadow.pair_id != first.pair_id
    assert len(second.pair_id) == 32
    assert (first.exchange_index, second.exchange_index, second_shadow.exchange_index) == (0, 1, 1)
    assert len({leg.span_id for live, shadows in exchanges for leg in (live, *shadows)}) == 4
    assert (first.span_id, first_shadow.span_id) == (21, 31), "the ids that were propagated"
    # From its own request to its own last answer, not to the end of the call.
    assert (first.started_ns, first.ended_ns, first.time_to_first_chunk) == (wall(0), wall(40), 0.02)
    assert (second.started_ns, second.ended_ns, second.time_to_first_chunk) == (wall(10), wall(60), 0.02)
    assert (second_shadow.started_ns, second_shadow.ended_ns) == (wall(11), wall(35))
    for live, (shadow,) in exchanges:
        assert (live.message_count, shadow.message_count, live.complete, shadow.complete) == (2, 2, True, True)
        assert live.fields.request_model == shadow.fields.request_model == ("b" if live.exchange_index else "a")


def test_exchanges_that_ended_before_the_call_was_cut_are_complete_and_the_others_are_not() -> None:
    answers = [last_delta("1", "a"), delta("1", "b")]
    cancelled = Seen(answers, at=[20, 30], asked=[0, 10], status="CANCELLED", how=CallEnd.CANCELLED)
    (first, _), (second, _) = legs_of(converse(cancelled, cancelled, "a", "b"))
    assert (first.status, first.end, first.complete) == ("OK", "completed", True)
    assert (second.status, second.end, second.complete, second.ended_ns) == ("CANCELLED", "cancelled", False, wall(100))


def test_an_exchange_the_shadow_never_answered_is_a_leg_without_messages() -> None:
    answers = [last_delta("1", "a"), last_delta("1", "b")]
    exchanges = legs_of(
        converse(
            Seen(answers, at=[20, 30], asked=[0, 10]),
            Seen(answers[:1], at=[20], asked=[0], status="UNAVAILABLE", end=25),
            "a",
            "b",
        )
    )
    (_, (answered,)), (live, (unanswered,)) = exchanges
    assert (answered.status, answered.complete) == ("OK", True)
    assert (unanswered.status, unanswered.complete, unanswered.message_count) == ("UNAVAILABLE", False, 0)
    assert unanswered.pair_id == live.pair_id
    assert unanswered.ended_ns >= unanswered.started_ns


def test_a_hostile_backend_that_answers_before_it_was_asked_gives_no_leg_that_ends_before_it_starts() -> None:
    answers = [last_delta("1", "a"), last_delta("1", "b")]
    shadow = Seen(list(reversed(answers)), at=[1, 50], asked=[0, 40])
    for live, (leg,) in legs_of(converse(Seen(answers, at=[20, 60], asked=[0, 40]), shadow, "a", "b")):
        assert leg.ended_ns >= leg.started_ns
        assert live.ended_ns >= live.started_ns
        assert leg.time_to_first_chunk is not None
        assert leg.time_to_first_chunk >= 0


def test_one_exchange_on_a_call_that_could_carry_more_has_no_index() -> None:
    live, shadow = only(converse(Seen([last_delta("1", "a")], at=[20], end=500), UNARY, "a"))
    assert (live.exchange_index, shadow.exchange_index) == (None, None)
    assert live.ended_ns == wall(20)


def test_the_work_grows_with_the_messages_of_a_call_not_with_their_square() -> None:
    ids = [f"r{number}" for number in range(200)]
    answers = [last_delta("x", one) for one in ids]
    seen = Seen(answers, at=range(1, 201), asked=range(200), end=300)
    call = converse(seen, seen, *ids)
    assert call.method_map is not None
    counted = Counted(call.method_map)
    call.method_map = counted.as_map
    assert len(legs_of(call)) == 200
    # Once to tell the exchanges apart and once to read each, on both legs.
    assert sum(one in set(answers) for one in counted.parsed) == 2 * 2 * 200


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("127.0.0.1:50051", "127.0.0.1", 50051),
        ("models.example:443", "models.example", 443),
        ("[::1]:50051", "::1", 50051),
        ("::1", "::1", None),
        ("dns:models.example:443", "models.example", 443),
        ("dns:///models.example:443", "models.example", 443),
        ("dns://1.1.1.1/models.example:443", "models.example", 443),
        ("ipv4:10.0.0.1:50051", "10.0.0.1", 50051),
        ("ipv6:[::1]:50051", "::1", 50051),
        ("xds:///models", "xds:///models", None),
        ("unix:/run/model.sock", "unix:/run/model.sock", None),
        ("unix:///run/model:80", "unix:///run/model:80", None),
    ],
)
def test_the_server_is_the_target_as_configured_split_where_it_has_a_port(
    address: str, host: str, port: int | None
) -> None:
    _, shadow = only(record([request()], UNARY, UNARY, settings=experiment(target(address=address))))
    assert (shadow.server_address, shadow.server_port) == (host, port)


def test_the_live_leg_bears_the_bucket_that_the_live_side_has_found() -> None:
    call = record([request()], UNARY, UNARY)
    call.begin = call.begin._replace(session=7)
    live, shadow = only(call)
    assert (live.session, shadow.session) == (7, None)


def test_where_the_request_has_the_sampling_key_its_session_is_read_there() -> None:
    by_model = experiment(sampling={"by": {"field": "model"}})
    known, unknown = (only(record([request(model=name)], UNARY, UNARY, settings=by_model))[0] for name in ("m", ""))
    assert (known.session, unknown.session) == (session_bucket("summaries", "m"), None)
    nowhere = experiment(sampling={"by": {"field": "no.such"}})
    assert only(record([request(model="m")], UNARY, UNARY, settings=nowhere))[0].session is None
    unread = record([], UNARY, UNARY, settings=by_model)
    assert only(unread)[0].session is None


def test_a_call_of_several_exchanges_is_what_they_have_in_common() -> None:
    answers = Seen([last_delta("1", "a"), last_delta("2", "b")], at=[10, 20], asked=[0, 5])
    call = converse(answers, answers, "a", "b")
    assert [live.session for live, _ in legs_of(call)] == [0xABC % 256] * 2
