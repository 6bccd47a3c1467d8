"""
What a status answer says: the shape ``shadowmesh.status/1``.

One JSON object. Times of day are RFC 3339 in UTC, durations are seconds, sizes are bytes. Keys may be added within a
version, so a reader ignores what it does not know; a key that goes or changes its meaning makes version 2. ``null``
is what is unknown here: never 0.

Nothing in it is content: names and addresses from the configuration, counts, and for errors the place and the type
where they were raised.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

SCHEMA: Literal["shadowmesh.status/1"] = "shadowmesh.status/1"


class Shape(BaseModel):
    """Base of every object in the answer."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Funnel(Shape):
    """
    Every exchange the interceptor covered at one target: ``eligible`` = ``mirrored`` + ``not_sampled`` + ``dropped`` +
    ``disabled``, and ``dropped`` = the sum of ``drop_reasons``. ``adds_up`` says whether both hold.
    """

    eligible: int
    mirrored: int
    not_sampled: int
    dropped: int
    disabled: int
    drop_reasons: dict[str, int]
    adds_up: bool


class Fill(Shape):
    """A bounded buffer: how much is in it, and how much may be."""

    used: int
    cap: int


class Limit(Shape):
    """
    What is left of a budget (``per_hour``, ``per_day``, ``total`` in ``currency``; ``tokens``) or of a time-box
    (``pairs``), of this process's part; what is in flight counts as spent.
    """

    name: str
    currency: str | None
    limit: float
    left: float


class Target(Shape):
    """
    A shadow backend of an interceptor. It ``admits`` exchanges, or sheds them all for ``shed_reason``. (Not open and
    closed, which mean the opposite for a breaker.) ``lost`` are exchanges of the funnel whose legs are known to be
    lost, by whom. ``misfits`` are what the self-check has found since the start, with the facts.
    """

    name: str
    kind: str
    address: str
    rate: float
    admits: bool
    shed_reason: str | None
    in_flight: Fill
    funnel: Funnel
    lost: dict[str, int] = {}
    limits: tuple[Limit, ...] = ()
    misfits: dict[str, str] = {}


class SamplingKeys(Shape):
    """
    How the sampling keys of an experiment come: the share of calls, 0 to 1, that the most frequent one makes up,
    ``null`` of too few calls; and how many calls had none.
    """

    top_share: float | None
    missing: int


class Experiment(Shape):
    """An experiment of an interceptor; ``sampling_keys`` is ``null`` where each call is sampled by itself."""

    name: str
    targets: tuple[Target, ...]
    sampling_keys: SamplingKeys | None = None


class Pairs(Shape):
    """
    Span pairs on their way to the exporter, counted from the start: what was handed over was ``exported``, ``dropped``
    for want of room, ``failed`` in the exporter, or is ``waiting``.
    """

    waiting: Fill
    exported: int
    dropped: int
    failed: int


class Buffers(Shape):
    """
    What waits in an interceptor. ``queue`` are frames for the engine, and what has begun may go beyond its cap;
    ``captured_bytes`` are counted in pages; ``pairs`` is ``null`` while this process has no exporter.
    """

    queue: Fill
    captured_bytes: Fill
    pairs: Pairs | None


class Captured(Shape):
    """
    Live calls that were to be captured to files: ``written`` whole, ``incomplete`` where messages did not fit, ``shed``
    by reason, ``failed`` at the disk. ``accepting`` is false where the configuration asks for it no more; ``queue`` and
    ``bytes`` are what waits for the disk.
    """

    accepting: bool
    written: int
    incomplete: int
    failed: int
    shed: dict[str, int]
    queue: Fill
    bytes: Fill


class Carrier(Shape):
    """
    What moves frames to the engine: ``loop``, ``thread`` or ``process``; ``null`` before an interceptor was asked for.

    Of the carrier ``process`` only: ``workers`` that are up, of how many; ``restarts`` of workers; ``unconfirmed``
    calls, which they have not accounted for yet.
    """

    kind: str | None
    running: bool
    workers: Fill | None = None
    restarts: int | None = None
    unconfirmed: int | None = None


class Error(Shape):
    """One cause of errors after the start: its place and type, how often, and when it was seen last."""

    cause: str
    count: int
    last_at: AwareDatetime | None


