"""Which endpoints are this very processor."""

from __future__ import annotations

import socket

import pytest

from shadowmesh.errors import StartError
from shadowmesh.processor.endpoints import port_of, refuse_self, target_of

PORT = 24317


@pytest.mark.parametrize(
    "endpoint",
    [
        "localhost:24317",
        "LOCALHOST:24317",
        "localhost.:24317",
        "http://localhost:24317",
        "https://localhost:24317/",
        "127.0.0.1:24317",
        "http://127.1.2.3:24317",
        "[::1]:24317",
        "http://[::1]:24317",
        "0.0.0.0:24317",
        "http://[::]:24317",
        "dns:///localhost:24317",
        "dns:localhost:24317",
        "ipv4:127.0.0.1:24317",
        "ipv6:[::1]:24317",
        f"http://{socket.gethostname()}:24317",
        f"{socket.gethostname().upper()}:24317",
        "http://user@localhost:24317/v1/traces",
        "http://:24317",
        "http://[::ffff:127.0.0.1]:24317",
    ],
)
def test_every_spelling_of_our_own_port_is_refused(endpoint: str) -> None:
    with pytest.raises(StartError, match="this processor itself") as error:
        refuse_self(endpoint, PORT)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        "localhost:4317",
        "http://localhost",
        "collector:24317",
        "http://192.0.2.7:24317",
        "http://[2001:db8::1]:24317",
        "http://localhost:no-port",
        "unix:/run/otel.sock",
    ],
)
def test_other_ports_and_other_machines_are_not_ourselves(endpoint: str) -> None:
    refuse_self(endpoint, PORT)


def test_an_endpoint_without_a_port_means_otlps_own() -> None:
    with pytest.raises(StartError):
        refuse_self("http://localhost", 4317)


@pytest.mark.parametrize(("address", "port"), [("127.0.0.1:24317", 24317), ("[::]:1", 1), ("localhost:0", 0)])
def test_the_port_of_an_address(address: str, port: int) -> None:
    assert port_of(address) == port


@pytest.mark.parametrize(
    ("endpoint", "target"),
    [
        ("http://collector:4317", "collector:4317"),
        ("https://collector:4317/x", "collector:4317"),
        ("collector:4317", "collector:4317"),
        ("unix:/run/otel.sock", "unix:/run/otel.sock"),
        ("dns:///collector:4317", "dns:///collector:4317"),
    ],
)
def test_the_grpc_target_of_an_endpoint(endpoint: str, target: str) -> None:
    assert target_of(endpoint) == target
