"""When a call that bears a marker is not mirrored: no loop, whatever the configuration and whoever forged it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.model import Metadata
from shadowmesh.names import META_INSTANCE, META_ROLE, DropReason
from shadowmesh.policy.marker import MOST_HOPS, TELLING, chain, instances, refusal

MARKED: Metadata = ((META_ROLE, "shadow"),)


def test_a_marked_call_is_not_mirrored_where_markers_are_trusted() -> None:
    assert refusal((("a", "1"), *MARKED), own="me", trusted=True) == DropReason.MARKED


def test_a_marked_call_is_mirrored_where_markers_are_not_trusted() -> None:
    assert refusal(MARKED, own="me", trusted=False) == ""
    assert refusal((*MARKED, (META_INSTANCE, "another")), own="me", trusted=False) == ""


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("metadata", [(), (("a", "shadow"),), ((META_ROLE, "live"),), ((META_ROLE, b"shadow"),)])
def test_a_call_without_a_marker_is_mirrored(metadata: Metadata, trusted: bool) -> None:
    assert refusal(metadata, own="me", trusted=trusted) == ""


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("ids", [["me"], ["other", "me"], ["me", "other"], ["other, me"], ["a,me,b"]])
def test_a_call_that_bears_our_own_id_is_never_mirrored(ids: list[str], trusted: bool) -> None:
    metadata = tuple((META_INSTANCE, one) for one in ids)
    assert refusal(metadata, own="me", trusted=trusted) == DropReason.MARKED


def test_no_id_of_ours_is_not_the_id_of_everybody() -> None:
    assert refusal(((META_INSTANCE, ""), (META_INSTANCE, "x")), own="", trusted=False) == ""


@given(st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f"]), min_size=1), st.booleans())
def test_no_ring_of_meshes_that_trust_nobody_passes_a_call_on_without_end(ring: list[str], forged: bool) -> None:
    metadata: Metadata = MARKED if forged else ()
    hops = 0
    while not refusal(metadata, own=(own := ring[hops % len(ring)]), trusted=False):
        metadata = (*MARKED, *chain(instances(metadata), own))
        hops += 1
        assert hops <= MOST_HOPS + 1


@given(
    st.lists(st.text(st.characters(codec="ascii", exclude_characters=","), min_size=1), max_size=9),
    st.text("xyz", min_size=1),
)
def test_a_chain_ends_with_us_and_is_short(seen: list[str], own: str) -> None:
    made = chain(seen, own)
    assert made[-1] == (META_INSTANCE, own)
    assert len(made) == min(len(seen), MOST_HOPS) + 1
    assert all(key == META_INSTANCE and len(value) <= 256 for key, value in made)


def test_only_the_telling_keys_tell() -> None:
    assert {META_ROLE, META_INSTANCE} == TELLING
