"""
Adds the interceptor to every server that is built by ``grpc.server`` or ``grpc.aio.server``.

Both functions are replaced when ``grpc`` has been imported, and not before: most of a program's processes never do.
Ours is the last of a server's interceptors, nearest to its handlers: what the others turn away is no call of the model.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from functools import wraps
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from shadowmesh.instrument.environment import CONFIG

if TYPE_CHECKING:
    from shadowmesh.build import Mesh

_PACKAGE = "grpc"


def install() -> None:
    """Begin, in this process and in those it forks; without a configuration file nothing happens."""
    path = os.environ.get(CONFIG)
    if not path:
        return
    if _PACKAGE in sys.modules:
        _patch(sys.modules[_PACKAGE], path)
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(path))


class _Finder(MetaPathFinder):
    """Finds ``grpc`` as the others do, and patches it once it is loaded."""

    def __init__(self, path: str) -> None:
        self._path = path

    def find_spec(self, fullname: str, *_: Any) -> ModuleSpec | None:
        """Return what the other finders say, with our loader around theirs."""
        if fullname != _PACKAGE or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._path)
        return spec


class _Loader(Loader):
    def __init__(self, loader: Any, path: str) -> None:
        self._loader = loader
        self._path = path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Do what the module's own loader does."""
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do what the module's own loader does, then patch."""
        self._loader.exec_module(module)
        try:
            _patch(module, self._path)
        except Exception as error:  # noqa: BLE001  # see ``Meshed.interceptor``
            _say(error)


class _Meshed:
    """The mesh of this process, made when the first server is built."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._mesh: Mesh | None = None
        self._failed: set[bool] = set()

    def interceptor(self, *, asynchronous: bool) -> Any | None:
        """Return an interceptor, ``None`` where there is none to be had, which is said once."""
        if asynchronous in self._failed:
            return None
        try:
            if self._mesh is None:
                from shadowmesh.build import Mesh

                self._mesh = Mesh.from_file(self._path)
            return self._mesh.aio_interceptor() if asynchronous else self._mesh.interceptor()
        except Exception as error:  # noqa: BLE001  # whatever it is, the server is to be built
            self._failed.add(asynchronous)
            _say(error)
            return None


def _patch(package: Any, path: str) -> None:
    meshed = _Meshed(path)
    package.server = _with_interceptor(package.server, lambda: meshed.interceptor(asynchronous=False))
    package.aio.server = _with_interceptor(package.aio.server, lambda: meshed.interceptor(asynchronous=True))


def _with_interceptor(build: Callable[..., Any], interceptor: Callable[[], Any | None]) -> Callable[..., Any]:
    signature = inspect.signature(build)

    @wraps(build)
    def server(*args: Any, **kwargs: Any) -> Any:
        ours = interceptor()
        if ours is None:
            return build(*args, **kwargs)
        given = signature.bind(*args, **kwargs)
        given.arguments["interceptors"] = (*(given.arguments.get("interceptors") or ()), ours)
        return build(*given.args, **given.kwargs)

    return server


def _say(error: Exception) -> None:
    """Tell whoever looks at the program's output; a log may not be set up yet."""
    print(f"shadowmesh: nothing is mirrored: {' '.join(str(error).split())}", file=sys.stderr)  # noqa: T201
