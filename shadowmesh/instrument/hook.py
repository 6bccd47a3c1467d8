"""
Adds the interceptor to every server that is built by ``grpc.server`` or ``grpc.aio.server``.

Both functions are replaced when ``grpc`` has been imported, and not before: most of a program's processes never do.
Ours is the last of a server's interceptors, nearest to its handlers: what the others turn away is no call of the model.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING, Any

from shadowmesh.instrument.environment import CONFIG

if TYPE_CHECKING:
    from shadowmesh.build import Mesh

_PACKAGE = "grpc"
# Where both functions take interceptors that are not named.
_POSITION = 2


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
    """
    Finds ``grpc`` as the others do, and patches it once it is loaded.

    It stays until then: programs also ask where ``grpc`` is without loading it, or before it can be found.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return what the other finders say, with our loader around theirs."""
        if fullname != _PACKAGE:
            return None
        others = (finder for finder in tuple(sys.meta_path) if finder is not self and hasattr(finder, "find_spec"))
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((one for one in found if one is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self)
        return spec

    def loaded(self, package: ModuleType) -> None:
        """Patch the package, once."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            _patch(package, self._path)


class _Loader(Loader):
    def __init__(self, loader: Any, finder: _Finder) -> None:
        self._loader = loader
        self._finder = finder

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
            self._finder.loaded(module)
        except Exception as error:  # noqa: BLE001  # see ``Meshed.interceptor``
            _say(error)


class _Meshed:
    """The mesh of this process, made when the first server is built."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._mesh: Mesh | None = None
        self._failed: set[bool] = set()
        self._one_at_a_time = Lock()

    def interceptor(self, *, asynchronous: bool) -> Any | None:
        """Return an interceptor, ``None`` where there is none to be had, which is said once."""
        with self._one_at_a_time:
            return self._interceptor(asynchronous=asynchronous)

    def _interceptor(self, *, asynchronous: bool) -> Any | None:
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
    @wraps(build)
    def server(*args: Any, **kwargs: Any) -> Any:
        ours = interceptor()
        if ours is None:
            return build(*args, **kwargs)
        # The signature does not tell: whoever else has wrapped the function may have hidden it.
        if len(args) > _POSITION:
            theirs = (*args[:_POSITION], [*(args[_POSITION] or ()), ours], *args[_POSITION + 1 :])
            return build(*theirs, **kwargs)
        return build(*args, **{**kwargs, "interceptors": [*(kwargs.get("interceptors") or ()), ours]})

    return server


def _say(error: Exception) -> None:
    """Tell whoever looks at the program's output, where it has one; a log may not be set up yet."""
    with suppress(Exception):
        if sys.stderr is not None:
            print(f"shadowmesh: nothing is mirrored: {' '.join(str(error).split())}", file=sys.stderr)  # noqa: T201
