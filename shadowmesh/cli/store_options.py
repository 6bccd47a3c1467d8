"""What commands that read a store have in common: its URL, and moments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import typer
from pydantic import TypeAdapter, ValidationError

from shadowmesh.settings import Seconds, complaint
from shadowmesh.store.settings import StoreUrl

_WHEN, _AGO = "a moment (2026-01-31T12:00:00Z; UTC unless it says otherwise)", "how long ago (36h)"
MOMENT = f"{_WHEN} or {_AGO}"
STORE = "sqlite:///relative/path, sqlite:////absolute/path or postgresql://user@host/database."

_EPOCH = datetime.fromtimestamp(0, UTC)
# Every database has integers up to here; who asks for the year 1 or 9999 means all, or nothing.
_LAST_NS = (1 << 63) - 1


def store_url(text: str) -> str:
    """
    Return a store's URL as it is opened.

    Raises:
        BadParameter: it is none; what was given is not repeated, it may hold a password.
    """
    try:
        return TypeAdapter[StoreUrl](StoreUrl).validate_python(text).get_secret_value()
    except ValidationError as error:
        raise typer.BadParameter(complaint(error.errors()[0]), param_hint="--store") from None


def seconds(text: str, option: str) -> float:
    """
    Return a duration such as ``90s`` or ``2h`` in seconds.

    Raises:
        BadParameter: it is none.
    """
    try:
        return TypeAdapter[float](Seconds).validate_python(float(text) if text.isdecimal() else text)
    except ValidationError as error:
        raise typer.BadParameter(f"{text}: {complaint(error.errors()[0])}", param_hint=option) from None


def moment(text: str | None, now_ns: int, option: str) -> int | None:
    """
    Return :data:`MOMENT` in nanoseconds since 1970; ``None`` where none was given.

    Raises:
        BadParameter: it is neither.
    """
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        pass
    else:
        since = (at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH
        return min(max(since // timedelta(microseconds=1) * 1000, 0), _LAST_NS)
    try:
        return now_ns - round(TypeAdapter[float](Seconds).validate_python(text) * 1e9)
    except ValidationError:
        raise typer.BadParameter(f"{text}: neither {_WHEN} nor {_AGO}", param_hint=option) from None
