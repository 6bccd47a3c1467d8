"""What can be wrong on a stage, each provoked a little more by each step, so that counters are seen to grow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import grpc
import yaml
from e2e.live import backend, file, mirrored, serving
from e2e.stage import Stage
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from stack.loopback import HOST
from support import postgresql
from support.id_engine import VLLM, Client, IdEngine, IdHandlers, rest
from support.legs import SECOND
from support.legs import live as live_leg
from support.legs import shadow as shadow_leg
from support.meshes import refusing_address
from support.models import RefusalError
from support.otlp import TRACES, legs_request
from support.resources import until

from shadowmesh.model import Leg
from shadowmesh.testing import Backend, SpanSink

Step = Callable[[], None]
Trouble = Callable[[Stage, Path], AbstractContextManager[Step]]

# More than a processor may hold of them.
LONE_LEGS = 120
# More than one in twenty of all pairs.
LATE_PAIRS = 10
REFUSED = "refused"
_RATES = {"per_million_tokens": {"input": 1e6, "output": 1e6}}


def refuse(server: postgresql.Server, database: str) -> None:
    """Have the store never take a pair of the experiment ``refused``."""
    raising = "BEGIN RAISE EXCEPTION 'not this one'; END"
    server.execute(f"CREATE FUNCTION refuse() RETURNS trigger AS $$ {raising} $$ LANGUAGE plpgsql", database=database)
    rows = f"FOR EACH ROW WHEN (NEW.experiment = '{REFUSED}')"
    server.execute(f"CREATE TRIGGER refuse BEFORE INSERT ON pairs {rows} EXECUTE FUNCTION refuse()", database=database)


@contextmanager
def target_that_is_not_there(stage: Stage, _: Path) -> Iterator[Step]:
    """The breaker opens, and what comes then is shed."""
    with refusing_address() as address:
        config = file(stage.endpoint, {"candidate": address}, name="nobody-there")
        config["experiments"][0]["targets"][0]["breaker"] = {"least_calls": 1, "open": "10m", "open_most": "10m"}
        with serving(config) as live:

            def step() -> None:
                for _ in range(3):
                    live.ask("one")
                live.settle()

            yield step


@contextmanager
def slow_and_failing_shadow(stage: Stage, _: Path) -> Iterator[Step]:
    """It takes many times as long, and fails where the live model does not."""

    def slow(prompt: str) -> str:
        if prompt == "fail":
            raise RefusalError(grpc.StatusCode.INTERNAL, "as the test says")
        time.sleep(0.05)
        return prompt

    with mirrored(stage, name="slow", shadow=slow) as live:

        def step() -> None:
            for prompt in ("fail", "one", "two"):
                live.ask(prompt)

        yield step


@contextmanager
def legs_that_nobody_misses(stage: Stage, _: Path) -> Iterator[Step]:
    """The funnel comes, the legs do not."""
    with backend(str.upper) as address:
        config = file(stage.endpoint, {"candidate": address}, name="vanishing")
        with serving(config, exporter=SpanSink()) as live:

            def step() -> None:
                for _ in range(12):
                    live.ask("one")

            yield step


class _Failing(SpanExporter):
    def export(self, spans: Any) -> SpanExportResult:
        return SpanExportResult.FAILURE


@contextmanager
def legs_that_are_known_to_be_lost(stage: Stage, _: Path) -> Iterator[Step]:
    """The exporter gives them up."""
    with backend(str.upper) as address:
        config = file(stage.endpoint, {"candidate": address}, name="losing")
        with serving(config, exporter=_Failing()) as live:
            yield lambda: live.ask("one")


@contextmanager
def budget_that_is_nearly_used(stage: Stage, _: Path) -> Iterator[Step]:
    """Sixteen calls of 6 dollars, and 100 to spend; and a time-box beside it."""
    with backend(str.upper) as address:
        config = file(stage.endpoint, {"candidate": address}, name="spending", time_box={"pairs": 1000})
        config["mirror"]["prices"] = [_RATES]
        config["experiments"][0]["targets"][0]["budget"] = {"per_day": 100.0, "tokens": 1_000_000}
        with serving(config) as live:
            left = iter((1, 5, 5, 5))

            def step() -> None:
                for _ in range(next(left, 0)):
                    live.ask("one")
                    # What a call costs is known when it is over.
                    live.settle()

            yield step


@contextmanager
def keys_of_which_one_is_most(stage: Stage, _: Path) -> Iterator[Step]:
    """Six hundred calls of one user, and some of nobody."""
    with backend(str.upper) as address:
        config = file(stage.endpoint, {"candidate": address}, name="keyed", sampling={"by": {"metadata": "x-user"}})
        config["experiments"][0]["targets"][0]["rate"] = 0.001
        with serving(config) as live:
            many = iter((600,))

            def step() -> None:
                for _ in range(next(many, 1)):
                    live.ask("one", metadata=(("x-user", "u"),))
                live.ask("one")

            yield step


@contextmanager
def configuration_that_is_wrong(stage: Stage, directory: Path) -> Iterator[Step]:
    """The file is changed for a worse one, again and again."""
    path, number = directory / "live.yaml", count()
    config = file(stage.endpoint, {"candidate": f"{HOST}:1"}, name="reloaded") | {"reload": {"every": "200ms"}}
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    with serving(path) as live:

        def refused() -> int:
            return int(live.mesh.status()["config_file"]["refused"])

        def step() -> None:
            before = refused()
            live.ask("one")
            path.write_text(f"experiments: {next(number)}", encoding="utf-8")
            assert until(lambda: refused() > before)

        yield step


@contextmanager
def mirroring_that_harms(stage: Stage, _: Path) -> Iterator[Step]:
    """Live calls fail while the shadow is busy."""
    busy = 0.0

    def shadow(prompt: str) -> str:
        nonlocal busy
        busy = time.monotonic() + 0.02
        return prompt

    def live(prompt: str) -> str:
        if time.monotonic() < busy:
            raise RefusalError(grpc.StatusCode.UNAVAILABLE, "the machine is busy")
        return prompt

    with backend(shadow) as address:
        config = file(stage.endpoint, {"candidate": address}, name="harming")
        config["mirror"]["harm_guard"] = {"slot": 0.1, "one_off_in": 4, "alpha": 0.5, "error_margin": 0.0}
        with serving(config, live=live) as server:

            def step() -> None:
                # Most of a second: what harms is found by comparing slots of time.
                until_then = time.monotonic() + 0.8
                while time.monotonic() < until_then:
                    with suppress(grpc.RpcError):
                        server.ask("one")

            yield step


@contextmanager
def calls_that_their_client_ends_by_id(stage: Stage, directory: Path) -> Iterator[Step]:
    """Their shadows are ended too, by ids of their own, and the live server writes down what it is asked."""
    engine, shadow, number = IdEngine(VLLM), IdEngine(VLLM), count()
    with Backend(shadow) as running:
        config = file(stage.endpoint, {"candidate": running.address}, name="aborted", methods=[VLLM.generate])
        config["capture"] = {"to": str(directory / "captured")}
        with serving(config, handler=IdHandlers("sync", engine)) as live:
            client = Client(live.server.channel, VLLM)

            def step() -> None:
                name = f"request {next(number)}"
                call = client.begin(name)
                shadow.wait_for(1)
                client.abort(name)
                rest(call)
                shadow.wait_for(0)

            yield step


@contextmanager
def legs_by_hand(stage: Stage, _: Path) -> Iterator[Step]:
    """Late pairs, lone legs, more of them than fit, legs that are none, pairs that the store refuses."""
    number = count()

    def step() -> None:
        at = next(number)
        now = time.time_ns()
        old: dict[str, Any] = {"started_ns": now - 60 * SECOND, "ended_ns": now - 59 * SECOND, "experiment": "late"}
        new: dict[str, Any] = {"started_ns": now - SECOND, "ended_ns": now}
        post(stage, [leg(f"old{one}-{at}", **old) for one in range(LATE_PAIRS) for leg in (live_leg, shadow_leg)])
        post(stage, [live_leg("", **new)])
        post(stage, [live_leg(f"{one}-{at}", experiment="lone", **new) for one in range(LONE_LEGS)])
        pair = {"experiment": REFUSED, **new}
        post(stage, [live_leg(f"no{at}", **pair), shadow_leg(f"no{at}", **pair)])

    yield step


@contextmanager
def candidate_that_breaks(stage: Stage, _: Path) -> Iterator[Step]:
    """Where live never fails it always does: in a hundred pairs of an hour each time."""
    number = count()

    def step() -> None:
        now, at = time.time_ns(), next(number)
        pairs: list[Leg] = []
        for one in range(100):
            begun = now - (3600 - one * 30) * SECOND
            times: dict[str, Any] = {"started_ns": begun, "ended_ns": begun + SECOND, "experiment": "broken"}
            name = f"broken{one}-{at}"
            pairs += [live_leg(name, **times), shadow_leg(name, status="INTERNAL", target_digest="t", **times)]
        post(stage, pairs)

    yield step


def post(stage: Stage, legs: list[Leg]) -> None:
    """Send legs to the Collector, in a request of their own."""
    url = f"http://{HOST}:{stage.collector.otlp_http}/v1/traces"
    request = Request(url, legs_request(legs), {"Content-Type": "application/x-protobuf"})
    with build_opener(ProxyHandler({})).open(request, timeout=10) as answer:
        answer.read()


def split(stage: Stage, pair_id: str) -> None:
    """Send the legs of a pair to two processors, past the Collector."""
    now = time.time_ns()
    halves = (leg(pair_id, started_ns=now - SECOND, ended_ns=now) for leg in (live_leg, shadow_leg))
    for processor, half in zip(stage.processors, halves, strict=True):
        with grpc.insecure_channel(f"{HOST}:{processor.otlp_grpc}") as channel:
            export: Any = channel.unary_unary(TRACES)
            export(legs_request([half]), timeout=10)


TROUBLES: tuple[Trouble, ...] = (
    target_that_is_not_there,
    slow_and_failing_shadow,
    legs_that_nobody_misses,
    legs_that_are_known_to_be_lost,
    budget_that_is_nearly_used,
    keys_of_which_one_is_most,
    configuration_that_is_wrong,
    mirroring_that_harms,
    calls_that_their_client_ends_by_id,
    legs_by_hand,
    candidate_that_breaks,
)
