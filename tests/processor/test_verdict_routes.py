"""``/v1/verdict`` and ``/v1/gate``: the same answers as the command gives, for those who roll out."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import subprocess
from asyncio import to_thread
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.evidence import configured, of, pairs, plan_of, stored
from support.legs import T0
from support.receiving import receiving

from shadowmesh.cli.ask_processor import ask
from shadowmesh.cli.main import main
from shadowmesh.errors import StartError
from shadowmesh.processor.receiver import Receiver
from shadowmesh.processor.verdict_routes import verdict_routes
from shadowmesh.processor.verdicts import Verdicts
from shadowmesh.telemetry.faults import Faults
from shadowmesh.testing import FakeClock
from shadowmesh.verdict.document import from_document
from shadowmesh.verdict.plan import Plan
from shadowmesh.verdict.records import Answer

NOW = T0 + 3600 * 10**9


class Answered(NamedTuple):
    status: int
    headers: Any
    body: bytes


async def request(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> Answered:
    def send() -> Answered:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Answered(response.status, response.headers, response.read())
        finally:
            connection.close()

    # Threads of its own: the routes need one of the loop's, however many clients there are.
    with ThreadPoolExecutor(1) as clients:
        return await asyncio.get_running_loop().run_in_executor(clients, send)


async def get(port: int, query: str = "", **headers: str) -> Answered:
    return await request(port, "GET", f"/v1/verdict{query}", None, **headers)


async def post(port: int, query: str = "", body: bytes | None = b"{}") -> Answered:
    return await request(port, "POST", f"/v1/gate{query}", body)


class Processor:
    """What a test asks: a store, a plan of its candidates, and the routes over both."""

    def __init__(self, directory: Path) -> None:
        self.url = f"sqlite:///{directory}/pairs.db"
        self.plan = plan_of(configured(directory, "good", "bad"))
        self.clock = FakeClock()
        self.faults = Faults()

    def fill(self, *, good: int = 1500, bad: int = 1500) -> None:
        stored(
            self.url,
            pairs(good, target="good", **of(self.plan, "good")),
            pairs(bad, target="bad", slower=2.5, **of(self.plan, "bad")),
        )

    def routes(self, *plans: Plan, **options: Any) -> tuple[Any, ...]:
        verdicts = Verdicts(self.url, plans or (self.plan,), wall_ns=lambda: NOW, monotonic_ns=self.clock)
        return tuple(verdict_routes(verdicts, faults=self.faults, **options))


@pytest.fixture
def processor(tmp_path: Path) -> Processor:
    """One without a store."""
    return Processor(tmp_path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a store in which one candidate is good and one is bad."""
    directory = tmp_path_factory.mktemp("store")
    Processor(directory).fill()
    return directory


@pytest.fixture
def full(store: Path) -> Processor:
    """One with that store."""
    return Processor(store)


async def test_the_verdict_is_the_document_that_the_command_prints(
    full: Processor, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with receiving(routes=full.routes()) as receiver:
        answer = await get(receiver.http_port)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    main(("gate", "--store", full.url, "--config", str(store / "shadowmesh.yaml"), "--json"))
    ours, theirs = json.loads(answer.body), json.loads(capsys.readouterr().out)
    assert (ours["schema"], ours["answer"], ours["at"]) == ("shadowmesh.verdict/1", "NO_GO", "2023-11-14T23:13:20Z")
    # The command looks at the clock.
    assert [one["answer"] for one in ours["verdicts"]] == [one["answer"] for one in theirs["verdicts"]]
    assert [one["target"] for one in ours["verdicts"]] == [one["target"] for one in theirs["verdicts"]]


async def test_each_candidate_can_be_asked_for_alone(full: Processor) -> None:
    async with receiving(routes=full.routes()) as receiver:
        for target, answer in (("good", "GO"), ("bad", "NO_GO")):
            found = json.loads((await get(receiver.http_port, f"?experiment=summaries&target={target}")).body)
            assert (found["answer"], [one["target"] for one in found["verdicts"]]) == (answer, [target])
        unknown = await get(receiver.http_port, "?experiment=other")
        assert (unknown.status, unknown.body) == (404, b"there is no experiment other, only summaries\n")


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("?target=good", 200, b"GO: "),
        ("?target=bad", 409, b"NO_GO: "),
        ("", 409, b"NO_GO: summaries/bad: "),
        ("?experiment=other", 404, b"there is no experiment other, only summaries\n"),
        ("?target=other", 404, b"there is no candidate other, only "),
        ("?target=bad&answer=NO_GO", 200, b"NO_GO: "),
        ("?target=good&answer=NO_GO", 409, b"GO: "),
        ("?experiment=other&answer=NO_GO", 404, b"there is no experiment other"),
        ("?answer=PERHAPS", 400, b"answer is one of GO, NO_GO, NOT_YET"),
        (f"?target={'x' * 300}", 400, b"there is no such name"),
        ("?since=yesterday", 400, b"since is a moment such as "),
        ("?since=2023-01-01", 400, b"since is a moment such as "),
        ("?since=0001-01-01T00:00:00Z", 400, b"since is a moment such as "),
        ("?since=9999-01-01T00:00:00Z", 400, b"since is a moment such as "),
    ],
)
async def test_the_gate_opens_for_go_or_for_what_is_asked_for(
    full: Processor, query: str, status: int, says: bytes
) -> None:
    async with receiving(routes=full.routes()) as receiver:
        answer = await post(receiver.http_port, query)
    assert (answer.status, answer.body[: len(says)]) == (status, says)


