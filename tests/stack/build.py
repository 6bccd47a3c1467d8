"""
``make stack``: builds what :mod:`parts` lists, once per machine, with Go's own module and build caches.

A binary is moved to its place when it has told its version, so one that is there is whole; a killed build is taken up
again by the next call. From empty caches all of it takes 15 minutes on two cores and 7 GB, of which 0.3 GB are the
binaries and the rest is Go's to keep; from full ones, less than a minute.

With ``--lock`` nothing is built: the locks in ``pins/`` are made anew after a version was changed there. A module that
Go's checksum database does not know (Jaeger has one) then needs its lines copied from the go.sum of the release.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

# Run as a file, before there is an environment with the tests in its path.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from stack.parts import BUILDER, PINS, PROGRAMS, Program, folder

CORES = "2"
NO_GO = 69
_UNFINISHED = "unfinished-"
_LOCKED = ("go.mod", "go.sum")
_LINES_OF_A_FAILURE = 15


class NoGoError(Exception):
    """There is no Go that can build this."""


class BuildError(Exception):
    """A step of a build ended with an error."""


def main(arguments: Sequence[str]) -> int:
    """Do what is asked for and return the exit code: 0, 1 for a failed build, 69 where Go is missing or too old."""
    parser = argparse.ArgumentParser(prog="make stack", description="Build the Collector, Jaeger and Prometheus.")
    parser.add_argument("--lock", action="store_true", help="make the locks of the pinned versions anew")
    lock = parser.parse_args(arguments).lock
    # As an exception, so that the step under way is ended and the workspace removed.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        if lock:
            require_go()
            lock_versions()
        else:
            build_missing(folder())
    except NoGoError as error:
        say(str(error))
        return NO_GO
    except BuildError as error:
        say(str(error))
        return 1
    return 0


def build_missing(place: Path) -> None:
    """
    Build into ``place`` what is not there.

    Raises:
        NoGoError: something is missing and cannot be built here.
        BuildError: a program could not be built, or is not what it should be.
    """
    if all((place / program.name).is_file() for program in PROGRAMS):
        say(f"stack: all there, in {place}")
        return
    require_go()
    place.mkdir(parents=True, exist_ok=True)
    with alone_in(place), workspace(place) as work:
        for program in PROGRAMS:
            if (place / program.name).is_file():
                say(f"{program.name} {program.version}: there")
                continue
            say(f"{program.name} {program.version}: building")
            started = time.monotonic()
            built = build(program, work)
            mib = built.stat().st_size >> 20
            built.replace(place / program.name)
            say(f"{program.name} {program.version}: built in {time.monotonic() - started:.0f} s, {mib} MiB")
    say(f"stack: built, in {place}")


def build(program: Program, work: Path) -> Path:
    """Build and try one program; return where it is."""
    module = pinned(program.module, work)
    if program.package == ".":
        generate_collector(module, work, "--skip-get-modules")
    built = module / program.name
    variable = f" -X {program.version_variable}={program.version}" if program.version_variable else ""
    options = ("-trimpath", "-tags", program.tags, "-ldflags", f"-s -w{variable}", "-o", str(built))
    step(module, "go", "build", *options, program.package)
    answer = step(module, str(built), "--version")
    if not re.search(rf"\b{re.escape(program.version)}\b", answer):
        raise BuildError(f"{program.name} is not {program.version}, but says: {answer.strip()}")
    return built


def lock_versions() -> None:
    """
    Resolve what is pinned and write the locks back.

    Raises:
        BuildError: it does not resolve, or the Collector's components are not all of one release.
    """
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED) as scratch:
        work = Path(scratch)
        for name in sorted({"builder", *(program.module for program in PROGRAMS)}):
            module = pinned(name, work)
            if name == "collector":
                generate_collector(module, work, "--skip-strict-versioning=false")
            else:
                step(module, "go", "mod", "tidy")
            for file in _LOCKED:
                shutil.copyfile(module / file, PINS / name / file)
            say(f"{name}: locked")


def generate_collector(module: Path, work: Path, how: str) -> None:
    """Write the main package of the Collector beside its manifest, and its go.mod unless told not to."""
    builder = pinned("builder", work)
    ocb = builder / "ocb"
    step(builder, "go", "build", "-o", str(ocb), BUILDER)
    step(module, str(ocb), "--config=builder.yaml", "--skip-compilation", how)


def pinned(module: str, work: Path) -> Path:
    """Copy a module's pins into the workspace, where Go may write beside them."""
    return Path(shutil.copytree(PINS / module, work / module, dirs_exist_ok=True))


def require_go() -> None:
    """
    See that Go is there and new enough, by its own judgement: it may be allowed to fetch a newer toolchain.

    Raises:
        NoGoError: there is none, or it is too old.
    """
    needed, module = max(required_versions())
    least = f"make stack needs Go {'.'.join(map(str, needed))} or later"
    if shutil.which("go") is None:
        raise NoGoError(f"{least}, and there is no go in PATH")
    asked = subprocess.run(
        ("go", "env", "GOVERSION"), cwd=module, env=environment(), capture_output=True, text=True, check=False
    )
    if asked.returncode:
        raise NoGoError(f"{least}: {(asked.stderr.strip() or 'go does not run').splitlines()[0]}")
    if version(asked.stdout) < needed:
        raise NoGoError(f"{least}, and this is {asked.stdout.strip()}")


def required_versions() -> Iterator[tuple[tuple[int, ...], Path]]:
    """Yield the version of Go each module asks for, and its folder."""
    for file in PINS.glob("*/go.mod"):
        line = re.search(r"^go (\S+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        if line:
            yield version(line[1]), file.parent


def version(text: str) -> tuple[int, ...]:
    """Return the numbers of a version of Go: `go1.26.8`, `1.25`, `go1.27rc1`."""
    return tuple(int(number) for number in re.findall(r"\d+", text.partition("rc")[0]))


def step(directory: Path, *command: str) -> str:
    """
    Run one command of a build and return its output.

    Raises:
        BuildError: it ended with an error; the message ends with its last words.
    """
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        last_words = "\n".join(done.stdout.splitlines()[-_LINES_OF_A_FAILURE:])
        raise BuildError(f"{' '.join(command)} ended with {done.returncode}:\n{last_words}")
    return done.stdout


def environment() -> dict[str, str]:
    """Return the environment of every step: two cores unless the caller's says otherwise, and no C compiler."""
    return {
        "GOMAXPROCS": CORES,
        **os.environ,
        # Go takes the last of two settings. The workspace may lie in somebody's repository.
        "GOFLAGS": f"-p={CORES} -buildvcs=false {os.environ.get('GOFLAGS', '')}".strip(),
        "GOWORK": "off",
        "CGO_ENABLED": "0",
    }


@contextmanager
def alone_in(place: Path) -> Iterator[None]:
    """Let one build at a time into ``place``; the lock goes with the process that holds it."""
    with (place / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("stack: waiting for another build")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def workspace(place: Path) -> Iterator[Path]:
    """Yield an empty folder on the same file system, and remove what a killed build has left of its own."""
    for left in place.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=place) as work:
        yield Path(work)


def say(line: str) -> None:
    """Print at once: what comes next takes minutes."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
