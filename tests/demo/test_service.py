from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest

from shadowmesh.cli.demo import corpus
from shadowmesh.cli.demo.api import generic_handler, stub
from shadowmesh.cli.demo.language_model import LanguageModel
from shadowmesh.cli.demo.service import MOST_TOKENS, InferenceService, Pace
from shadowmesh.schema.messages import (
    FINISH_REASON_LENGTH,
    FINISH_REASON_STOP,
    FINISH_REASON_UNSPECIFIED,
    GenerateDelta,
    GenerateRequest,
    IngestRequest,
    Message,
    Messages,
    SamplingParameters,
)

PROMPT = "The dictionary is empty."


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return LanguageModel(corpus.training_texts(), order=3)


@pytest.fixture
async def channel(model: LanguageModel) -> AsyncIterator[grpc.aio.Channel]:
    server = grpc.aio.server()
    service = InferenceService(model, name="pydoc-test", pace=Pace())
    server.add_generic_rpc_handlers([generic_handler(service)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened
    await server.stop(None)


def request(request_id: str = "a", **fields: object) -> GenerateRequest:
    return GenerateRequest(request_id=request_id, prompt=PROMPT, seed=3, **fields)  # type: ignore[arg-type]


async def test_generate_answers_as_a_whole(channel: grpc.aio.Channel) -> None:
    answer = await stub(channel, "Generate")(request(max_tokens=20))
    assert (answer.request_id, answer.model) == ("a", "pydoc-test")
    assert answer.usage.input_tokens == len(corpus.tokens(PROMPT)) == 5
    assert answer.usage.output_tokens == len(corpus.tokens(answer.text)) > 0
    assert answer.finish_reason in (FINISH_REASON_STOP, FINISH_REASON_LENGTH)


async def test_stream_generate_gives_the_same_answer_in_deltas(channel: grpc.aio.Channel) -> None:
    whole = await stub(channel, "Generate")(request(max_tokens=20))
    deltas = [delta async for delta in stub(channel, "StreamGenerate")(request(max_tokens=20))]
    assert "".join(delta.delta for delta in deltas) == whole.text
    assert (deltas[-1].finish_reason, deltas[-1].usage) == (whole.finish_reason, whole.usage)
    assert len(deltas) >= whole.usage.output_tokens
    for delta in deltas[:-1]:
        assert delta.finish_reason == FINISH_REASON_UNSPECIFIED
        assert not delta.HasField("usage")


async def test_converse_answers_several_exchanges_on_one_stream(channel: grpc.aio.Channel) -> None:
    call = stub(channel, "Converse")(iter([request("one", max_tokens=4), request("two", max_tokens=9)]))
    answers: dict[str, list[GenerateDelta]] = {}
    async for delta in call:
        answers.setdefault(delta.request_id, []).append(delta)
    assert list(answers) == ["one", "two"]
    for deltas in answers.values():
        assert [delta.HasField("usage") for delta in deltas] == [False] * (len(deltas) - 1) + [True]


async def test_ingest_counts_documents_chunks_and_tokens(channel: grpc.aio.Channel) -> None:
    chunks = [
        IngestRequest(request_id="in", document_id="x", text="The dict"),
        IngestRequest(document_id="x", text="ionary is empty."),
        IngestRequest(document_id="y", text="So is this."),
    ]
    answer = await stub(channel, "Ingest")(iter(chunks))
    assert (answer.request_id, answer.documents, answer.chunks) == ("in", 2, 3)
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (9, 0)


async def test_a_conversation_is_a_prompt_too(channel: grpc.aio.Channel) -> None:
    said = Messages(messages=[Message(content="The dictionary"), Message(content="is empty.")])
    answer = await stub(channel, "Generate")(GenerateRequest(messages=said, seed=3, max_tokens=20))
    assert answer.text == (await stub(channel, "Generate")(request(max_tokens=20))).text


async def test_without_a_seed_answers_differ(channel: grpc.aio.Channel) -> None:
    answers = {(await stub(channel, "Generate")(GenerateRequest(prompt=PROMPT))).text for _ in range(8)}
    assert len(answers) > 1


async def test_no_request_gets_more_tokens_than_the_server_gives(channel: grpc.aio.Channel) -> None:
    greedy = request(max_tokens=10**9, sampling=SamplingParameters(top_k=1))
    answer = await stub(channel, "Generate")(greedy)
    assert answer.usage.output_tokens <= MOST_TOKENS


@pytest.mark.parametrize(
    ("wrong", "detail"),
    [
        (GenerateRequest(), "neither a prompt nor a message"),
        (request(max_tokens=0), "max_tokens"),
        (request(sampling=SamplingParameters(temperature=-1)), "temperature"),
        (request(sampling=SamplingParameters(top_p=7)), "top_p"),
    ],
)
@pytest.mark.parametrize("name", ["Generate", "StreamGenerate"])
async def test_a_bad_request_is_refused_with_the_reason(
    channel: grpc.aio.Channel, name: str, wrong: GenerateRequest, detail: str
) -> None:
    call = stub(channel, name)(wrong)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await (call if name == "Generate" else call.read())
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert detail in (refused.value.details() or "")


async def test_converse_needs_a_request_id(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(channel, "Converse")(iter([request("")])).read()
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_pauses_are_those_of_the_seed_and_vary_around_the_pace() -> None:
    pace = Pace(read=0.001, write=0.004, jitter=0.2)
    first, again = pace.pauses(10, "1"), pace.pauses(10, "1")
    assert [next(first) for _ in range(9)] == [next(again) for _ in range(9)]
    means = []
    for seed in range(300):
        pauses = pace.pauses(10, str(seed))
        means.append((next(pauses), next(pauses)))
    first_pause, later_pause = (sorted(column)[150] for column in zip(*means, strict=True))
    assert first_pause == pytest.approx(0.014, rel=0.1)
    assert later_pause == pytest.approx(0.004, rel=0.1)
    assert next(Pace().pauses(10, "1")) == 0
