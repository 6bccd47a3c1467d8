"""Map files and descriptors from anybody: what cannot be used is refused in one line, and nothing else is raised."""

from __future__ import annotations

import re
from base64 import b64encode
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from hypothesis import given, settings
from hypothesis import strategies as st
from support.acme import MAP, written

from shadowmesh.catalog.configured import ProtocolSettings, read_protocol
from shadowmesh.catalog.descriptors import pool_of
from shadowmesh.catalog.given import GivenProtocol
from shadowmesh.errors import ConfigError, ProtocolMapError
from shadowmesh.mirror.credentials import connect

WORDS = re.findall(r"[\w.]+", MAP)
HOSTILE = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["&a [*a]", "*a", "{<<: 1}", "!!python/name:os.system", "tensor('x')", "json(text).a[*]", "has()"]),
    st.sampled_from(["text[*]", "usage", "usage.read[0]", "2", "3.1 == 'x'", "json(json(text))", "''", "md:x", "|"]),
    st.sampled_from(WORDS),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("acme"))


def use(folder: Path, content: bytes, descriptors: str = "acme.binpb") -> None:
    """Do with a map what a start does; what is refused is refused in one short line."""
    file = folder / "hostile.yaml"
    file.write_bytes(content)
    refused = ""
    try:
        read_protocol(ProtocolSettings(file=str(file), descriptors=str(folder / descriptors)), connect).bound()
    except (ConfigError, ProtocolMapError) as error:
        refused = str(error)
    assert "\n" not in refused
    assert len(refused) < 2000


@given(st.lists(st.tuples(st.sampled_from(WORDS), HOSTILE), min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_a_map_in_which_anything_was_replaced_is_used_or_refused(folder: Path, changes: list[tuple[str, str]]) -> None:
    text = MAP
    for old, new in changes:
        text = text.replace(old, new)
    use(folder, text.encode(errors="replace"))


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_refused(folder: Path, content: bytes) -> None:
    use(folder, content)


def test_aliases_of_aliases_are_refused_before_they_are_many(folder: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    use(folder, "\n".join([*lines, MAP]).encode())
    use(folder, MAP.replace("finish_reasons: {", "finish_reasons: {x: *a29, ").encode())


@given(st.binary(max_size=100), st.integers(0, 400))
@settings(max_examples=200, deadline=None)
def test_descriptors_in_which_anything_was_replaced_are_used_or_refused(
    folder: Path, content: bytes, place: int
) -> None:
    good = (folder / "acme.binpb").read_bytes()
    (folder / "hostile.binpb").write_bytes(good[:place] + content + good[place + len(content) :])
    use(folder, MAP.encode(), "hostile.binpb")


def described(*imports: tuple[str, list[str]]) -> bytes:
    files = [FileDescriptorProto(name=name, dependency=needed) for name, needed in imports]
    return FileDescriptorSet(file=files).SerializeToString()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (described(("a", ["a"])), "'a' imports itself"),
        (described(("a", ["b"]), ("b", ["c"]), ("c", ["a"])), "imports itself"),
        (described(("a", ["b"])), "'b', which 'a' imports, is missing: protoc adds it with --include_imports"),
        (described(("a", ["google/protobuf/os.proto"])), "is missing"),
    ],
)
def test_files_that_import_themselves_or_what_is_not_there_are_refused(data: bytes, problem: str) -> None:
    with pytest.raises(ProtocolMapError, match=problem):
        pool_of(data)


def test_files_may_stand_in_any_order_and_in_a_long_chain_and_googles_own_may_be_left_out() -> None:
    chain = [(f"f{number}", [f"f{number + 1}"]) for number in range(3000)]
    pool = pool_of(described(*chain, ("f3000", ["google/protobuf/timestamp.proto"])))
    assert pool.FindFileByName("f0").name == "f0"


def test_what_was_read_says_the_same_in_another_process(folder: Path) -> None:
    acme = ProtocolSettings(file=str(folder / "acme.yaml"), descriptors=str(folder / "acme.binpb"))
    read = read_protocol(acme, connect)
    there = GivenProtocol.model_validate_json(read.model_dump_json())
    assert there == read
    assert there.descriptors == b64encode((folder / "acme.binpb").read_bytes()).decode()
    assert list(there.bound()) == ["/acme.Models/Ask"]
