"""tritonclient's streams: ``python ask_triton.py ADDRESS`` writes what its callback is told, a line of JSON each."""

from __future__ import annotations

import json
import queue
import sys
from typing import Any

from ask_unary import tensor, values  # type: ignore[import-not-found]
from tritonclient import grpc as triton  # type: ignore[import-not-found]

PROMPTS = ("one two three", "be quiet please")


def main(address: str) -> None:
    told: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
    with triton.InferenceServerClient(address) as client:
        client.start_stream(lambda result, error: told.put((result, error)), stream_timeout=30)
        for number, prompt in enumerate(PROMPTS):
            client.async_stream_infer("words", [given(prompt)], request_id=f"call-{number}")
        for _ in range(6):
            result, error = told.get(timeout=30)
            assert error is None, error
            said = result.get_response()
            tensors = {output.name: values(result, output.name) for output in said.outputs}
            print(json.dumps({"id": said.id, "tensors": tensors}))  # noqa: T201
        client.async_stream_infer("unknown", [given("two words")], request_id="call-2")
        _, error = told.get(timeout=30)
        print(json.dumps({"message": error.message()}))  # noqa: T201
        client.stop_stream()
        answer = client.infer("words", [given("one two")], request_id="call-3", client_timeout=30)
        print(json.dumps({"unary": values(answer, "text_output")}))  # noqa: T201
        try:
            client.infer("unknown", [given("two words")], client_timeout=30)
        except triton.InferenceServerException as error:
            print(json.dumps({"status": error.status(), "message": error.message()}))  # noqa: T201


def given(prompt: str) -> Any:
    return tensor("text_input", "BYTES", prompt.encode())


if __name__ == "__main__":
    main(sys.argv[1])
