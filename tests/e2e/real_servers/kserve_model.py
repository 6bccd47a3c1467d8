"""
A model for KServe's Python server, without weights: it says the words of the prompt again, in its way.

``python kserve_model.py --http_port N --grpc_port N --enable_grpc true``, on all interfaces, which cannot be chosen.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from kserve import (  # type: ignore[import-not-found]
    InferOutput,
    InferRequest,
    InferResponse,
    Model,
    ModelServer,
)


class Words(Model):  # type: ignore[misc]
    """Counts are tensors, by the names of Triton's backends."""

    def __init__(self) -> None:
        super().__init__("words")
        self.ready = True

    def predict(self, payload: InferRequest, headers: Any = None, response_headers: Any = None) -> InferResponse:
        (given,) = [one for one in payload.inputs if one.name == "text_input"]
        (prompt,) = (value if isinstance(value, str) else value.decode() for value in given.as_numpy().reshape(-1))
        count = len(prompt.split())
        outputs = [
            tensor("text_output", "BYTES", str(getattr(prompt, os.environ["WAY"])())),
            tensor("finish_reason", "BYTES", "stop"),
            tensor("num_input_tokens", "INT32", count),
            tensor("num_output_tokens", "INT32", count),
        ]
        return InferResponse(response_id=payload.id, model_name=self.name, infer_outputs=outputs)


def tensor(name: str, datatype: str, value: str | int) -> InferOutput:
    output = InferOutput(name, [1], datatype)
    data = np.array([value.encode()], dtype=np.object_) if isinstance(value, str) else np.array([value], np.int32)
    # Raw: a typed answer's numbers tritonclient cannot read.
    output.set_data_from_numpy(data, binary_data=True)
    return output


if __name__ == "__main__":
    ModelServer().start([Words()])
