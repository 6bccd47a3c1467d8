"""What a user may set of the files that live calls are captured to."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from shadowmesh.policy.credentials import FileName
from shadowmesh.policy.headers import refuse_secret
from shadowmesh.policy.routes import check_pattern
from shadowmesh.settings import ByteSize, Seconds, Settings


class CaptureSettings(Settings):
    """
    Writes live calls to files: WHOLE PROMPTS AND ANSWERS, whatever ``experiments[].content`` says. Nothing is written
    without this section; to name a directory is to ask for it.

    Args:
        to: a directory, made where it is not there; its files are its owner's alone.
        methods: ``/pkg.Service/Method``, ``/pkg.Service/*``, ``/pkg.*`` or ``*``; gRPC's own services only when named.
        rate: the share of their calls.
        metadata: keys of inbound metadata that are written: exact, or a prefix followed by ``*``. Never credentials.
        file_bytes: a file that has grown so large is followed by another one.
        max_bytes: of all files together; beyond, the oldest are deleted.
        max_age: a file is deleted when it was last written so long ago; none is written to for more than an hour.
        queue_items: frames of calls that wait for the disk; of more, calls are left out.
        queue_bytes: messages of calls that are open or wait for the disk; of more, calls or messages are left out.
        max_message_bytes: a call with a larger message is written without those of its direction.
        max_call_bytes: the same for all messages of one direction together.
    """

    to: FileName
    methods: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    rate: Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)] = 1.0
    metadata: tuple[str, ...] = ()
    file_bytes: Annotated[ByteSize, Field(ge=4096)] = 64 * 1024 * 1024
    max_bytes: Annotated[ByteSize, Field(ge=4096)] = 1024 * 1024 * 1024
    max_age: Seconds = 86400.0
    queue_items: Annotated[int, Field(ge=1, strict=True)] = 4096
    queue_bytes: ByteSize = 64 * 1024 * 1024
    max_message_bytes: ByteSize = 4 * 1024 * 1024
    max_call_bytes: ByteSize = 16 * 1024 * 1024

    @field_validator("methods")
    @classmethod
    def _patterns(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        for method in methods:
            check_pattern(method)
        return methods

    @field_validator("metadata")
    @classmethod
    def _no_secrets(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for key in keys:
            refuse_secret(key)
        return tuple(key.lower() for key in keys)

    @model_validator(mode="after")
    def _room(self) -> CaptureSettings:
        if self.file_bytes > self.max_bytes:
            raise ValueError("file_bytes of one file are more than max_bytes of all")
        return self
