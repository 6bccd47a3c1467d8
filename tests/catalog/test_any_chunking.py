"""However an answer is cut into messages, it is the same answer and the same number of tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import accumulate

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from support.dialects.spoken import view

from shadowmesh.catalog.builtin import builtin
from shadowmesh.protocols.reading import read

Piece = tuple[int, ...]
"""Letters of an answer by their numbers, which are its token ids as well; a token is a letter."""
Cut = Callable[[Sequence[Piece]], list[Message]]


def _letters(piece: Piece) -> str:
    return "".join(map(chr, piece))


def _totals(pieces: Sequence[Piece]) -> list[tuple[Piece, int]]:
    return list(zip(pieces, accumulate(map(len, pieces)), strict=True))


def _whole(pieces: Sequence[Piece]) -> Piece:
    return tuple(letter for piece in pieces for letter in piece)


def _tensors(pieces: Sequence[Piece]) -> list[Message]:
    return [
        view(
            "oip.ModelStreamInferResponse",
            infer_response={
                "id": "1",
                "outputs": [
                    {"name": "text_output", "datatype": "BYTES"},
                    {"name": "num_output_tokens", "datatype": "UINT32"},
                ],
                "raw_output_contents": [
                    len(_letters(piece).encode()).to_bytes(4, "little") + _letters(piece).encode(),
                    len(piece).to_bytes(4, "little"),
                ],
            },
        )
        for piece in pieces
    ]


def _vllm_smg(pieces: Sequence[Piece]) -> list[Message]:
    chunks = [{"token_ids": piece, "completion_tokens": len(piece)} for piece in pieces]
    last = {"output_ids": pieces[-1], "completion_tokens": len(pieces[-1]), "finish_reason": "stop"}
    return [view("smg.VllmGenerateResponse", chunk=chunk) for chunk in chunks] + [
        view("smg.VllmGenerateResponse", complete=last)
    ]


def _sglang_smg(pieces: Sequence[Piece]) -> list[Message]:
    chunks = [{"token_ids": piece, "completion_tokens": total} for piece, total in _totals(pieces)]
    whole = _whole(pieces)
    return [view("smg.SglangGenerateResponse", chunk=chunk) for chunk in chunks] + [
        view("smg.SglangGenerateResponse", complete={"output_ids": whole, "completion_tokens": len(whole)})
    ]


def _trtllm(pieces: Sequence[Piece]) -> list[Message]:
    whole = _whole(pieces)
    return [view("smg.TrtllmGenerateResponse", chunk={"token_ids": piece}) for piece in pieces] + [
        view("smg.TrtllmGenerateResponse", complete={"output_token_ids": whole, "completion_tokens": len(whole)})
    ]


def _mlx(pieces: Sequence[Piece]) -> list[Message]:
    chunks = [{"token_ids": piece, "completion_tokens": total} for piece, total in _totals(pieces)]
    return [view("smg.MlxGenerateResponse", chunk=chunk) for chunk in chunks] + [
        view("smg.MlxGenerateResponse", complete={"completion_tokens": len(_whole(pieces))})
    ]


def _vllm(pieces: Sequence[Piece]) -> list[Message]:
    outputs = [{"text": _letters(piece), "num_tokens": len(piece)} for piece in pieces]
    return [view("vllm.GenerateResponse", outputs=output) for output in outputs]


def _tgis(pieces: Sequence[Piece]) -> list[Message]:
    return [view("tgis.Response", input_token_count=3)] + [
        view("tgis.Response", text=_letters(piece), generated_token_count=total) for piece, total in _totals(pieces)
    ]


def _xai(pieces: Sequence[Piece]) -> list[Message]:
    return [
        view(
            "xai.CompletionChunk",
            outputs=[{"delta": {"content": _letters(piece)}}],
            usage={"completion_tokens": total},
        )
        for piece, total in _totals(pieces)
    ]


def _gemini(family: str) -> Cut:
    def cut(pieces: Sequence[Piece]) -> list[Message]:
        return [
            view(
                f"{family}.GenerateContentResponse",
                candidates=[{"content": {"parts": [{"text": _letters(piece)}]}}],
                usage_metadata={"candidates_token_count": total},
            )
            for piece, total in _totals(pieces)
        ]

    return cut


def _sglang(pieces: Sequence[Piece]) -> list[Message]:
    return [
        view(
            "sglang.TextGenerateResponse",
            text=_letters(_whole(pieces[: place + 1])),
            meta_info={"completion_tokens": str(total)},
        )
        for place, (_, total) in enumerate(_totals(pieces))
    ]


def _openai(pieces: Sequence[Piece]) -> list[Message]:
    chunks = [{"choices": [{"index": 0, "delta": {"content": _letters(piece)}}]} for piece in pieces]
    usage = {"choices": [], "usage": {"completion_tokens": len(_whole(pieces))}}
    return [view("sglang.OpenAiChunk", json_chunk=json.dumps(chunk).encode()) for chunk in (*chunks, usage)]


def _openengine(pieces: Sequence[Piece]) -> list[Message]:
    tokens = [{"text": _letters(piece), "tokens": [{"token_id": one} for one in piece]} for piece in pieces]
    return [view("openengine.GenerateResponse", token=token) for token in tokens] + [
        view("openengine.GenerateResponse", finished={}, usage={"completion_tokens": len(_whole(pieces))})
    ]


CUTS: dict[tuple[str, str], Cut] = {
    ("oip_triton", "/inference.GRPCInferenceService/ModelStreamInfer"): _tensors,
    ("vllm_smg", "/vllm.grpc.engine.VllmEngine/Generate"): _vllm_smg,
    ("sglang_smg", "/sglang.grpc.scheduler.SglangScheduler/Generate"): _sglang_smg,
    ("trtllm", "/trtllm.TrtllmService/Generate"): _trtllm,
    ("mlx", "/mlx.grpc.engine.MlxEngine/Generate"): _mlx,
    ("vllm", "/vllm.Inference/GenerateStream"): _vllm,
    ("tgis", "/fmaas.GenerationService/GenerateStream"): _tgis,
    ("xai", "/xai_api.Chat/GetCompletionChunk"): _xai,
    ("google", "/google.ai.generativelanguage.v1beta.GenerativeService/StreamGenerateContent"): _gemini("google"),
    ("vertex", "/google.cloud.aiplatform.v1.PredictionService/StreamGenerateContent"): _gemini("vertex"),
    ("sglang", "/sglang.runtime.v1.SglangService/TextGenerate"): _sglang,
    ("sglang", "/sglang.runtime.v1.SglangService/ChatComplete"): _openai,
    ("openengine", "/openengine.v1.Inference/Generate"): _openengine,
}
# Protobuf has no text with half a character outside the first plane.
LETTERS = st.integers(1, 0x10FFFF).filter(lambda one: not 0xD800 <= one < 0xE000)


@pytest.mark.parametrize(("protocol", "method"), sorted(CUTS))
@given(pieces=st.lists(st.lists(LETTERS, min_size=1, max_size=4).map(tuple), min_size=1, max_size=6))
def test_an_answer_is_the_same_in_any_pieces(protocol: str, method: str, pieces: list[Piece]) -> None:
    method_map, cut = builtin().protocols[protocol][method], CUTS[protocol, method]
    whole = [_whole(pieces)]
    in_pieces = read(method_map, [], [message.SerializeToString() for message in cut(pieces)])
    at_once = read(method_map, [], [message.SerializeToString() for message in cut(whole)])
    assert in_pieces.output == at_once.output
    text, ids = _letters(whole[0]).encode(), " ".join(map(str, whole[0])).encode()
    assert in_pieces.output is not None
    assert in_pieces.output[0] in (text, ids)
    assert in_pieces.fields.output_tokens == len(whole[0])
