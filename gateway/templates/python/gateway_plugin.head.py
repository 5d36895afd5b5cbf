"""What a plugin needs of the gateway's interface: events in, requests and returned fields out.

It came with `gateway plugin new`; take it over whole from a newer one rather than edit it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Generic, Mapping, NoReturn, Sequence, TypeVar, Union


class Failure(Exception):
    """Will never work; the gateway does not try again."""


class Unavailable(Failure):
    """May work later; the gateway tries again."""


class SealedError(TypeError):
    """Somebody tried to read a sealed field."""


class Sealed:
    """A field that can be placed in a request and not read. `Event.sealed` gives one."""

    __slots__ = ("path",)
    #: As the manifest declares it.
    path: str

    def __init__(self, path: str) -> None:
        object.__setattr__(self, "path", path)

    def _unreadable(self, *_: object) -> NoReturn:
        raise SealedError(
            'a sealed field has no value in here: place it in a request, or declare it with access = "read"'
        )

    if TYPE_CHECKING:
        # What is not there cannot be asked for; a checker says so before the call does.
        __hash__ = None  # type: ignore[assignment]
    else:
        __str__ = __repr__ = __format__ = __iter__ = __len__ = __contains__ = __getitem__ = __bytes__ = _unreadable
        __add__ = __radd__ = __mod__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _unreadable
        __hash__ = __bool__ = __setattr__ = __delattr__ = __reduce__ = _unreadable


class Field:
    """A readable field that the gateway shall place: it encodes it, and the ledger names it."""

    def __init__(self, path: str) -> None:
        self.path = path


class Parts:
    """Text and fields in the order in which they stand."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, str]] = []

    def text(self, text: str) -> Parts:
        """Adds text as it stands."""
        if self.parts and self.parts[-1][0] == "text":
            self.parts[-1] = ("text", self.parts[-1][1] + text)
        elif text:
            self.parts.append(("text", text))
        return self

    def field(self, field: Sealed | Field) -> Parts:
        """Adds a field."""
        self.parts.append(("field", field.path))
        return self

    def __str__(self) -> str:
        """For tests: a field is its path in braces."""
        return "".join(text if tag == "text" else "{" + text + "}" for tag, text in self.parts)


def json_body(value: Any) -> Parts:
    """A JSON body in which fields stand as whole values."""
    parts = Parts()
    _write(parts, value)
    return parts


def _write(parts: Parts, value: Any) -> None:
    if isinstance(value, (Sealed, Field)):
        parts.field(value)
    elif isinstance(value, dict):
        parts.text("{")
        for index, (name, member) in enumerate(value.items()):
            parts.text(("," if index else "") + json.dumps(str(name)) + ":")
            _write(parts, member)
        parts.text("}")
    elif isinstance(value, (list, tuple)):
        parts.text("[")
        for index, item in enumerate(value):
            parts.text("," if index else "")
            _write(parts, item)
        parts.text("]")
    else:
        parts.text(json.dumps(value, allow_nan=False))


Content = str | Sealed | Field | Parts


def _parts(value: Content) -> Parts:
    if isinstance(value, Parts):
        return value
    return Parts().text(value) if isinstance(value, str) else Parts().field(value)


class Request:
    """A request to an endpoint of the manifest."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.paths: list[tuple[str, Parts]] = []
        self.headers: list[tuple[str, Parts]] = []
        self.content = Parts()

    def path(self, name: str, value: Content) -> Request:
        """Fills the slot `{name}` of the endpoint's path."""
        self.paths.append((name, _parts(value)))
        return self

    def header(self, name: str, value: Content) -> Request:
        """Sets a header that the endpoint declares."""
        self.headers.append((name, _parts(value)))
        return self

    def body(self, body: Content) -> Request:
        """Sets the body."""
        self.content = _parts(body)
        return self


#: What can be returned to the brand; a sealed field cannot.
Returned = Union[None, bool, int, float, str, Sequence["Returned"], Mapping[str, "Returned"]]