async def test_nothing_answers_for_another_configuration(full: Processor) -> None:
    async with receiving(routes=full.routes()) as receiver:
        right, wrong = f"config_digest={full.plan.config_digest}", "config_digest=000000000000"
        assert (await post(receiver.http_port, f"?target=good&{right}")).status == 200
        assert (await post(receiver.http_port, f"?target=good&{wrong}")).status == 409
        assert (await post(receiver.http_port, f"?target=bad&answer=NO_GO&{wrong}")).status == 409
        assert json.loads((await get(receiver.http_port, f"?{wrong}")).body)["answer"] == "NOT_YET"


async def test_a_beginning_that_is_asked_for_is_one_attempt_more(full: Processor) -> None:
    """The moment after the last pair leaves none."""
    async with receiving(routes=full.routes()) as receiver:
        whole, early, late = [
            json.loads((await get(receiver.http_port, f"?target=good{since}")).body)
            for since in ("", "&since=2023-01-01T00:00:00Z", "&since=2023-11-14T23:13:20Z")
        ]
    assert [found["since"] for found in (whole, early)] == [None, "2023-01-01T00:00:00Z"]
    (of_whole,), (of_early,) = whole["verdicts"], early["verdicts"]
    assert of_early["pairs"] == of_whole["pairs"] > 0
    assert (of_whole["alpha"], of_early["alpha"]) == (0.05, 0.025)
    assert (late["answer"], late["verdicts"][0]["pairs"]) == ("NOT_YET", 0)


async def test_a_body_is_not_looked_at(full: Processor) -> None:
    async with receiving(routes=full.routes()) as receiver:
        for body in (None, b"", b"{not json", b"x" * 100_000):
            assert (await post(receiver.http_port, "?target=good", body)).status == 200


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/verdict"), ("GET", "/v1/gate")])
async def test_each_has_its_method(processor: Processor, method: str, path: str) -> None:
    async with receiving(routes=processor.routes()) as receiver:
        assert (await request(receiver.http_port, method, path)).status == 405


async def test_a_verdict_holds_for_some_seconds(processor: Processor) -> None:
    processor.fill(good=100, bad=0)
    async with receiving(routes=processor.routes()) as receiver:

        async def count() -> int:
            (found,) = from_document(json.loads((await get(receiver.http_port, "?target=good")).body)).verdicts
            return found.pairs

        assert await count() == 100
        stored(processor.url, pairs(50, target="good", start=100, **of(processor.plan, "good")))
        processor.clock.advance(4.9)
        assert await count() == 100
        processor.clock.advance(0.2)
        assert await count() == 150


async def test_many_who_ask_at_once_are_answered_one_after_the_other(processor: Processor) -> None:
    processor.fill(good=100, bad=0)
    async with receiving(routes=processor.routes()) as receiver:
        names = [f"?target={name}" for name in ("good", *(f"t{number}" for number in range(80)))]
        answers = await asyncio.gather(*(get(receiver.http_port, name) for name in names))
    assert [one.status for one in answers] == [200] + [404] * 80


