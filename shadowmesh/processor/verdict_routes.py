"""Verdicts over HTTP, for rollouts: ``GET /v1/verdict`` answers with the document, ``POST /v1/gate`` with a status."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from shadowmesh.errors import StoreError, UnknownNameError
from shadowmesh.processor.verdicts import Verdicts
from shadowmesh.telemetry.faults import Faults
from shadowmesh.verdict.document import PATH, nanoseconds_of, to_document
from shadowmesh.verdict.judgement import Judgement
from shadowmesh.verdict.records import Answer

Allowed = Callable[[Sequence[str]], bool]
"""Whether somebody with these ``authorization`` headers may ask."""

GATE_PATH = "/v1/gate"

_LONGEST_TEXT = 256
_PARAMETERS = ("experiment", "target", "config_digest")
_RETRY_SECONDS = "5"
# What the column of moments can hold.
_LAST_NS = 1 << 63


def verdict_routes(verdicts: Verdicts, *, faults: Faults, allowed: Allowed = lambda _: True) -> list[Route]:
    """
    Return both routes. Each takes ``experiment`` and ``target`` in its query, ``since`` (RFC 3339), which is one
    attempt more, and ``config_digest``, so that nothing answers for a candidate but evidence of this configuration.

    The gate answers 200 where the answer is ``GO``, or what ``answer`` in the query says, and 409 where it is not; a
    body that is sent is not read. Both answer 404 where there are candidates, and none with these names.
    """

    async def asked(request: Request) -> Judgement | Response:
        if not allowed(request.headers.getlist("authorization")):
            return PlainTextResponse("a valid bearer token is needed\n", 401, {"www-authenticate": "Bearer"})
        experiment, target, digest = (request.query_params.get(name) for name in _PARAMETERS)
        if any(len(text) > _LONGEST_TEXT for text in request.query_params.values()):
            return PlainTextResponse("there is no such name\n", 400)
        try:
            since_ns = _nanoseconds(request.query_params.get("since"))
        except (ValueError, TypeError):
            return PlainTextResponse("since is a moment such as 2026-03-01T09:00:00Z\n", 400)
        try:
            found = await verdicts.ask(experiment, target, since_ns)
        except UnknownNameError as error:
            return PlainTextResponse(f"{error}\n", 404)
        except StoreError as error:
            faults.report("verdict", error)
            return PlainTextResponse("the store cannot be read\n", 503, {"retry-after": _RETRY_SECONDS})
        return found if digest is None else found.held_to(digest)

    async def verdict(request: Request) -> Response:
        found = await asked(request)
        return found if isinstance(found, Response) else JSONResponse(to_document(found))

    async def gate(request: Request) -> Response:
        wanted = request.query_params.get("answer", Answer.GO)
        if wanted not in set(Answer):
            return PlainTextResponse(f"answer is one of {', '.join(Answer)}\n", 400)
        found = await asked(request)
        if isinstance(found, Response):
            return found
        return PlainTextResponse(f"{found.answer}: {found.reason}\n", 200 if found.answer == wanted else 409)

    return [Route(PATH, verdict), Route(GATE_PATH, gate, methods=["POST"])]


def _nanoseconds(moment: str | None) -> int | None:
    """Return a moment in nanoseconds since 1970; raises ``ValueError`` where it is none that a pair could be of."""
    if moment is None:
        return None
    nanoseconds = nanoseconds_of(moment)
    if not 0 <= nanoseconds < _LAST_NS:
        raise ValueError(moment)
    return nanoseconds
