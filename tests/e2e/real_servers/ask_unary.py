"""
A client by tritonclient's own means: ``python ask_unary.py ADDRESS PROMPT...`` writes each answer as a line of JSON.

It has a process to itself, for tritonclient and the servers each register the same protobuf package.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from tritonclient import grpc as triton  # type: ignore[import-not-found]


def main(address: str, prompts: list[str]) -> None:
    with triton.InferenceServerClient(address) as client:
        for number, prompt in enumerate(prompts):
            given = [tensor("text_input", "BYTES", prompt.encode()), tensor("max_tokens", "INT32", 64)]
            answer = client.infer("words", given, request_id=f"call-{number}", client_timeout=30)
            said = answer.get_response()
            tensors = {output.name: values(answer, output.name) for output in said.outputs}
            write(status="StatusCode.OK", id=said.id, model=said.model_name, tensors=tensors)
        try:
            client.infer("unknown", [tensor("text_input", "BYTES", b"two words")], client_timeout=30)
        except triton.InferenceServerException as error:
            write(status=error.status(), message=error.message())


def tensor(name: str, datatype: str, value: bytes | int) -> Any:
    array = np.array([value], dtype=np.object_ if datatype == "BYTES" else np.int32)
    given = triton.InferInput(name, [1], datatype)
    given.set_data_from_numpy(array)
    return given


def values(answer: Any, name: str) -> list[Any]:
    return [value.decode() if isinstance(value, bytes) else int(value) for value in answer.as_numpy(name).reshape(-1)]


def write(**line: Any) -> None:
    print(json.dumps(line))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
