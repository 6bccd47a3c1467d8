"""The bytes of the frames that come back from an engine (pure)."""

from __future__ import annotations

import struct

from shadowmesh.mirror.codec_calls import decode_admissions, encode_admissions
from shadowmesh.mirror.frames import Aborted, Credits, Extra, Left, Lost, Outcome, Outcomes, Reported, Settled, State
from shadowmesh.mirror.parts import LENGTH, pack, pack_texts, unpack, unpack_texts
from shadowmesh.policy.budget import Remaining

_LEFT = struct.Struct("<Idd")


def encode_outcome(frame: Outcome) -> bytes:
    """Return the body of an ``Outcome``."""
    return pack_texts(frame.experiment, frame.target)


def decode_outcome(call: int, body: bytes) -> Outcome:
    """Return the ``Outcome`` whose body this is."""
    experiment, target = unpack_texts(body)
    return Outcome(call, experiment, target)


def encode_extra(frame: Extra) -> bytes:
    """Return the body of an ``Extra``."""
    return LENGTH.pack(frame.exchanges) + pack(frame.experiment.encode(), *encode_admissions(frame.admissions))


def decode_extra(call: int, body: bytes) -> Extra:
    """Return the ``Extra`` whose body this is."""
    (exchanges,) = LENGTH.unpack_from(body)
    experiment, *admissions = unpack(body, LENGTH.size)
    return Extra(call, experiment.decode(), decode_admissions(admissions), exchanges)


def encode_lost(frame: Lost) -> bytes:
    """Return the body of a ``Lost``."""
    return LENGTH.pack(frame.exchanges) + pack_texts(frame.experiment, frame.target, frame.reason)


def decode_lost(call: int, body: bytes) -> Lost:
    """Return the ``Lost`` whose body this is."""
    (exchanges,) = LENGTH.unpack_from(body)
    experiment, target, reason = unpack_texts(body, LENGTH.size)
    return Lost(call, experiment, target, reason, exchanges)


def encode_aborted(frame: Aborted) -> bytes:
    """Return the body of an ``Aborted``."""
    return LENGTH.pack(frame.times) + pack_texts(frame.experiment, frame.target, frame.result)


def decode_aborted(call: int, body: bytes) -> Aborted:
    """Return the ``Aborted`` whose body this is."""
    (times,) = LENGTH.unpack_from(body)
    experiment, target, result = unpack_texts(body, LENGTH.size)
    return Aborted(call, experiment, target, result, times)


def encode_state(frame: State) -> bytes:
    """Return the body of a ``State``."""
    return pack_texts(frame.experiment, frame.target, frame.closed)


def decode_state(call: int, body: bytes) -> State:
    """Return the ``State`` whose body this is."""
    experiment, target, closed = unpack_texts(body)
    return State(call, experiment, target, closed)


def encode_outcomes(frame: Outcomes) -> bytes:
    """Return the body of ``Outcomes``."""
    return pack(frame.experiment.encode(), frame.target.encode(), struct.pack(f"<{len(frame.calls)}Q", *frame.calls))


def decode_outcomes(call: int, body: bytes) -> Outcomes:
    """Return the ``Outcomes`` whose body this is."""
    experiment, target, calls = unpack(body)
    return Outcomes(call, experiment.decode(), target.decode(), struct.unpack(f"<{len(calls) // 8}Q", calls))


def encode_credits(frame: Credits) -> bytes:
    """Return the body of ``Credits``."""
    return _encode_amounts(frame.calls, frame.pages)


def decode_credits(call: int, body: bytes) -> Credits:
    """Return the ``Credits`` whose body this is."""
    return Credits(call, *_decode_amounts(body))


def encode_settled(frame: Settled) -> bytes:
    """Return the body of a ``Settled``."""
    return _encode_amounts(frame.calls, frame.exchanges)


def decode_settled(call: int, body: bytes) -> Settled:
    """Return the ``Settled`` whose body this is."""
    return Settled(call, *_decode_amounts(body))


def encode_reported(frame: Reported) -> bytes:
    """Return the body of a ``Reported``."""
    return LENGTH.pack(frame.times) + frame.cause.encode()


def decode_reported(call: int, body: bytes) -> Reported:
    """Return the ``Reported`` whose body this is."""
    (times,) = LENGTH.unpack_from(body)
    return Reported(call, body[LENGTH.size :].decode(), times)


def encode_left(frame: Left) -> bytes:
    """Return the body of a ``Left``."""
    experiment, target, limit, currency, amount, left = frame.remaining
    return _LEFT.pack(frame.worker, amount, left) + pack_texts(experiment, target, limit, currency)


def decode_left(call: int, body: bytes) -> Left:
    """Return the ``Left`` whose body this is."""
    worker, amount, left = _LEFT.unpack_from(body)
    experiment, target, limit, currency = unpack_texts(body, _LEFT.size)
    return Left(call, Remaining(experiment, target, limit, currency, amount, left), worker)


def _encode_amounts(calls: tuple[int, ...], amounts: tuple[int, ...]) -> bytes:
    count = len(calls)
    return struct.pack(f"<{count}Q{count}I", *calls, *amounts)


def _decode_amounts(body: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    count = len(body) // 12
    numbers = struct.unpack(f"<{count}Q{count}I", body)
    return numbers[:count], numbers[count:]
