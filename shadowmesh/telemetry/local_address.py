"""
Addresses that only this machine can reach: a unix socket, or a TCP port on the loopback interface.

Whoever may read the status of a model server must be on its machine, so any other address is refused where it is
written, not where it is bound. ``localhost`` means 127.0.0.1 and is never looked up: a name may resolve to anything.
"""

from __future__ import annotations

import os
import socket
from ipaddress import ip_address
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field

_UNIX = "unix:"
_PID = "{pid}"
_LONGEST_PID = "4194304"
# What the kernel has room for; macOS has the least.
_LONGEST_PATH = 103
_LAST_PORT = 65535
_FORMS = "not unix:/path, 127.0.0.1:PORT or [::1]:PORT"


class LocalAddress(NamedTuple):
    """A unix socket's ``path``, or a loopback ``host`` and ``port``."""

    path: str = ""
    host: str = ""
    port: int = 0

    @property
    def family(self) -> socket.AddressFamily:
        """The family of its sockets."""
        if self.path:
            return socket.AF_UNIX
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def place(self) -> str | tuple[str, int]:
        """What its sockets are bound and connected to."""
        return self.path or (self.host, self.port)

    def __str__(self) -> str:
        if self.path:
            return f"{_UNIX}{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(text: str, *, pid: int | None = None) -> LocalAddress:
    """
    Return what an address says.

    Args:
        pid: takes the place of ``{pid}`` in the path of a unix socket.

    Raises:
        ValueError: it is no address, or one that other machines could reach.
    """
    if text.startswith(_UNIX):
        return LocalAddress(path=_path(text.removeprefix(_UNIX), pid))
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > _LAST_PORT:
        raise ValueError(_FORMS)
    return LocalAddress(host=_loopback(host), port=int(port))


def _path(path: str, pid: int | None) -> str:
    if path.startswith("//"):
        # gRPC's way to write an absolute path.
        path = "/" + path.lstrip("/")
    if not path or "\0" in path:
        raise ValueError(_FORMS)
    longest = path.replace(_PID, _LONGEST_PID)
    if len(os.fsencode(longest)) > _LONGEST_PATH:
        raise ValueError(f"the path of a unix socket has at most {_LONGEST_PATH} bytes")
    return path if pid is None else path.replace(_PID, str(pid))


def _loopback(host: str) -> str:
    if host.lower() == "localhost":
        return "127.0.0.1"
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ip_address(host[1:-1] if bracketed else host)
    except ValueError as error:
        raise ValueError(_FORMS) from error
    if bracketed != (address.version == 6):
        raise ValueError(_FORMS)
    if not address.is_loopback:
        raise ValueError("other machines could reach it: only unix:/path and the loopback addresses are allowed")
    return str(address)


def _check(text: str) -> str:
    if parse(text).path and not text.startswith(f"{_UNIX}/"):
        raise ValueError("the path of a unix socket must be absolute")
    return text


StatusAddress = Annotated[str, Field(max_length=512), AfterValidator(_check)]
"""``unix:/path``, in which ``{pid}`` stands for the process id, or a loopback ``127.0.0.1:PORT``; port 0 is any."""
