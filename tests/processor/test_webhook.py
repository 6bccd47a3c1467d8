"""One alert to a real receiver: what it is sent, how it knows the sender, and what counts as an answer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ssl
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from support.hooks import SILENCE, Receiver
from support.legs import T0
from support.receiving import FILES, ROOTS

from shadowmesh.config import parse
from shadowmesh.errors import ConfigError, StartError
from shadowmesh.processor.alert_settings import WebhookSettings
from shadowmesh.processor.webhook import Webhook, signature
from shadowmesh.telemetry.faults import Faults
from shadowmesh.testing import FakeClock

SECRET = "a secret of some length"
BODY = b'{"id": "1"}'


def webhook(url: str, *, faults: Faults | None = None, wall: FakeClock | None = None, **changes: Any) -> Webhook:
    Path("secret").exists() or Path("secret").write_text(f"{SECRET}\n", encoding="utf-8")
    settings = WebhookSettings.model_validate({"url": url, "secret": {"file": "secret"}} | changes)
    return Webhook(settings, faults=faults or Faults(), wall_ns=wall or FakeClock(T0))


def signed(secret: bytes, headers: dict[str, str], body: bytes) -> bool:
    """Verify as the README says."""
    said = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mine = base64.b64encode(hmac.new(secret, said, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(f"v1,{mine}", one) for one in headers["webhook-signature"].split())


async def test_an_alert_is_a_post_of_json_that_is_signed() -> None:
    wall = FakeClock(T0)
    async with Receiver().listening() as receiver:
        assert await webhook(receiver.url, wall=wall).post("a1", BODY) == 204
        wall.advance(60)
        assert await webhook(receiver.url, wall=wall).post("a1", BODY) == 204
    first, again = receiver.posts
    assert first.line == "POST /hooks?of=mine HTTP/1.1"
    assert first.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert (first.headers["content-type"], first.body) == ("application/json", BODY)
    assert first.headers["webhook-id"] == again.headers["webhook-id"] == "a1"
    # The same alert, at its own time: a receiver may refuse what is older than its patience.
    times = [int(one.headers["webhook-timestamp"]) for one in (first, again)]
    assert times == [T0 // 10**9, T0 // 10**9 + 60]
    assert all(signed(SECRET.encode(), one.headers, one.body) for one in receiver.posts)
    assert not signed(b"another secret", first.headers, first.body)
    assert not signed(SECRET.encode(), first.headers | {"webhook-timestamp": "1"}, first.body)


def test_the_signature_is_that_of_standard_webhooks() -> None:
    # The example of its specification, 1.0.0.
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    said = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
    assert said == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_a_secret_may_change_and_one_that_is_lost_stays_in_force() -> None:
    faults = Faults()
    async with Receiver().listening() as receiver:
        one = webhook(receiver.url, faults=faults)
        Path("secret").write_text("whsec_" + base64.b64encode(b"a changed secret!").decode(), encoding="utf-8")
        await one.post("a1", BODY)
        Path("secret").unlink()
        await one.post("a2", BODY)
    assert all(signed(b"a changed secret!", post.headers, post.body) for post in receiver.posts)
    assert list(faults.totals()) == ["webhook secret: StartError"]


async def test_a_secret_may_be_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    async with Receiver().listening() as receiver:
        await webhook(receiver.url, secret={"env": "HOOK_SECRET"}).post("a1", BODY)
    (post,) = receiver.posts
    assert signed(SECRET.encode(), post.headers, post.body)


async def test_a_redirect_is_not_followed() -> None:
    async with Receiver().listening() as other:
        answer = f"HTTP/1.1 307 Temporary Redirect\r\nlocation: {other.url}\r\ncontent-length: 0\r\n\r\n"
        async with Receiver(answer).listening() as receiver:
            assert await webhook(receiver.url).post("a1", BODY) == 307
        assert other.posts == []


async def test_the_answer_is_what_comes_after_those_that_only_announce_one() -> None:
    answer = "HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n"
    async with Receiver(answer).listening() as receiver:
        assert await webhook(receiver.url).post("a1", BODY) == 202


@pytest.mark.parametrize(
    "answer", [SILENCE, "", "SSH-2.0-OpenSSH\r\n", "HTTP/1.1 abc\r\n", "HTTP/1.1 200" + "x" * 20_000]
)
async def test_what_is_no_answer_is_a_failure_within_the_timeout(answer: str) -> None:
    async with Receiver(answer).listening() as receiver:
        with pytest.raises(OSError):  # noqa: PT011 - whichever
            await webhook(receiver.url, timeout=0.3).post("a1", BODY)


async def test_where_nobody_listens_is_a_failure() -> None:
    async with Receiver().listening() as receiver:
        pass
    with pytest.raises(OSError):  # noqa: PT011 - whichever
        await webhook(receiver.url).post("a1", BODY)


async def test_certificates_are_checked() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FILES / "server.pem", FILES / "server.key")
    async with Receiver().listening(context) as receiver:
        url = f"https://localhost:{receiver.port}/"
        with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer certificate"):
            await webhook(url).post("a1", BODY)
        # One that is to be trusted, and is another's.
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            await webhook(url, roots=ROOTS).post("a1", BODY)
    assert receiver.posts == []


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("short", "not between 16"),
        ("", "not between 16"),
        ("whsec_%%%%", "not base64"),
        (None, "No such file"),
    ],
)
def test_a_secret_that_is_none_stops_the_start(secret: str | None, said: str) -> None:
    if secret is not None:
        Path("other").write_text(secret, encoding="utf-8")
    with pytest.raises(StartError, match=rf"^processor\.alerts\.webhook\.secret\.file: other: .*{said}"):
        webhook("http://127.0.0.1:1/", secret={"file": "other"})


def test_roots_that_are_none_stop_the_start() -> None:
    with pytest.raises(StartError, match=r"^processor\.alerts\.webhook\.roots: secret: "):
        webhook("https://127.0.0.1:1/", roots="secret")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/",
        "http:///path",
        "http://host:99999/",
        "http://host:0/",
        "http://user:word@host/",
        "http://host/#part",
        "http://host/a b",
        "http://host/\r\nx: y",
        "http://hôst/",
        "host:80",
        "http://[::1/",
    ],
)
def test_what_is_no_url_of_a_webhook_is_refused_and_not_repeated(url: str) -> None:
    file = yaml.safe_dump({"processor": {"alerts": {"webhook": {"url": url, "secret": {"env": "A"}}}}})
    with pytest.raises(ConfigError, match=r"^processor\.alerts\.webhook\.url: .*URL") as refused:
        parse(file)
    assert url not in str(refused.value)


def test_a_secret_in_the_wrong_place_is_refused_and_not_repeated() -> None:
    file = yaml.safe_dump({"processor": {"alerts": {"webhook": {"url": "http://host/", "secret": SECRET}}}})
    with pytest.raises(ConfigError, match=r"^processor\.alerts\.webhook\.secret: ") as refused:
        parse(file)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("secret", [{}, {"file": "a", "env": "B"}])
def test_a_secret_is_in_one_place(secret: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="one of file and env"):
        WebhookSettings.model_validate({"url": "http://host/", "secret": secret})
