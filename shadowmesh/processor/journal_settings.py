"""What a user may set of the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from shadowmesh.settings import ByteSize, Seconds, Settings


class JournalSettings(Settings):
    """
    Where requests are kept until what they say is stored, and what a crash may cost.

    An acknowledged request survives the end of the process, kill -9 included, whatever ``sync`` says. A power cut or
    the end of the machine loses of the acknowledged ones:

    - ``always``: none; the disk has confirmed each before it is acknowledged;
    - ``interval``: those of the last ``sync_interval``;
    - ``never``: those the operating system had not written yet, on Linux up to about half a minute's.

    ``max_bytes`` on the disk are a full journal, which refuses requests until older ones are stored. ``segment_bytes``
    is what is deleted at once. ``max_waiting_bytes`` may wait in memory for a disk that is slow. Without ``directory``
    it is where the processor keeps what is its own.
    """

    directory: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    sync: Literal["always", "interval", "never"] = "always"
    sync_interval: Annotated[Seconds, Field(le=60)] = 0.1
    segment_bytes: Annotated[ByteSize, Field(le=1 << 30)] = 64 * 1024 * 1024
    max_bytes: ByteSize = 4 * 1024 * 1024 * 1024
    max_waiting_bytes: Annotated[ByteSize, Field(le=1 << 30)] = 64 * 1024 * 1024

    @property
    def path(self) -> Path:
        """
        The directory.

        Raises:
            ValueError: it was not said, nor filled in by whoever knows a default.
        """
        if self.directory is None:
            raise ValueError("a journal without a directory")
        return Path(self.directory)

    @model_validator(mode="after")
    def _has_room_for_two_segments(self) -> JournalSettings:
        # The one that is written to cannot be deleted, however much of it is stored.
        if self.max_bytes < 2 * self.segment_bytes:
            raise ValueError("max_bytes must be at least twice segment_bytes")
        return self
