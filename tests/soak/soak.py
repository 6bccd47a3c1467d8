"""
Minutes of mixed traffic against servers that mirror to good and broken shadows: ``make soak``, or with ``SECONDS=30``.

One server process per kind and carrier. Each gets calls of every shape, cancelled ones and ones that time out among
them, and mirrors each to a shadow that answers and to shadows that are dead, hang, reset and are black holes. What each
process holds is printed over time, and has to be flat: resident memory by a linear fit over the last three quarters of
the run, whose lower bound (twice its standard error below) may not exceed ``MOST_MIB`` per 10 000 calls; descriptors,
threads, tasks and calls by count. A run that adds less than ``LEAST_MIB`` altogether is too short to tell.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import grpc
from support import peers
from support.meshes import target
from support.resources import until
from support.scripts import script
from support.shadows import SCRIPTS
from support.worlds import WORLDS, unguarded, with_mirror

from shadowmesh.config import Config

TESTS = Path(__file__).resolve().parents[1]
MOST_MIB = 2.0
"""Growth per 10 000 calls that is no leak yet: 200 bytes a call, of several shadows each."""
LEAST_MIB = 1.5
"""Growth over the fitted part that is warming up, whatever its slope: in a short run there is little else."""
MOST_MORE = {"fds": 8, "sockets": 8}
"""How many more of each the last quarter may hold than the second: connections come and go."""
MOST_AT_REST = {"active": 0, "aio_calls": 0, "captured_bytes": 0, "tasks": 8, "python_threads": 16}
"""What a server may hold when all its calls and shadows have ended: its own loop's tasks, exporters and the like."""
RATES = {"resetting": 0.3, "deaf": 0.3}
"""The rest gets every call; what is dear for this process, where the shadows run, gets fewer."""
_ROWS = 15
_CLIENTS = 2
_ANSWER_SECONDS, _END_SECONDS, _REST_SECONDS = 60.0, 60.0, 20.0
_MIB = 1 << 20


class Row(NamedTuple):
    """What one server held at one moment."""

    at: float
    calls: int
    held: dict[str, Any]

    @property
    def rss_mib(self) -> float:
        return float(self.held["rss"]) / _MIB


