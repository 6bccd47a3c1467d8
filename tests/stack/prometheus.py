"""Prometheus 3."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stack.collector import NOTHING
from stack.loopback import HOST, free_ports, get
from stack.running import Running


class Prometheus(Running):
    """A Prometheus that takes OTLP, on :attr:`http`, with its data in the test's folder."""

    def __init__(self, binary: Path, config: Path, directory: Path, *, options: Sequence[str] = ()) -> None:
        (self.http,) = free_ports(1)
        super().__init__(
            [
                *(str(binary), f"--config.file={config.absolute()}", f"--storage.tsdb.path={directory / 'data'}"),
                *(f"--web.listen-address={HOST}:{self.http}", "--web.enable-otlp-receiver", *options),
            ],
            directory,
            health=(self.http, "/-/ready"),
            environment=NOTHING,
        )

    @property
    def otlp_metrics(self) -> str:
        """The URL that takes OTLP metrics over HTTP; it takes nothing else."""
        return f"http://{HOST}:{self.http}/api/v1/otlp/v1/metrics"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """
        Return the result of an instant query.

        Raises:
            ValueError: Prometheus refused it.
        """
        data = self.api("query", query=expression)
        assert isinstance(data, dict)
        return list(data["result"])

    def api(self, path: str, **query: str) -> Any:
        """
        Return the ``data`` of an answer of the API below ``/api/v1/``.

        Raises:
            ValueError: Prometheus refused the request.
        """
        answer = get(self.http, f"/api/v1/{path}", **query)
        if answer.status != 200:
            raise ValueError(f"Prometheus answered {answer.status}: {answer.body}")
        return json.loads(answer.body)["data"]
