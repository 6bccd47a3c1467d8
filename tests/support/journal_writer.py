"""
A process that appends to a journal until it is killed, and prints what was acknowledged.

    python journal_writer.py DIRECTORY JSON          settings beside the directory, as JSON

Each line of its input is a number: that many appends at once. It answers with a line per acknowledged one,
``<position> <payload>``, one ``refused`` per refused one, and an empty line. ``limit N`` lets no file grow beyond N
bytes and ``limit`` lets all grow again.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from itertools import count

from shadowmesh.errors import OverloadedError
from shadowmesh.processor.journal import Journal
from shadowmesh.processor.journal_format import Kind
from shadowmesh.processor.journal_settings import JournalSettings
from shadowmesh.telemetry.faults import Faults


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def append(journal: Journal, payload: str) -> None:
    try:
        position = await journal.append(Kind.TRACES, payload.encode())
    except OverloadedError:
        say("refused")
    else:
        say(f"{position} {payload}")


async def main() -> None:
    journal = Journal(JournalSettings(directory=sys.argv[1], **json.loads(sys.argv[2])), faults=Faults())
    numbers = count()
    say("ready")
    while line := await asyncio.to_thread(sys.stdin.readline):
        word, _, limit = line.strip().partition(" ")
        if word == "limit":
            most = int(limit) if limit else resource.RLIM_INFINITY
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
        else:
            await asyncio.gather(*(append(journal, f"{next(numbers)}-{'x' * 50}") for _ in range(int(word))))
        say("")
    await journal.close()


if __name__ == "__main__":
    asyncio.run(main())
