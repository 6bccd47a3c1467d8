"""Settings of a target's own credentials: they say where a value is, and are refused where it would be exposed."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from support.experiments import experiment, target

from shadowmesh.policy.credentials import CredentialSettings, TlsSettings
from shadowmesh.policy.experiment import TargetSettings

TOKEN = {"key": "authorization", "file": "/run/token"}


def settings(**changes: Any) -> TargetSettings:
    return experiment(target(**changes)).targets[0]


def test_tls_is_a_word_or_the_settings() -> None:
    assert not settings().tls
    assert settings(tls=True).tls == TlsSettings()
    assert settings(tls={"roots": "a.pem"}).tls.roots == "a.pem"
    assert settings(tls={"certificate": "c", "key": "k", "server_name": "model.internal"}).tls
    again = TargetSettings.model_validate_json(settings(tls={"roots": "a.pem"}).model_dump_json())
    assert again.tls == TlsSettings(roots="a.pem")
    assert not TargetSettings.model_validate_json(settings().model_dump_json()).tls


def test_a_credential_is_a_key_and_where_its_value_is() -> None:
    (one, other) = settings(
        credentials=[{**TOKEN, "prefix": "Bearer "}, {"key": "X-Api-Key", "env": "KEY"}]
    ).credentials
    assert (one.key, one.file, one.env, one.prefix) == ("authorization", "/run/token", None, "Bearer ")
    assert (other.key, other.file, other.env, other.plaintext) == ("x-api-key", None, "KEY", False)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"tls": "maybe"}, "tls"),
    ({"tls": {"rots": "a"}}, "rots"),
    ({"tls": {"certificate": "a"}}, "tls"),
    ({"tls": {"key": "a"}}, "tls"),
    ({"tls": {"enabled": False, "roots": "a"}}, "tls"),
    ({"tls": {"server_name": "a b"}}, "server_name"),
    ({"credentials": [{"key": "a"}]}, "credentials"),
    ({"credentials": [{**TOKEN, "env": "A"}]}, "credentials"),
    ({"credentials": [{**TOKEN, "value": "hunter2"}]}, "value"),
    ({"credentials": [{"key": "a", "env": "s3cr3t-value"}]}, "env"),
    ({"credentials": [{"key": "a b", "file": "f"}]}, "key"),
    ({"credentials": [{"key": "traceparent", "file": "f"}]}, "key"),
    ({"credentials": [{"key": "grpc-timeout", "file": "f"}]}, "key"),
    ({"credentials": [{"key": "x-shadowmesh-role", "file": "f"}]}, "key"),
    ({"credentials": [{"key": "a-bin", "file": "f", "prefix": "x"}]}, "credentials"),
    ({"credentials": [TOKEN, TOKEN]}, "credentials"),
]


@pytest.mark.parametrize(("changes", "where"), WRONG, ids=lambda value: repr(value)[:60])
def test_what_is_wrong_is_named_by_its_key(changes: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(**changes)
    assert where in caught.value.errors()[0]["loc"]


LOCAL = ["127.0.0.1:1", "localhost:50051", "[::1]:1", "unix:/run/x.sock", "dns:///localhost:1", "ipv4:127.0.0.1:1"]
REMOTE = ["model:1", "10.0.0.1:1", "dns:///model:1", "localhost.example.org:1", "127.0.0.1.example.org:1"]


@pytest.mark.parametrize("address", LOCAL)
def test_credentials_may_go_to_the_same_machine_in_the_clear(address: str) -> None:
    assert settings(address=address, credentials=[TOKEN]).credentials


@pytest.mark.parametrize("address", REMOTE)
def test_credentials_never_cross_a_network_in_the_clear_unless_that_is_said(address: str) -> None:
    with pytest.raises(ValidationError, match="authorization would be sent in the clear"):
        settings(address=address, credentials=[TOKEN])
    assert settings(address=address, credentials=[TOKEN], tls=True).credentials
    assert settings(address=address, credentials=[{**TOKEN, "plaintext": True}]).credentials


def test_other_credentials_are_the_same_evidence_and_another_root_is_not() -> None:
    assert settings(credentials=[TOKEN]).digest == settings().digest
    assert settings(tls={"roots": "a"}).digest != settings(tls=True).digest


def test_a_credential_says_nothing_of_its_value() -> None:
    assert set(CredentialSettings.model_fields) == {"key", "file", "env", "prefix", "plaintext"}
