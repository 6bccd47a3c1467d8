"""What is looked after beside the calls: mistakes of wiring and the file, in one thread that keeps nothing alive."""

from __future__ import annotations

import gc
import threading
import weakref
from pathlib import Path

from support.experiments import GENERATE, experiment

from shadowmesh.errors import ConfigError
from shadowmesh.mirror.carrier import MirrorSettings
from shadowmesh.mirror.file_watch import FileWatch
from shadowmesh.mirror.live import LiveSide
from shadowmesh.mirror.upkeep import Upkeep
from shadowmesh.names import META_ROLE, META_TARGET, Misfit, ReloadResult, Role
from shadowmesh.telemetry.faults import Faults

CAME_BACK = ((META_ROLE, Role.SHADOW.value), (META_TARGET, "summaries/candidate"))


def looked_after() -> tuple[LiveSide, Upkeep]:
    live = LiveSide((experiment(),), MirrorSettings(), faults=Faults())
    upkeep = Upkeep(live)
    upkeep.watch((experiment(),))
    return live, upkeep


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "shadowmesh-rounds"]


def replaced(path: Path, content: str) -> None:
    """Change a file as an editor does: at no moment is it half-way."""
    beside = path.with_suffix(".new")
    beside.write_text(content)
    beside.replace(path)


def test_a_mistake_of_wiring_is_found_once_and_is_a_fault() -> None:
    live, upkeep = looked_after()
    for _ in range(2):
        assert live.decide(GENERATE, CAME_BACK) is None
        upkeep.check()
    (found,) = upkeep.findings
    assert found[:3] == ("summaries", "candidate", Misfit.OWN_BACKEND)
    assert live.faults.totals() == {f"self-check: summaries/candidate {found.detail}": 1}


def test_of_an_experiment_that_is_gone_nothing_is_found_any_more() -> None:
    live, upkeep = looked_after()
    live.decide(GENERATE, CAME_BACK)
    upkeep.watch(())
    upkeep.check()
    assert upkeep.findings == []


def test_a_file_is_followed_from_the_start_to_the_end_and_what_is_refused_is_counted(tmp_path: Path) -> None:
    live, upkeep = looked_after()
    path, taken, refused = tmp_path / "shadowmesh.yaml", threading.Event(), threading.Event()

    def accept(text: str) -> None:
        if text == "bad":
            refused.set()
            raise ConfigError("not YAML", source=str(path))
        live.reload(())
        taken.set()

    path.write_text("one")
    upkeep.follow(FileWatch(path, b"one", accept), every=0.001)
    assert ours() == []
    upkeep.start()
    replaced(path, "two")
    assert taken.wait(20)
    replaced(path, "bad")
    assert refused.wait(20)
    assert upkeep.started
    upkeep.stop()
    assert (upkeep.started, ours()) == (False, [])
    assert upkeep.reload_results() == {ReloadResult.APPLIED: 1, ReloadResult.REFUSED: 1}


def test_nothing_is_kept_alive_and_what_is_gone_is_looked_after_no_more(tmp_path: Path) -> None:
    live, upkeep = looked_after()
    path = tmp_path / "shadowmesh.yaml"
    path.write_text("one")
    upkeep.follow(FileWatch(path, b"one", lambda text: None), every=0.001)
    upkeep.start()
    (thread,) = ours()
    gone = weakref.ref(live)
    del live, upkeep
    gc.collect()
    thread.join(20)
    # What the thread held for a moment was not to be collected before.
    gc.collect()
    assert (thread.is_alive(), gone()) == (False, None)