class Outcome:
    """What a call gives back: requests for the partner, fields for the brand."""

    def __init__(self) -> None:
        self.deliveries: list[Request] = []
        self.returns: Mapping[str, Returned] = {}

    def deliver(self, request: Request) -> Outcome:
        """Asks for one more delivery."""
        self.deliveries.append(request)
        return self

    def returning(self, fields: Mapping[str, Returned]) -> Outcome:
        """Returns fields to the brand, in the shape of the manifest's `returns`."""
        self.returns = fields
        return self


class Record:
    """Base of the records below: each field may be absent."""

    _nested: ClassVar[dict[str, type[Record]]] = {}

    @classmethod
    def read(cls, data: dict[str, Any]) -> Any:
        """Reads a record from parsed JSON."""
        values = {}
        for name, value in data.items():
            of = cls._nested.get(name)
            if of is not None and isinstance(value, list):
                value = [of.read(item) for item in value]
            elif of is not None:
                value = of.read(value)
            values[name] = value
        return cls(**values)


D = TypeVar("D")


@dataclass(frozen=True)
class Event(Generic[D]):
    """An event about one consumer of one brand, as this plugin may see it."""

    #: The same through retries.
    id: str
    type: str
    #: RFC 3339; the only clock.
    time: str
    #: The partner's pseudonym for the consumer, where granted.
    consumer: str | None
    #: The readable fields.
    data: D
    #: The connection's settings.
    settings: dict[str, Any]
    sealed_paths: tuple[str, ...] = ()

    def sealed(self, path: str) -> Sealed | None:
        """The sealed field at `path`, as the manifest declares it; None where there is none."""
        return Sealed(path) if path in self.sealed_paths else None


@dataclass(frozen=True)
class Message:
    """A message of the partner about a consumer."""

    id: str
    time: str
    consumer: str | None
    body: Any
    settings: dict[str, Any]


def share(handler: Callable[[Event[Any]], Outcome]) -> type:
    """The class of the `share` hook."""

    class Share:
        def on_event(self, event: Any) -> Any:
            return _outcome(_guarded(handler, _event(event)))

    return Share


def decide(handler: Callable[[str, Event[Any]], dict[str, Any]]) -> type:
    """The class of the `decide` hook; what the handler returns is in the shape of the manifest's `returns`."""

    class Decide:
        def decide(self, slot: str, event: Any) -> str:
            return json.dumps(_guarded(handler, slot, _event(event)), allow_nan=False)

    return Decide


def receive(handler: Callable[[Message], Outcome]) -> type:
    """The class of the `receive` hook."""

    class Receive:
        def on_message(self, message: Any) -> Any:
            body, settings = json.loads(message.body), json.loads(message.settings)
            read = Message(message.id, message.time, message.consumer, body, settings)
            return _outcome(_guarded(handler, read))

    return Receive


def _guarded(handler: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return handler(*arguments)
    except Failure as failure:
        # The build makes these modules.
        from componentize_py_types import Err  # type: ignore[import-not-found]
        from wit_world.imports import types  # type: ignore[import-not-found]

        kind = types.Failure_Unavailable if isinstance(failure, Unavailable) else types.Failure_Rejected
        raise Err(kind(str(failure))) from failure


def _event(wire: Any) -> Event[Any]:
    data = json.loads(wire.fields)
    of = EVENTS.get(wire.kind)
    settings = json.loads(wire.settings)
    read = data if of is None else of.read(data)
    return Event(wire.id, wire.kind, wire.time, wire.consumer, read, settings, tuple(wire.sealed))


def _outcome(outcome: Outcome) -> Any:
    from wit_world.imports import types  # type: ignore[import-not-found, unused-ignore]

    def wire(parts: Parts) -> list[Any]:
        return [types.Part_Text(text) if tag == "text" else types.Part_Field(text) for tag, text in parts.parts]

    def named(pairs: list[tuple[str, Parts]]) -> list[Any]:
        return [(name, wire(value)) for name, value in pairs]

    deliveries = [
        types.Request(request.endpoint, named(request.paths), named(request.headers), wire(request.content))
        for request in outcome.deliveries
    ]
    return types.Outcome(deliveries, json.dumps(outcome.returns, allow_nan=False))


# The event types of the gateway's catalogue. Every field may be absent.
