"""What a user may set of alerts: when a candidate is watched with suspicion, and who is told."""

from __future__ import annotations

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from shadowmesh.policy.credentials import FileName
from shadowmesh.settings import Seconds, Settings


class SecretSettings(Settings):
    """
    Where a secret is, never what it is.

    Args:
        file: holds it; white space around it is not part of it. Read again for each alert.
        env: the environment variable that holds it.
    """

    file: FileName | None = None
    env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=256)] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.file is None) is (self.env is None):
            raise ValueError("one of file and env says where the secret is")
        return self


class WebhookSettings(Settings):
    """
    Who is told.

    Args:
        url: where alerts are posted to; private addresses are allowed, redirects are not followed, no proxy is used.
        secret: of the signature; with ``whsec_`` before it, it is base64.
        timeout: of one attempt, from connecting to the status of the answer.
        max_age: how long an alert is offered before it is given up.
        roots: file of PEM certificates to trust, instead of the system's.
    """

    url: SecretStr
    secret: SecretSettings
    timeout: Seconds = 10.0
    max_age: Seconds = 86400.0
    roots: FileName | None = None

    @field_validator("url")
    @classmethod
    def _of_http(cls, url: SecretStr) -> SecretStr:
        text = url.get_secret_value()
        # What is wrong is said without the text, which may be a secret as a whole.
        if not text.isascii() or not text.isprintable() or " " in text or len(text) > 2048:
            raise ValueError("not the URL of a webhook: printable ASCII characters only, 2048 at most")
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise ValueError("not the URL of a webhook") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment or port == 0:
            raise ValueError("not the URL of a webhook: http:// or https://, a host, and no fragment")
        if parts.username is not None:
            raise ValueError("a URL with a password in it: whoever receives an alert knows the sender by its signature")
        return url


class AlertSettings(Settings):
    """
    Alerts about candidates: each change of a verdict's answer, and the alarms of the change detectors.

    Args:
        run_length: pairs between two false alarms of one detector, on average and at least; the lower, the sooner a
            candidate that became worse is noticed.
        repeat_after: where things stay bad, one alarm of a kind in so long is told; the others are counted.
        webhook: who is told; without one, only the log and the metrics are.
    """

    run_length: Annotated[float, Field(strict=True, ge=100_000, le=1e12, allow_inf_nan=False)] = 1e6
    repeat_after: Seconds = 3600.0
    webhook: WebhookSettings | None = None
