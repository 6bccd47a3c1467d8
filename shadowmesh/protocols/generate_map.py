"""
How a method is asked to generate: the section ``generate`` of a protocol map, and its places bound to the request.

It adds to what ``request`` and ``parts`` of the method say already whatever a translator needs besides: which fields
change nothing, what the absence of a parameter means, and what has to be said in any case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from google.protobuf.message import Message
from pydantic import Field, field_validator

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.generation import LISTS, PARAMETERS, UnfitError
from shadowmesh.protocols.json_places import Document, DocumentKeys, JsonTurns, KeyPlace
from shadowmesh.protocols.paths import Path, descriptor_of
from shadowmesh.protocols.places import FieldPlace, Place
from shadowmesh.protocols.sources import Find, Source
from shadowmesh.protocols.tensor_places import JsonPlace, TensorNames, TensorPlace, is_tensor_place
from shadowmesh.protocols.tensors import TensorLists
from shadowmesh.protocols.turns import TurnPaths, Turns
from shadowmesh.protocols.unread import Known, field_numbers
from shadowmesh.settings import Settings

Plain = bool | int | float | str


class GreedySettings(Settings):
    """
    A field that switches sampling off: with ``greedy`` in it the temperature is 0 and nothing else of sampling counts,
    with ``sampled`` it is what the request says.
    """

    field: str
    greedy: str
    sampled: str


class GenerateSettings(Settings):
    """
    How one method is asked to generate.

    Args:
        arity: the shape of the method, as grpc calls it.
        in_json: the field whose JSON has all of it: then every place here is a key of that, ``a.b`` one inside of
            another, and only a number in ``ignored`` is a field beside it.
        chosen: whether it is found by its shape; else only where the configuration names it.
        prompt: where the text is that is continued; by default that of ``parts``.
        ids: where its token ids are instead; in JSON that may be the same key.
        turns: where a conversation is instead.
        model: where the model is; by default that of ``request``.
        needs_model: whether a request has to name a model.
        parameters: places of parameters, beside the plain paths in ``request``.
        stream: a boolean that asks for the answer in pieces.
        unset: by parameter, what its absence means; ``context`` for as many tokens as there is room for. One of
            ``max_tokens``, ``temperature``, ``top_p`` and ``top_k`` that is not here means what nobody can tell.
        every: what ``top_k`` is where every token is kept.
        said: parameters that every request says: their zero is a value, or there is no default.
        greedy: see :class:`GreedySettings`.
        fixed: values by place that every request is given.
        ignored: fields that change nothing of what is generated, without selections but that of a key of a map; a
            number for one that the view does not have. A message with all that is in it.
        neutral: by path, the values at which a field changes nothing; at any other one the request is refused. Zero is
            one of them where the wire does not tell it from nothing.
        needs: what has to be true of a request, or it is refused.
        shape: dimensions of a tensor around its elements.
    """

    arity: Literal["unary_unary", "unary_stream", "stream_stream"]
    in_json: str | None = None
    chosen: bool = True
    prompt: str | None = None
    ids: str | None = None
    turns: TurnPaths | None = None
    model: str | None = None
    needs_model: bool = False
    parameters: dict[str, str] = Field(default={})
    stream: str | None = None
    unset: dict[str, Plain] = Field(default={})
    every: int | None = None
    said: tuple[str, ...] = ()
    greedy: GreedySettings | None = None
    fixed: dict[str, Plain] = Field(default={})
    ignored: tuple[str, ...] = ()
    neutral: dict[str, tuple[Plain, ...]] = Field(default={})
    needs: str | None = None
    shape: tuple[int, ...] = ()

    @field_validator("parameters", "unset", "said")
    @classmethod
    def _parameters(cls, names: Any) -> Any:
        for name in names:
            if name not in PARAMETERS:
                raise ValueError(f"{name} is none of {', '.join(PARAMETERS)}")
        return names


class Generate:
    """A :class:`GenerateSettings`, compiled against the request of its method; ``protocol`` is what it is called."""

    def __init__(
        self,
        settings: GenerateSettings,
        request: type[Message],
        *,
        protocol: str,
        paths: Mapping[str, str],
        roles: Mapping[str, str],
        source: Any,
        tensors: TensorLists | None,
    ) -> None:
        """
        Compile every place.

        Args:
            paths: what ``request`` says of the method, and its ``prompt``.
            roles: what the conventions call the protocol's roles.
            source: compiles a source of the request.
            tensors: where the request has its tensors.

        Raises:
            ProtocolMapError: a place does not exist, or cannot be written.
        """
        self.settings = settings
        self.protocol = protocol
        self.message = request
        self._request = descriptor_of(request)
        self._tensors = tensors
        self._document = None if settings.in_json is None else Document(settings.in_json, self._request)
        self.text = self._place(settings.prompt or paths.get("prompt"), form="text")
        self.ids = self._place(settings.ids, form="ids")
        self.turns = None if settings.turns is None else self._turns(settings.turns, roles)
        self.model = self._place(settings.model or paths.get("model"))
        self.stream = self._place(settings.stream)
        texts = {name: text for name, text in paths.items() if name in PARAMETERS} | settings.parameters
        self.parameters = {name: place for name, text in texts.items() if (place := self._place(text)) is not None}
        for name, place in self.parameters.items():
            if isinstance(place, JsonPlace | KeyPlace):
                place.holds_list = PARAMETERS[name].kind in LISTS
        self.fixed = tuple((self._compiled(text), value) for text, value in settings.fixed.items())
        self.greedy = None if settings.greedy is None else self._compiled(settings.greedy.field)
        self.needs: Source | None = None if settings.needs is None else source(settings.needs)
        neutral = settings.neutral if self._document is None else {}
        self.neutral = tuple(self._neutral(text, values) for text, values in neutral.items())
        if not (self.text or self.ids or self.turns):
            raise ProtocolMapError("generate does not say where the prompt is")
        places = tuple(self._places())
        self.known = Known(self._numbers(places), self._request)
        self.known_keys = self._known_keys()
        self.names: TensorNames | DocumentKeys | None = None
        """Finds what nobody would read in tensors, or in JSON."""
        if tensors is not None:
            self.names = TensorNames(_of_tensors(places), tensors, self._request)
        elif self._document is not None:
            self.names = DocumentKeys(self._document, self._keys(places), settings.neutral)

    @property
    def forms(self) -> frozenset[str]:
        """What a request can ask with: ``text``, ``ids``, ``turns``."""
        places = {"text": self.text, "ids": self.ids, "turns": self.turns}
        return frozenset(name for name, place in places.items() if place is not None)

    def is_greedy(self, message: Message) -> bool:
        """
        Return whether a request switches sampling off, whatever it says of it.

        Raises:
            UnfitError: it says neither that nor the contrary.
        """
        rule = self.settings.greedy
        if rule is None or self.greedy is None:
            return False
        said = list(self.greedy.read(message))
        if not {*said} <= {rule.greedy, rule.sampled}:
            raise UnfitError("of another kind")
        return said != [rule.sampled]

    def _place(self, text: str | None, *, form: str = "") -> Place | None:
        return None if text is None else self._compiled(text, form)

    def _compiled(self, text: str, form: str = "") -> Place:
        if self._document is not None:
            return KeyPlace(text, self._document, form=form)
        if not is_tensor_place(text):
            return FieldPlace(text, self._request)
        if self._tensors is None:
            raise ProtocolMapError(f"{text!r}: the request has no tensors")
        kind = TensorPlace if text.startswith("tensor") else JsonPlace
        return kind(text, self._request, self._tensors, self.settings.shape)

    def _turns(self, paths: TurnPaths, roles: Mapping[str, str]) -> Turns | JsonTurns:
        if self._document is not None:
            return JsonTurns(paths, self._document, roles)
        return Turns(paths, self._request, roles)

    def _keys(self, places: Iterable[Place]) -> Iterator[str]:
        """Yield the keys of JSON that are read, or change nothing."""
        yield from self.settings.ignored
        for place in places:
            yield from place.keys if isinstance(place, KeyPlace) else ()
        if isinstance(self.turns, JsonTurns):
            yield self.turns.key

    def _known_keys(self) -> dict[str, set[str]]:
        """Return the entries of maps that change nothing, by the map's name."""
        found: dict[str, set[str]] = {}
        if self._document is not None:
            return found
        for text in self.settings.ignored:
            name, selected, key = text.partition('["')
            if selected:
                Path(text, self._request)
                found.setdefault(name, set()).add(key.removesuffix('"]'))
        return found

    def _neutral(self, text: str, values: Iterable[Plain]) -> tuple[str, Find, tuple[Any, ...]]:
        path = Path(text, self._request)
        last: Any = path.fields[-1]
        return text, path.find, (*values,) if last.has_presence else (*values, last.default_value)

    def _places(self) -> Iterator[Place]:
        one = (self.text, self.ids, self.model, self.stream, self.greedy)
        yield from (place for place in one if place is not None)
        yield from self.parameters.values()
        yield from (place for place, _ in self.fixed)

    def _numbers(self, places: Iterable[Place]) -> Iterator[tuple[int, ...]]:
        yield from (place.known for place in places)
        if self.turns is not None:
            yield from self.turns.known
        fields = [one for one in self.settings.ignored if self._document is None or one.isdecimal()]
        yield from (field_numbers(text.partition("[")[0], self._request) for text in fields)
        if self._document is not None:
            yield self._document.known
            return
        yield from (Path(text, self._request).numbers for text in self.settings.neutral)
        if self._tensors is not None:
            yield Path(self._tensors.raw, self._request).numbers


def _of_tensors(places: Iterable[Place]) -> Iterator[TensorPlace | JsonPlace]:
    yield from (place for place in places if isinstance(place, (TensorPlace, JsonPlace)))
