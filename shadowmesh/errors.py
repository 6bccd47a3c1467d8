"""
Every exception ShadowMesh raises on purpose.

    ShadowMeshError
    ├── ConfigError        the configuration is wrong; names the file and the key path
    ├── StartError         something outside the configuration stops the start (a taken port, a missing package)
    ├── LoopError          a blocking call from the event loop it would wait for
    ├── FrameError         bytes on the carrier boundary are not a frame
    ├── ProtocolMapError   a protocol map or its descriptors cannot be used
    ├── DecodeError        bytes from the wire are not what their method promises
    ├── OverloadedError    nothing can be taken in now; says when to ask again
    ├── SetAsideError      a request failed again and again, for a fault of ours, and is not to be sent again
    ├── UnknownNameError   there is neither evidence nor a plan of what was asked for by name
    └── StoreError         the store cannot be opened, or cannot do what it was asked for now
        └── LedgerError    a ledger in it is damaged, or of another version

After start nothing here is raised into a live call: errors of the mirror side are counted and logged once
per cause where they happen.
"""


class ShadowMeshError(Exception):
    """Base of all ShadowMesh exceptions."""


class ConfigError(ShadowMeshError):
    """
    The configuration cannot be used; nothing has been started.

    Args:
        problem: what is wrong, one clause without a full stop.
        source: the file (or other origin) of the configuration, empty when it has none.
        key: path of the wrong key, for example ``experiments[0].targets[1].rate``; empty for the whole file.
    """

    def __init__(self, problem: str, *, source: str = "", key: str = "") -> None:
        super().__init__(": ".join(part for part in (source, key, problem) if part))
        self.problem = problem
        self.source = source
        self.key = key


class StartError(ShadowMeshError):
    """The environment does not allow the start: a taken port, a missing optional package, an endpoint of our own."""


class LoopError(ShadowMeshError, RuntimeError):
    """A blocking call was made in the very event loop that it would have to wait for."""


class FrameError(ShadowMeshError):
    """Bytes on the carrier boundary are not a well-formed frame."""


class ProtocolMapError(ShadowMeshError):
    """A protocol map or the descriptors behind it cannot be used."""


class DecodeError(ShadowMeshError):
    """Bytes from the wire do not parse as the message their method promises."""


class OverloadedError(ShadowMeshError):
    """
    A request cannot be taken in now and nothing of it was; the sender is to come back.

    Args:
        problem: what is full or failing, one clause without a full stop.
        retry_after: seconds until asking again makes sense.
    """

    def __init__(self, problem: str, *, retry_after: float) -> None:
        super().__init__(problem)
        self.retry_after = retry_after


class SetAsideError(ShadowMeshError):
    """A request failed again and again, for a fault of ours; it is kept for people, and not to be sent again."""


class UnknownNameError(ShadowMeshError):
    """Neither evidence nor a plan is there of the experiment or target that was asked for; names what there is."""


class StoreError(ShadowMeshError):
    """
    The store failed; nothing of what was asked for was done, unless it says so.

    Args:
        problem: where and what, one clause without a full stop and without secrets.
        retryable: whether the same may succeed later: a lock, a full disk, a lost connection.
    """

    def __init__(self, problem: str, *, retryable: bool = False) -> None:
        super().__init__(problem)
        self.retryable = retryable


class LedgerError(StoreError):
    """A ledger in the store is damaged, or of another version; its processor makes it anew from the pairs."""
