"""Addresses only this machine can reach; every other one is refused."""

from __future__ import annotations

import socket

import pytest

from shadowmesh.config import parse as parse_config
from shadowmesh.errors import ConfigError
from shadowmesh.telemetry.local_address import LocalAddress, parse


@pytest.mark.parametrize(
    ("text", "address", "family"),
    [
        ("unix:/run/a.sock", LocalAddress(path="/run/a.sock"), socket.AF_UNIX),
        ("unix:///run/a.sock", LocalAddress(path="/run/a.sock"), socket.AF_UNIX),
        ("127.0.0.1:80", LocalAddress(host="127.0.0.1", port=80), socket.AF_INET),
        ("127.9.9.9:0", LocalAddress(host="127.9.9.9"), socket.AF_INET),
        ("LocalHost:80", LocalAddress(host="127.0.0.1", port=80), socket.AF_INET),
        ("[::1]:80", LocalAddress(host="::1", port=80), socket.AF_INET6),
    ],
)
def test_a_local_address_is_what_it_says(text: str, address: LocalAddress, family: int) -> None:
    assert parse(text) == address
    assert address.family == family
    assert parse(str(address)) == address


def test_the_process_id_takes_its_place_in_a_path() -> None:
    assert parse("unix:/run/a-{pid}.sock", pid=71).path == "/run/a-71.sock"
    assert parse("unix:/run/a-{pid}.sock").path == "/run/a-{pid}.sock"


@pytest.mark.parametrize("text", ["0.0.0.0:80", "[::]:80", "192.0.2.7:80", "[2001:db8::1]:80"])
def test_an_address_that_others_could_reach_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="other machines could reach it"):
        parse(text)


@pytest.mark.parametrize(
    "text",
    ["", "unix:", "unix:a\0b", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:70000", "example.com:80", ":80",
     "::1:80", "[127.0.0.1]:80", "/run/a.sock", "127.0.0.1:８０"],
)  # fmt: skip
def test_what_is_no_local_address_is_refused_with_the_forms_there_are(text: str) -> None:
    with pytest.raises(ValueError, match=r"not unix:/path, 127\.0\.0\.1:PORT or"):
        parse(text)


def test_a_path_the_kernel_has_no_room_for_is_refused_with_the_longest_process_id_in_mind() -> None:
    parse("unix:/" + "a" * 102)
    with pytest.raises(ValueError, match="at most 103 bytes"):
        parse("unix:/" + "a" * 103)
    with pytest.raises(ValueError, match="at most 103 bytes"):
        parse("unix:/" + "a" * 96 + "{pid}")


@pytest.mark.parametrize("room", ["telemetry", "processor"])
@pytest.mark.parametrize("address", ["0.0.0.0:9000", "unix:run/a.sock", "tcp://127.0.0.1:1"])
def test_the_configuration_refuses_it_with_the_key(room: str, address: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config(f'{room}: {{status: "{address}"}}', source="mesh.yaml")
    assert str(refused.value).startswith(f"mesh.yaml: {room}.status: ")
    assert "\n" not in str(refused.value)


def test_status_is_off_unless_it_is_asked_for() -> None:
    settings = parse_config("{}")
    assert settings.telemetry.status is None
    assert settings.processor.status is None
