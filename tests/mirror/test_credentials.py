"""A target's own credentials: read where they are used, renewed when they change, and told to nobody else."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.engines import answer, at, mirror
from support.experiments import CONVERSE, GENERATE, experiment, target

from shadowmesh.config import Config, check_credentials
from shadowmesh.errors import ConfigError
from shadowmesh.mirror.credentials import CallCredentials, CredentialError
from shadowmesh.names import CallEnd
from shadowmesh.policy.credentials import CredentialSettings
from shadowmesh.telemetry.faults import Faults
from shadowmesh.testing import Backend, FakeClock

FILES = Path(__file__).parents[1] / "support" / "tls"
ROOTS, NAME = str(FILES / "roots.pem"), "model.internal"


def read(name: str) -> bytes:
    return (FILES / name).read_bytes()


def server(*, mutual: bool = False) -> grpc.ServerCredentials:
    roots = read("roots.pem") if mutual else None
    pair = (read("server.key"), read("server.pem"))
    return grpc.ssl_server_credentials([pair], root_certificates=roots, require_client_auth=mutual)


class Own:
    """Call credentials with a clock and faults of their own."""

    def __init__(self, *settings: dict[str, Any]) -> None:
        self.clock = FakeClock()
        self.faults = Faults()
        self.credentials = CallCredentials(
            tuple(CredentialSettings.model_validate(one) for one in settings), clock=self.clock, faults=self.faults
        )

    def later(self) -> tuple[tuple[str, str | bytes], ...]:
        self.clock.advance(1.0)
        return self.credentials.metadata()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("first\n")
    return file


def test_a_value_comes_from_its_file_and_follows_it(token: Path) -> None:
    own = Own({"key": "authorization", "file": str(token), "prefix": "Bearer "})
    assert own.credentials.metadata() == (("authorization", "Bearer first"),)
    token.write_text("the second one")
    assert own.credentials.metadata() == (("authorization", "Bearer first"),), "looked at once a second"
    assert own.later() == (("authorization", "Bearer the second one"),)


def test_a_value_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANDIDATE_KEY", "k-1")
    assert Own({"key": "x-api-key", "env": "CANDIDATE_KEY"}).credentials.metadata() == (("x-api-key", "k-1"),)


def test_a_binary_value_is_the_file_byte_for_byte(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(b" \x00\xff\n")
    own = Own({"key": "x-ticket-bin", "file": str(tmp_path / "raw")})
    assert own.credentials.metadata() == (("x-ticket-bin", b" \x00\xff\n"),)


def test_a_file_that_goes_missing_is_a_fault_and_its_last_value_goes_on(token: Path) -> None:
    own = Own({"key": "authorization", "file": str(token)})
    own.credentials.metadata()
    token.unlink()
    assert own.later() == own.later() == (("authorization", "first"),)
    assert own.faults.totals() == {"credentials: CredentialError": 2}
    token.write_text("back again")
    assert own.later() == (("authorization", "back again"),)


def test_a_value_that_never_was_is_an_error(tmp_path: Path) -> None:
    own = Own({"key": "authorization", "file": str(tmp_path / "none")})
    with pytest.raises(CredentialError, match=r"credentials\[0\]\.file: No such file"):
        own.credentials.metadata()


BAD = [b"", b" \n", b"hunter2\nhunter3", b"hunter2\x00", "hünter2".encode()]


@pytest.mark.parametrize("data", BAD, ids=repr)
def test_a_value_no_header_can_carry_is_refused_without_being_repeated(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "token").write_bytes(data)
    with pytest.raises(CredentialError) as caught:
        Own({"key": "authorization", "file": str(tmp_path / "token")}).credentials.metadata()
    assert "nter2" not in str(caught.value)
    assert caught.value.__cause__ is None


# --- at start ----------------------------------------------------------------------------------------------------


def problem(**changes: Any) -> str:
    wrong = Config(experiments=(experiment(target("good"), target("bad", **changes)),))
    with pytest.raises(ConfigError) as caught:
        check_credentials(wrong, source="mesh.yaml")
    return str(caught.value)


def test_what_is_missing_at_start_is_named_by_its_key(token: Path) -> None:
    where = "mesh.yaml: experiments[0].targets[1]."
    good = {"key": "a", "file": str(token)}
    assert problem(credentials=[good, {"key": "b", "file": "/no/file"}]).startswith(
        f"{where}credentials[1].file: No such"
    )
    assert (
        problem(credentials=[{"key": "b", "env": "NO_SUCH_VARIABLE"}])
        == f"{where}credentials[0].env: there is nothing in it"
    )
    assert problem(tls={"roots": "/no/file"}).startswith(f"{where}tls.roots: No such")
    assert problem(tls={"roots": str(token)}) == f"{where}tls.roots: not PEM certificates"
    pair = {"certificate": str(FILES / "client.pem"), "key": str(FILES / "server.key")}
    assert problem(tls=pair).startswith(f"{where}tls.certificate: not a PEM certificate chain with its")
    assert problem(tls=pair | {"key": "/"}).startswith(f"{where}tls.key: Is a directory")


def test_a_whole_set_of_credentials_is_accepted(token: Path) -> None:
    tls = {"roots": ROOTS, "certificate": str(FILES / "client.pem"), "key": str(FILES / "client.key")}
    good = target(tls=tls, credentials=[{"key": "a", "file": str(token)}])
    check_credentials(Config(experiments=(experiment(good, target("plain"), target("roots", tls=True)),)))


# --- in use ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [GENERATE, CONVERSE])
@pytest.mark.parametrize("mutual", [False, True])
async def test_a_target_is_called_with_its_own_certificates_and_credentials(
    token: Path, method: str, mutual: bool
) -> None:
    tls = {"roots": ROOTS, "server_name": NAME}
    if mutual:
        tls |= {"certificate": str(FILES / "client.pem"), "key": str(FILES / "client.key")}
    credentials = [{"key": "authorization", "file": str(token), "prefix": "Bearer "}]
    with Backend(answer, credentials=server(mutual=mutual)) as backend:
        async with mirror(at(backend, tls=tls, credentials=credentials, metadata=["x-*"])) as mirrored:
            mirrored.unary(method=method, metadata=(("authorization", "the client's"), ("x-a", "1")))
            mirrored.done()
            (record,) = await mirrored.recorded()
    assert record.shadows["candidate"].status == "OK"
    sent = dict(backend.calls[0].metadata)
    assert (sent["authorization"], sent["x-a"]) == ("Bearer first", "1")


async def test_what_we_say_of_ourselves_stands_alone(token: Path) -> None:
    with Backend(answer) as backend:
        async with mirror(
            at(backend, credentials=[{"key": "x-who", "file": str(token)}], metadata=["x-*"])
        ) as mirrored:
            await mirrored.play(1, metadata=(("x-who", "the client"), ("x-a", "1")))
    assert [value for key, value in backend.calls[0].metadata if key in ("x-who", "x-a")] == ["1", "first"]


@pytest.mark.parametrize("method", [GENERATE, CONVERSE])
@pytest.mark.parametrize("wrong", [{"tls": True}, {"tls": {"roots": ROOTS}}, {}], ids=repr)
async def test_a_server_that_is_not_the_one_we_trust_gets_no_request(method: str, wrong: dict[str, Any]) -> None:
    with Backend(answer, credentials=server()) as backend:
        async with mirror(at(backend, **wrong)) as mirrored:
            mirrored.unary(method=method)
            mirrored.done()
            (record,) = await mirrored.recorded()
    assert (record.shadows["candidate"].status, backend.calls) == ("UNAVAILABLE", [])


@pytest.mark.parametrize("protocol", [None, "raw"])
async def test_a_credential_that_is_missing_later_is_a_counted_fault_and_a_leg_that_says_so(
    tmp_path: Path, protocol: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    missing: Any = {"credentials": [{"key": "authorization", "file": str(tmp_path / "none")}]}
    with Backend(answer) as backend, caplog.at_level(logging.DEBUG):
        settings = experiment(target(address=backend.address, **missing), protocol=protocol)
        async with mirror(settings) as mirrored:
            mirrored.unary()
            assert mirrored.outcomes() == {(1, "candidate"): 1}
            mirrored.done()
            (record,) = await mirrored.recorded()
            (tmp_path / "none").write_text("there now")
            await mirrored.play(2)
    assert (record.shadows["candidate"].end, len(backend.calls)) == (CallEnd.CUT, 1)
    assert mirrored.faults.totals() == {"shadow start: CredentialError": 1}