class Status(Shape):
    """What interceptors and processors both say; ``uptime`` is since ``started_at``, by the monotonic clock."""

    schema_name: Literal["shadowmesh.status/1"] = Field(SCHEMA, alias="schema")
    version: str
    pid: int
    service_name: str | None
    instance_id: str | None
    at: AwareDatetime
    started_at: AwareDatetime
    uptime: float
    errors: tuple[Error, ...]
    errors_left_out: int


class ConfigFile(Shape):
    """
    The configuration file: how often a changed one was ``applied`` or ``refused``, and why what is there now is not in
    force; ``null`` where it is.
    """

    path: str
    watched: bool
    applied: int
    refused: int
    problem: str | None


class InterceptorStatus(Status):
    """
    A mesh in one process. ``harm_guard`` is what the guard reports, ``null`` where there is none; ``config_file`` is
    ``null`` where the mesh was not made from one, ``captured`` where nothing is captured.
    """

    kind: Literal["interceptor"] = "interceptor"
    accepting: bool
    experiments: tuple[Experiment, ...]
    buffers: Buffers
    carrier: Carrier
    harm_guard: dict[str, Any] | None
    config_file: ConfigFile | None = None
    captured: Captured | None = None


class Requests(Shape):
    """
    OTLP requests by answer: ``invalid`` are not OTLP, ``failed`` is the processor's own doing and ``set_aside`` what
    failed too often, ``overloaded`` were told to come again, ``refused`` is everything else, such as a wrong token.
    """

    accepted: int
    invalid: int
    failed: int
    set_aside: int = 0
    overloaded: int = 0
    refused: int = 0


class Paired(Shape):
    """
    One target in a processor: what interceptors said they sent, and what became of it here.

    ``sent`` = ended (the sum of ``outcomes``) + ``waiting`` + ``missing``. What is missing is under way, or lost;
    it is negative while the interceptors' counters are older than their spans. ``adds_up`` is ``missing`` = 0.
    """

    name: str
    funnel: Funnel
    sent: int
    waiting: int
    outcomes: dict[str, int]
    missing: int
    adds_up: bool


class PairedExperiment(Shape):
    """An experiment as a processor saw it."""

    name: str
    targets: tuple[Paired, ...]


class Queue(Shape):
    """What had to go to one endpoint: ``sent``, ``lost`` (not taken there), ``dropped`` (no room), or in ``items``."""

    name: str
    items: Fill
    bytes: Fill
    sent: int
    lost: int
    dropped: int


class Export(Shape):
    """One endpoint of a processor."""

    endpoint: str
    queues: tuple[Queue, ...]


class JournalTroubles(Shape):
    """
    What a journal could not do since the start. Requests refused, to come again: it was ``full``, too much waited for
    its disk (``busy``), or that was ``failing``. Syncs that failed after their requests had been acknowledged
    (``unsynced``). Places that were ``damaged`` when it was read again, and the bytes that are lost there.
    """

    full: int
    busy: int
    failing: int
    unsynced: int
    damaged: int
    damaged_bytes: int


class Storage(Shape):
    """
    Where a processor keeps what it was sent: bytes in the journal and what went wrong there, the place of the store,
    records that wait for it, records it refused for good, whether its last answer was an error, and captured texts that
    came too late to be compared.
    """

    journal: Fill
    journal_troubles: JournalTroubles | None = None
    store: str
    waiting: int
    refused: int
    failing: bool
    late_texts: int = 0


class ProcessorStatus(Status):
    """
    A processor. ``spans`` are all spans received, by what was done with them; ``waiting`` the legs that wait for
    others; ``targets_left_out`` how many targets had no room in the answer.
    """

    kind: Literal["processor"] = "processor"
    listen: str
    requests: Requests
    spans: dict[str, int]
    waiting: Fill
    storage: Storage | None = None
    experiments: tuple[PairedExperiment, ...]
    targets_left_out: int
    exports: tuple[Export, ...]


_EITHER: TypeAdapter[InterceptorStatus | ProcessorStatus] = TypeAdapter(
    Annotated[InterceptorStatus | ProcessorStatus, Field(discriminator="kind")]
)


def read(answer: object) -> InterceptorStatus | ProcessorStatus:
    """
    Return what a decoded answer says.

    Raises:
        ValueError: it is none of version 1.
    """
    return _EITHER.validate_python(answer)


def as_json(status: Status) -> dict[str, Any]:
    """Return a status as JSON can hold it; a number that is none becomes ``null``."""
    # Not all versions of pydantic write a number that is none as ``null``.
    answer: dict[str, Any] = json.loads(status.model_dump_json(by_alias=True), parse_constant=lambda _: None)
    return answer
