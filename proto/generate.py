"""
Compile `proto/` into the schema room, or check that it holds what `proto/` would give.

    python proto/generate.py shadowmesh/schema            write
    python proto/generate.py --check shadowmesh/schema    exit 1 if anything there is stale
"""

import argparse
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

PROTO = Path(__file__).parent
DESCRIPTORS = "descriptors.binpb"
# The stub protoc writes for a proto, and the module of the schema room it describes.
STUBS = {"shadowmesh/v1/inference_pb2.pyi": "messages.pyi"}
HEADER = "# Made from proto/ by `make generate`; not to be edited.\n"


def compile_protos(room: Path) -> None:
    """Write the descriptor set and the type stubs into `room`."""
    sources = sorted(path.relative_to(PROTO).as_posix() for path in PROTO.rglob("*.proto"))
    room.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as stubs:
        code = protoc.main(
            [
                "protoc",
                f"--proto_path={PROTO}",
                f"--proto_path={files('grpc_tools').joinpath('_proto')}",
                "--include_imports",
                f"--descriptor_set_out={room / DESCRIPTORS}",
                f"--pyi_out={stubs}",
                *sources,
            ]
        )
        if code:
            sys.exit(code)
        for made, kept in STUBS.items():
            (room / kept).write_text(HEADER + Path(stubs, made).read_text())


def stale(room: Path) -> list[str]:
    """Return the names of the files in `room` that differ from what `proto/` gives."""
    with tempfile.TemporaryDirectory() as fresh:
        compile_protos(Path(fresh))
        return [
            made.name
            for made in sorted(Path(fresh).iterdir())
            if not (room / made.name).exists() or (room / made.name).read_bytes() != made.read_bytes()
        ]


def main() -> None:
    """Write or check, as the command line says."""
    parser = argparse.ArgumentParser(description="Compile proto/ into the schema room.")
    parser.add_argument("room", type=Path, help="the directory of the schema room")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is stale")
    arguments = parser.parse_args()
    if not arguments.check:
        compile_protos(arguments.room)
    elif names := stale(arguments.room):
        sys.exit(f"stale, run `make generate`: {', '.join(names)}")


if __name__ == "__main__":
    main()