async def test_a_store_that_cannot_be_read_is_503_and_counted(processor: Processor) -> None:
    async with receiving(routes=processor.routes()) as receiver:
        for answer in (await get(receiver.http_port), await post(receiver.http_port)):
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
            assert answer.body == b"the store cannot be read\n"
    assert processor.faults.totals() == {"verdict: StoreError": 2}


async def test_who_may_not_send_may_not_ask(processor: Processor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDERS", "right")
    processor.fill(good=10, bad=0)
    receivers: list[Receiver] = []

    def known(authorization: Sequence[str]) -> bool:
        return receivers[0].knows(authorization)

    async with receiving(routes=processor.routes(allowed=known), bearer_token={"env": "SENDERS"}) as receiver:
        receivers.append(receiver)
        assert (await get(receiver.http_port)).status == 401
        assert (await post(receiver.http_port)).status == 401
        assert (await get(receiver.http_port, authorization="Bearer wrong")).status == 401
        assert (await get(receiver.http_port, authorization="Bearer right")).status == 200


async def test_the_command_asks_a_processor(
    full: Processor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with receiving(routes=full.routes()) as receiver:
        for target, code in (("good", 0), ("bad", 1), ("nobody", 64)):
            command = ("gate", "--processor", f"127.0.0.1:{receiver.http_port}", "--target", target)
            assert await to_thread(main, command) == code
        since = ("gate", "--processor", f"127.0.0.1:{receiver.http_port}", "--target", "good", "--since", "2023-01-01")
        printed = capsys.readouterr()
        await to_thread(main, (*since, "--json"))
        assert json.loads(capsys.readouterr().out)["since"] == "2023-01-01T00:00:00Z"
    assert printed.out.startswith("good of summaries: GO")
    assert printed.err == "shadowmesh: there is no candidate nobody, only bad, good\n"
    port = receiver.http_port or 1
    assert await to_thread(main, ("gate", "--processor", f"127.0.0.1:{port}")) == 69
    assert "nobody answers at" in capsys.readouterr().err


def certified(directory: Path) -> tuple[Path, Path]:
    """Return a certificate for ``localhost`` that vouches for itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    certificate, key = directory / "localhost.pem", directory / "localhost.key"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=60)
    return certificate, key


async def test_the_command_comes_by_tls_with_a_token(
    full: Processor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENDERS", "right")
    token = tmp_path / "token"
    token.write_text("right\n")
    receivers: list[Receiver] = []

    def known(authorization: Sequence[str]) -> bool:
        return receivers[0].knows(authorization)

    certificate, private = certified(tmp_path)
    tls = {"certificate": str(certificate), "key": str(private)}
    secured: dict[str, Any] = {"bearer_token": {"env": "SENDERS"}, "tls": tls}
    async with receiving(routes=full.routes(allowed=known), **secured) as receiver:
        receivers.append(receiver)
        address = f"https://localhost:{receiver.http_port}"
        found = await to_thread(lambda: ask(address, target="good", token=token, roots=certificate))
        assert found.answer is Answer.GO
        with pytest.raises(StartError, match="401"):
            await to_thread(lambda: ask(address, roots=certificate))
        with pytest.raises(StartError, match="nobody answers"):
            await to_thread(lambda: ask(address, token=token))


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("ftp://127.0.0.1:1", "neither host:port"),
        ("127.0.0.1:port", "127.0.0.1:port"),
        ("http://[::1", "Invalid IPv6"),
        ("127.0.0.1:1", "nobody answers at 127.0.0.1:1"),
    ],
)
def test_what_is_no_processor_is_said_in_a_line(address: str, says: str) -> None:
    with pytest.raises(StartError, match=says):
        ask(address)


async def test_what_answers_with_something_else_is_no_processor() -> None:
    async with receiving() as receiver:
        # Where the routes are not, OTLP says that it knows no such path.
        with pytest.raises(StartError, match="404"):
            await to_thread(lambda: ask(f"127.0.0.1:{receiver.http_port}"))


def test_a_token_that_is_none_is_said_before_anybody_is_asked(tmp_path: Path) -> None:
    for file in (tmp_path / "none", tmp_path / "empty"):
        (tmp_path / "empty").write_text("\n")
        with pytest.raises(StartError, match=str(file)):
            ask("127.0.0.1:1", token=file)