class Server:
    """One live server in a process of its own, and the clients that call it."""

    def __init__(self, kind: str, carrier: str, file: Path, endpoint: str) -> None:
        self.name = f"{kind} {carrier}"
        self.rows: list[Row] = []
        self.wrong: list[str] = []
        self._calls = [0] * _CLIENTS
        self._over = threading.Event()
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "GRPC_"))}
        environment |= {
            "PYTHONPATH": os.pathsep.join([str(TESTS), *(path for path in sys.path if path)]),
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{endpoint}",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.terminable", kind, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._channel: grpc.Channel | None = None
        self._threads: list[threading.Thread] = []

    @property
    def calls(self) -> int:
        return sum(self._calls)

    def start(self) -> None:
        port = int(self._read(_ANSWER_SECONDS))
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        for number in range(_CLIENTS):
            thread = threading.Thread(target=self._call_on, args=(number,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def look(self, at: float) -> Row:
        """Ask what the server holds now."""
        row = Row(at, self.calls, self._ask())
        self.rows.append(row)
        return row

    def _ask(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write("?\n")
        self._process.stdin.flush()
        held: dict[str, Any] = json.loads(self._read(_ANSWER_SECONDS))
        return held

    def rest(self) -> None:
        """Call no more, and see what is left when the last shadow has ended."""
        self._over.set()
        for thread in self._threads:
            thread.join(_ANSWER_SECONDS)
        held: dict[str, Any] = {}

        def at_rest() -> bool:
            held.update(self._ask())
            return all(held[name] <= most for name, most in MOST_AT_REST.items())

        if not until(at_rest, _REST_SECONDS):
            left = {name: held[name] for name, most in MOST_AT_REST.items() if held[name] > most}
            self.wrong.append(f"at rest it still holds {left}")

    def end(self) -> dict[str, Any]:
        """Terminate the server and return the account it gives."""
        self._process.send_signal(signal.SIGTERM)
        account: dict[str, Any] = json.loads(self._read(_END_SECONDS))
        if self._process.wait(_END_SECONDS) != 0:
            self.wrong.append(f"the server ended with {self._process.returncode}")
        return account

    def kill(self) -> None:
        """See to it that nothing is left."""
        self._over.set()
        self._process.kill()
        self._process.wait()

    def _read(self, seconds: float) -> str:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            raise RuntimeError(f"{self.name} says nothing")
        return self._process.stdout.readline()

    def _call_on(self, number: int) -> None:
        turn = number
        while not self._over.is_set():
            shape = SHAPES[turn % len(SHAPES)]
            turn += 1
            problem = shape(self._multicallable)
            self._calls[number] += 1
            if problem and not self._over.is_set():
                self.wrong.append(f"{shape.__name__}: {problem}")

    def _multicallable(self, arity: str) -> Any:
        assert self._channel is not None
        return getattr(self._channel, arity)(f"/test.Scripted/{arity}")


Call = Callable[[str], Any]


def unary(call: Call) -> str:
    return "" if call("unary_unary")(script(["send", "x" * 2000]), timeout=30) == b"x" * 2000 else "wrong answer"


def server_stream(call: Call) -> str:
    got = list(call("unary_stream")(script(*[["send", "x" * 100]] * 20), timeout=30))
    return "" if got == [b"x" * 100] * 20 else "wrong answer"


def client_stream(call: Call) -> str:
    messages = iter((script(["read_all"]), *[b"y" * 1000] * 10))
    return "" if call("stream_unary")(messages, timeout=30) == b"read " + b"y" * 1000 else "wrong answer"


def both_streams(call: Call) -> str:
    got = list(call("stream_stream")(iter((script(["read_all"]), *[b"z" * 1000] * 10)), timeout=30))
    return "" if got == [b"read " + b"z" * 1000] * 10 else "wrong answer"


def error(call: Call) -> str:
    return _code(lambda: call("unary_unary")(script(["abort", "NOT_FOUND", "no"]), timeout=30), "NOT_FOUND")


def cancelled_stream(call: Call) -> str:
    """Leave while the handler waits: its batch is in flight (grpc/grpc#43360)."""
    made = call("unary_stream")(script(["send", "one"], ["wait"]), timeout=30)
    first = next(made)
    made.cancel()
    return "" if first == b"one" and made.code() is grpc.StatusCode.CANCELLED else "not cancelled"


def cancelled_conversation(call: Call) -> str:
    made = call("stream_stream")(iter((script(["read"], ["wait"]), b"a")), timeout=30)
    first = next(made)
    made.cancel()
    return "" if first == b"read a" and made.code() is grpc.StatusCode.CANCELLED else "not cancelled"


def timed_out(call: Call) -> str:
    return _code(lambda: call("unary_unary")(script(["wait"]), timeout=0.02), "DEADLINE_EXCEEDED")


def large(call: Call) -> str:
    return "" if len(list(call("unary_stream")(script(["flood", 5]), timeout=30))) == 5 else "wrong answer"


SHAPES: tuple[Callable[[Call], str], ...] = (
    *(unary, server_stream) * 4,
    client_stream,
    both_streams,
    error,
    cancelled_stream,
    cancelled_conversation,
    timed_out,
    large,
)


def _code(make: Callable[[], Any], expected: str) -> str:
    try:
        make()
    except grpc.RpcError as ended:
        return "" if ended.code().name == expected else ended.code().name
    return "OK"


class Collector(grpc.GenericRpcHandler):
    """An OTLP receiver that forgets everything at once."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda request, context: b"")


class Shadows(grpc.GenericRpcHandler):
    """A shadow that answers as it is told, and remembers nothing."""

    def __init__(self, name: str) -> None:
        self._play = SCRIPTS[name]

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        def behaviour(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            yield from self._play(None, requests, context)  # type: ignore[arg-type] # these scripts do not look at it

        return grpc.stream_stream_rpc_method_handler(behaviour)


def serve(stack: ExitStack, handler: grpc.GenericRpcHandler) -> str:
    """Run a server to the end of the soak and return its address."""
    pool = futures.ThreadPoolExecutor(64)
    server = grpc.server(pool, handlers=[handler], options=(("grpc.so_reuseport", 0),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    stack.callback(lambda: server.stop(0).wait())
    return f"127.0.0.1:{port}"


def slope(rows: Sequence[Row]) -> tuple[float, float]:
    """Return the growth of memory in MiB per 10 000 calls, least squares, and its standard error."""
    count = len(rows)
    xs = [row.calls / 10_000 for row in rows]
    ys = [row.rss_mib for row in rows]
    mean_x, mean_y = sum(xs) / count, sum(ys) / count
    spread = sum((x - mean_x) ** 2 for x in xs)
    growth = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread
    rest = sum((y - mean_y - growth * (x - mean_x)) ** 2 for x, y in zip(xs, ys, strict=True))
    return growth, math.sqrt(rest / max(count - 2, 1) / spread)


def verdict(server: Server, account: dict[str, Any]) -> list[str]:
    """Return what is wrong with one server after the run."""
    late = server.rows[len(server.rows) // 4 :]
    growth, error = slope(late)
    print(
        f"{server.name}: {server.calls} calls, RSS {growth:+.2f} ± {2 * error:.2f} MiB per 10 000 calls,"
        f" faults {account['faults'] or 'none'}"
    )
    problems = list(dict.fromkeys(server.wrong))
    if growth - 2 * error > MOST_MIB and growth * (late[-1].calls - late[0].calls) / 10_000 > LEAST_MIB:
        problems.append(f"memory grows by {growth:.2f} MiB per 10 000 calls; {MOST_MIB:g} are allowed")
    middle = server.rows[len(server.rows) // 4 : len(server.rows) // 2]
    last = server.rows[3 * len(server.rows) // 4 :]
    for name, more in MOST_MORE.items():
        before, after = max(row.held[name] for row in middle), max(row.held[name] for row in last)
        if after > before + more:
            problems.append(f"{name} grew from {before} to {after}")
    if account["active"] or account["captured_bytes"]:
        problems.append(f"after the drain: {account['active']} in flight, {account['captured_bytes']} bytes held")
    totals: dict[str, int] = {}
    for _, name, _, _, count in account["funnel"]:
        totals[name] = totals.get(name, 0) + count
    if len(set(totals.values())) != 1:
        problems.append(f"the funnel has different totals per target: {totals}")
    return [f"{server.name}: {problem}" for problem in problems]


COLUMNS = ("rss_mib", "fds", "sockets", "python_threads", "native_threads", "tasks", "aio_calls", "active")


def show(row: Row, name: str) -> None:
    values = [f"{row.rss_mib:.1f}", *(str(row.held[column]) for column in COLUMNS[1:])]
    print(f"{row.at:6.0f} {name:<14}{row.calls:>9}" + "".join(f"{value:>15}" for value in values), flush=True)


def soak(seconds: float, combinations: Sequence[tuple[str, str]]) -> list[str]:
    """Run the traffic and return what was wrong."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        endpoint = serve(stack, Collector())
        addresses = {name: serve(stack, Shadows(name)) for name in ("answering", "resetting")}
        addresses["hanging"] = stack.enter_context(peers.peer(peers.at_each_call(peers.hang)))
        addresses["dead"] = stack.enter_context(peers.refused())
        addresses["guarded"] = addresses["dead"]
        addresses["black-hole"] = stack.enter_context(peers.black_hole())
        addresses["deaf"] = stack.enter_context(peers.stopped_peer())
        guarded = [
            target(address, name, deadline="300ms", rate=RATES.get(name, 1.0)) for name, address in addresses.items()
        ]
        # One has its breaker, which soon leaves it alone; the others are called every time.
        called = [one if one["name"] == "guarded" else unguarded(one) for one in guarded]
        # A server stream of grpc.aio that fails costs 1 KB for good (grpc/grpc#43360, no release mends it), so here
        # the breakers do what they do for users: they bound how many fail.
        settings = Config.model_validate(
            {
                "experiments": [
                    {"name": "server-streams", "methods": ["/test.Scripted/unary_stream"], "targets": guarded},
                    {"name": "others", "methods": ["*"], "targets": called},
                ]
            }
        )
        servers = []
        for number, (kind, carrier) in enumerate(combinations):
            file = directory / f"{number}.yaml"
            file.write_text(with_mirror(settings, carrier=carrier).model_dump_json())
            servers.append(Server(kind, carrier, file, endpoint))
            stack.callback(servers[-1].kill)
        for server in servers:
            server.start()
        print(f"{'s':>6} {'server':<14}{'calls':>9}" + "".join(f"{column:>15}" for column in COLUMNS))
        began = time.monotonic()
        wait = threading.Event()
        for number in range(1, _ROWS + 1):
            wait.wait(max(began + seconds * number / _ROWS - time.monotonic(), 0))
            for server in servers:
                show(server.look(time.monotonic() - began), server.name)
        for server in servers:
            server.rest()
        problems = []
        for server in servers:
            problems += verdict(server, server.end())
        return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--only", help="one server, such as 'aio loop'")
    arguments = parser.parse_args()
    chosen = [pair for pair in WORLDS if arguments.only in (None, " ".join(pair))]
    problems: list[str] = []
    with suppress(KeyboardInterrupt):
        problems = soak(arguments.seconds, chosen)
    for problem in problems:
        print(f"FAILED {problem}")
    print("not flat" if problems else "flat")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
