"""What a process holds: file descriptors, threads, tasks, gRPC calls and memory, its children included."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import grpc.aio

_LOOK_AGAIN = threading.Event()
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Resources(NamedTuple):
    """Counts at one moment."""

    fds: int
    sockets: int
    python_threads: int
    """
    Threads of Python's, without those of executors: a live server's pool grows with its load, and grpc's own threads
    come and go as it likes.
    """
    tasks: int
    aio_calls: int
    """``grpc.aio`` calls, client side, that have not ended."""


def resources() -> Resources:
    """Count now, after a full garbage collection."""
    gc.collect()
    objects = gc.get_objects()
    return Resources(
        fds=sum(len(_fds(pid)) for pid in processes()),
        sockets=sum(link.startswith("socket:") for pid in processes() for link in _fds(pid)),
        python_threads=sum(not thread.name.startswith("ThreadPoolExecutor") for thread in threading.enumerate()),
        # Asked by exact type: `isinstance` would ask what lazy modules and proxies say of themselves.
        tasks=sum(issubclass(type(it), asyncio.Task) and not it.done() for it in objects),
        aio_calls=sum(issubclass(type(it), grpc.aio.Call) and not it.done() for it in objects),
    )


def processes() -> list[int]:
    """
    Return this process and everything it has started, children of children too.

    Without the database that other tests in this process may have started: it opens files when it likes.
    """
    found = [os.getpid()]
    for pid in found:
        found += [child for child in children(pid) if _name(child) != "postgres"]
    return found


def children(pid: int | None = None) -> list[int]:
    """Return the processes that ``pid`` (by default this one) has started and that have not been waited for."""
    found = []
    for task in _tasks(os.getpid() if pid is None else pid):
        with suppress(OSError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _name(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def rss_bytes() -> int:
    """Return the resident memory of this process and its children."""
    return sum(map(rss_of, processes()))


def rss_of(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return 0


def asleep(pid: int) -> bool:
    """Whether no thread of the process has anything to do; true as well where nobody can tell."""
    states = []
    for task in _tasks(pid):
        with suppress(OSError):
            # Behind the name, which is in parentheses and may hold anything.
            states.append((task / "stat").read_text().rpartition(") ")[2][0])
    return all(state == "S" for state in states)


def polls(pid: int) -> bool:
    """Whether the process has an event loop by now."""
    return any(link.endswith("[eventpoll]") for link in _fds(pid))


def native_threads() -> int:
    """Return the threads of this process and its children, grpc's included."""
    return sum(1 for pid in processes() for _ in _tasks(pid))


def until(condition: Callable[[], bool], timeout: float = 30.0) -> bool:
    """
    Look at something nobody reports, again and again, until it holds; return whether it came to that.

    Often a process must start before, which takes a second here, and ten on a machine that is busy with other tests.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        _LOOK_AGAIN.wait(0.02)
    return True


def _tasks(pid: int) -> Iterator[Path]:
    with suppress(OSError):
        yield from Path(f"/proc/{pid}/task").iterdir()


def _fds(pid: int) -> list[str]:
    links = []
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                links.append(str(entry.readlink()))
    return links
