"""Who gets a unix socket's path: nobody is driven away, and nobody keeps out by being dead."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from shadowmesh.errors import StartError
from shadowmesh.telemetry.local_address import LocalAddress, parse
from shadowmesh.telemetry.local_listener import LocalListener


def listener(path: Path) -> LocalListener:
    return LocalListener(LocalAddress(path=str(path)), backlog=1)


def stale(path: Path) -> None:
    """Leave behind what a killed process leaves."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()


def test_only_its_owner_may_connect(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        listening = listener(tmp_path / "s")
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
        listening.close()
    finally:
        os.umask(before)


def test_closing_removes_the_file_and_twice_is_fine(tmp_path: Path) -> None:
    listening = listener(tmp_path / "s")
    listening.close()
    listening.close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_nobody_listens_behind_is_replaced(tmp_path: Path) -> None:
    stale(tmp_path / "s")
    listening = listener(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
    listening.close()


def test_an_address_somebody_listens_on_is_left_to_them(tmp_path: Path) -> None:
    first = listener(tmp_path / "s")
    with pytest.raises(StartError, match="another process does"):
        listener(tmp_path / "s")
    assert (tmp_path / "s").exists()
    first.close()


def test_somebody_too_busy_to_accept_listens_too(tmp_path: Path) -> None:
    first = LocalListener(LocalAddress(path=str(tmp_path / "s")), backlog=0)
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
        for client in (one, two):
            client.setblocking(False)
            client.connect_ex(str(tmp_path / "s"))
        with pytest.raises(StartError, match="another process does"):
            listener(tmp_path / "s")
    first.close()


def test_a_file_that_is_no_socket_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("mine")
    with pytest.raises(StartError, match="no socket"):
        listener(tmp_path / "s")
    assert (tmp_path / "s").read_text() == "mine"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    stale(tmp_path / "elsewhere")
    (tmp_path / "s").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StartError, match="no socket"):
        listener(tmp_path / "s")
    assert (tmp_path / "elsewhere").exists()


def test_a_directory_that_is_not_there_is_named_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="No such file or directory") as refused:
        listener(tmp_path / "none" / "s")
    assert "\n" not in str(refused.value)


def test_closing_leaves_a_file_that_is_another_process_s_by_now(tmp_path: Path) -> None:
    first = listener(tmp_path / "s")
    (tmp_path / "s").rename(tmp_path / "moved")
    second = listener(tmp_path / "s")
    first.close()
    assert (tmp_path / "s").exists()
    second.close()


def test_who_abandons_it_leaves_the_file_to_the_parent(tmp_path: Path) -> None:
    listening = listener(tmp_path / "s")
    listening.abandon()
    listening.close()
    assert (tmp_path / "s").exists()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_port_is_listened_on_once(host: str) -> None:
    if host == "[::1]" and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    first = LocalListener(parse(f"{host}:0"), backlog=1)
    assert first.address.port != 0
    with pytest.raises(StartError, match="in use"):
        LocalListener(first.address, backlog=1)
    first.close()
