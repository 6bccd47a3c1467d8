"""Why a request is not taken in, and how each protocol says so."""

from __future__ import annotations

from enum import Enum

import grpc

from shadowmesh.errors import ShadowMeshError


class Refusal(Enum):
    """
    A reason, the gRPC status and the HTTP status.

    Which of them make a sender try again is OTLP's rule: UNAVAILABLE, DEADLINE_EXCEEDED and 503 do, the others do not.
    A failure of ours is among the former. The sender keeps what it has, and whatever failed may have been mended; but
    not when the same fails again and again, for then all that is queued behind it would wait for ever.
    """

    MALFORMED = ("malformed", grpc.StatusCode.INVALID_ARGUMENT, 400)
    UNAUTHENTICATED = ("unauthenticated", grpc.StatusCode.UNAUTHENTICATED, 401)
    NOT_FOUND = ("not_found", grpc.StatusCode.UNIMPLEMENTED, 404)
    WRONG_METHOD = ("wrong_method", grpc.StatusCode.UNIMPLEMENTED, 405)
    TOO_LARGE = ("too_large", grpc.StatusCode.RESOURCE_EXHAUSTED, 413)
    UNSUPPORTED = ("unsupported", grpc.StatusCode.INVALID_ARGUMENT, 415)
    TOO_SLOW = ("too_slow", grpc.StatusCode.DEADLINE_EXCEEDED, 503)
    OVERLOADED = ("overloaded", grpc.StatusCode.UNAVAILABLE, 503)
    FAILED = ("failed", grpc.StatusCode.UNAVAILABLE, 503)
    SET_ASIDE = ("set_aside", grpc.StatusCode.INTERNAL, 500)

    def __init__(self, label: str, status: grpc.StatusCode, http: int) -> None:
        self.label = label
        self.status = status
        self.http = http


class RefusedError(ShadowMeshError):
    """
    A request is not taken in. It ends where the request is answered.

    Args:
        message: for the sender; quotes nothing of what was sent.
        retry_after: seconds until sending it again makes sense, where that is known.
    """

    def __init__(self, refusal: Refusal, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.refusal = refusal
        self.retry_after = retry_after
