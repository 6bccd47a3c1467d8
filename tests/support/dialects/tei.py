"""Calls to Text Embeddings Inference: vectors, labels and orders of texts, one answer for each request."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message
from support.dialects.spoken import BIDI, UNARY, Said, Spoken, view

READS = frozenset({"text", "tokens"})


def _tei(service: str, request: Message, answer: Message, other: Message, **facts: Any) -> Spoken:
    tokens = {"input_tokens": 3, "usage_source": "response"}
    return Spoken(
        **{
            "protocol": "tei",
            "method": f"/tei.v1.{service}",
            "arity": UNARY,
            "requests": [request],
            "live": Said([answer]),
            "shadow": Said([other]),
            "answered": [tokens],
            "answered_by_shadow": [tokens],
            "reads": frozenset({"tokens"}),
            **facts,
        }
    )


_SPENT = {"compute_tokens": 3}
_VECTOR = view("tei.EmbedResponse", embeddings=[0.5], metadata=_SPENT)
_SENTENCE = view("tei.EmbedRequest", inputs="hello")


def _label(label: str) -> Message:
    return view("tei.PredictResponse", predictions=[{"label": label, "score": 0.5}], metadata=_SPENT)


def _ranks(*order: int) -> Message:
    return view("tei.RerankResponse", ranks=[{"index": index} for index in order], metadata=_SPENT)


_CLASSIFY = view("tei.PredictRequest", inputs="hello")
_TEI_TOKENS = {"input_tokens": 3, "usage_source": "response"}
CALLS: dict[str, Spoken] = {
    "tei: an embedding": _tei("Embed/Embed", _SENTENCE, _VECTOR, _VECTOR, asked=[{"operation": "embeddings"}]),
    "tei: embeddings in their order": _tei(
        "Embed/EmbedStream",
        _SENTENCE,
        _VECTOR,
        _VECTOR,
        arity=BIDI,
        requests=[_SENTENCE, _SENTENCE],
        live=Said([_VECTOR, view("tei.EmbedResponse", metadata={"compute_tokens": 4})]),
        shadow=Said([_VECTOR, _VECTOR]),
        asked=[{"operation": "embeddings"}] * 2,
        answered=[_TEI_TOKENS, _TEI_TOKENS | {"input_tokens": 4}],
        answered_by_shadow=[_TEI_TOKENS] * 2,
    ),
    "tei: a label": _tei(
        "Predict/Predict",
        _CLASSIFY,
        _label("joy"),
        _label("anger"),
        asked=[{"operation": "classify"}],
        alike=False,
        reads=READS,
    ),
    "tei: labels in their order": _tei(
        "Predict/PredictStream",
        _CLASSIFY,
        _label("joy"),
        _label("joy"),
        arity=BIDI,
        asked=[{"operation": "classify"}],
        reads=READS,
    ),
    "tei: a vector without its cost, and an error": _tei(
        "Embed/Embed",
        _SENTENCE,
        view("tei.EmbedResponse", embeddings=[0.5]),
        _VECTOR,
        shadow=Said([], "RESOURCE_EXHAUSTED"),
        asked=[{"operation": "embeddings"}],
        answered=[{}],
        answered_by_shadow=[{}],
        status_of_shadow="RESOURCE_EXHAUSTED",
    ),
    "tei: an order of texts": _tei(
        "Rerank/Rerank",
        view("tei.RerankRequest", query="hello", texts=["a", "b"]),
        _ranks(1, 0),
        _ranks(0, 1),
        asked=[{"operation": "rerank"}],
        alike=False,
        reads=frozenset({"ids", "tokens"}),
    ),
}
