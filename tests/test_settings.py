"""The units that settings share, and what every settings model refuses."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shadowmesh.settings import ByteSize, Endpoint, ListenAddress, Name, Seconds, Settings, TargetAddress


class Units(Settings):
    seconds: Seconds = 1.0
    size: ByteSize = 1
    name: Name = "n"
    address: TargetAddress = "a:1"
    listen: ListenAddress = "a:1"
    endpoint: Endpoint = "http://a"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5), ("10s", 10), ("2m", 120), ("1h", 3600), ("1d", 86400), ("250us", 0.00025), ("1.5s", 1.5),
        (" 10 s ", 10), (10, 10), (0.25, 0.25),
    ],
)  # fmt: skip
def test_a_duration_is_a_quantity_or_a_number_of_seconds(text: Any, seconds: float) -> None:
    assert Units.model_validate({"seconds": text}).seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "size"),
    [("64KiB", 65536), ("4MiB", 4 << 20), ("1GiB", 1 << 30), ("7", 7), ("7B", 7), ("1.5KiB", 1536), (9, 9)],
)
def test_a_size_is_a_quantity_or_a_number_of_bytes(text: Any, size: int) -> None:
    found = Units.model_validate({"size": text}).size
    assert (found, type(found)) == (size, int)


@pytest.mark.parametrize(
    "value",
    ["", "s", "10", "10 parsecs", "10S", "-1s", "1e3s", "1,5s", "ten", 0, "0s", -1, True, None, [1], float("nan"),
     float("inf"), "9" * 400 + "s"],
)  # fmt: skip
def test_what_is_no_positive_duration_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        Units.model_validate({"seconds": value})


@pytest.mark.parametrize(
    "value", ["", "KiB", "64kb", "64KB", "0.3B", "-1", 0, "0B", True, None, 1.5, "9" * 400 + "GiB"]
)
def test_what_is_no_positive_size_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        Units.model_validate({"size": value})


@given(st.text(max_size=20))
def test_no_text_raises_anything_but_a_validation_error(text: str) -> None:
    for key in ("seconds", "size", "name", "address"):
        with contextlib.suppress(ValidationError):
            Units.model_validate({key: text})


@pytest.mark.parametrize("name", ["a", "A9", "summaries", "v1.2_x-y", "9", "x" * 63])
def test_a_name_is_short_and_plain(name: str) -> None:
    assert Units(name=name).name == name


@pytest.mark.parametrize("name", ["", "-a", ".a", "_a", "a b", "a/b", "a\n", "\u00fc", "x" * 64])
def test_what_would_not_do_as_an_attribute_is_no_name(name: str) -> None:
    with pytest.raises(ValidationError):
        Units(name=name)


def test_unknown_keys_are_refused_and_values_are_frozen() -> None:
    with pytest.raises(ValidationError) as caught:
        Units.model_validate({"second": "1s"})
    assert caught.value.errors()[0]["type"] == "extra_forbidden"
    units = Units()
    with pytest.raises(ValidationError):
        units.name = "other"


@pytest.mark.parametrize(
    ("key", "good"),
    [
        ("address", "localhost:1"), ("address", "[::1]:65535"), ("address", "dns:///models.svc:80"),
        ("address", "unix:/run/model.sock"), ("listen", "0.0.0.0:0"), ("endpoint", "https://collector:4317"),
        ("endpoint", "collector:4317"),
    ],
)  # fmt: skip
def test_an_address_that_grpc_understands_is_accepted(key: str, good: str) -> None:
    assert getattr(Units.model_validate({key: good}), key) == good


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        ("address", "http://localhost:1"), ("address", "no port"), ("address", "host"), ("address", "host:99999"),
        ("address", "host:1\n"), ("listen", "127.0.0.1:99999"), ("listen", "unix:/x"), ("endpoint", "::::"),
        ("endpoint", "ftp://x"), ("endpoint", "http://"),
    ],
)  # fmt: skip
def test_an_address_that_would_only_fail_later_is_refused(key: str, bad: str) -> None:
    with pytest.raises(ValidationError):
        Units.model_validate({key: bad})


@pytest.mark.parametrize(("key", "huge"), [("seconds", 1e300), ("seconds", "100000d"), ("size", "100000GiB")])
def test_a_quantity_nobody_can_mean_is_refused(key: str, huge: Any) -> None:
    with pytest.raises(ValidationError):
        Units.model_validate({key: huge})
