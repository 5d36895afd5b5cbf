"""What an interpreter offers and a plugin has not. The build keeps a running interpreter, so these would answer the
moment of the build, the same "random" numbers for ever, or end the call without a word."""

import datetime
# Read the clock while they are imported, so they come first.
import logging  # noqa: F401
import os
import random
import secrets
import time
import uuid

CLOCK = "the only clock is event.time: datetime.fromisoformat(event.time)"
CHANCE = (
    "a call is a function of its input: derive what must differ from event.id, as random.Random(event.id) does"
)
NETWORK = "a plugin has no network: return a request in `deliveries`, or ask through wit_world.imports.exchange"


class NotThere(RuntimeError):
    """A plugin used what it does not have."""


def _refusing(name, instead):
    def refused(*_given, **_named):
        raise NotThere(f"{name} is not there: {instead}")

    return refused


def _refuse(module, names, instead):
    for name in names:
        if hasattr(module, name):
            setattr(module, name, _refusing(f"{module.__name__}.{name}()", instead))


def _without_a_time(module, name, position):
    """Functions that take a time, or else the present one."""
    given_time = getattr(module, name)

    def function(*given):
        if len(given) <= position or given[position] is None:
            raise NotThere(f"{module.__name__}.{name}() without a time is not there: {CLOCK}")
        return given_time(*given)

    setattr(module, name, function)


_refuse(
    time,
    [
        "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time",
        "process_time_ns", "thread_time", "thread_time_ns", "clock_gettime", "clock_gettime_ns",
    ],
    CLOCK,
)
_refuse(time, ["sleep"], "a call that waits is a call that is late")
for _name in ("localtime", "gmtime", "ctime", "asctime"):
    _without_a_time(time, _name, 0)
_without_a_time(time, "strftime", 1)

_BuiltDate, _BuiltDateTime = datetime.date, datetime.datetime


class _Instance(type):
    """What the interpreter itself makes are instances too."""

    def __instancecheck__(cls, value):
        return isinstance(value, cls._built)

    def __subclasscheck__(cls, other):
        return issubclass(other, cls._built)


class _Date(_BuiltDate, metaclass=_Instance):
    _built = _BuiltDate
    today = classmethod(_refusing("date.today()", CLOCK))


class _DateTime(_BuiltDateTime, metaclass=_Instance):
    _built = _BuiltDateTime
    now = classmethod(_refusing("datetime.now()", CLOCK))
    utcnow = classmethod(_refusing("datetime.utcnow()", CLOCK))
    today = classmethod(_refusing("datetime.today()", CLOCK))


for _class, _name in ((_Date, "date"), (_DateTime, "datetime")):
    _class.__name__ = _class.__qualname__ = _name
    _class.__module__ = "datetime"
    setattr(datetime, _name, _class)

_BuiltRandom = random.Random


class _Random(_BuiltRandom):
    """A generator from a seed that is given."""

    def __init__(self, seed=None):
        if seed is None:
            raise NotThere(f"random.Random() without a seed is not there: {CHANCE}")
        super().__init__(seed)

    def seed(self, a=None, version=2):
        if a is None:
            raise NotThere(f"Random.seed() without a seed is not there: {CHANCE}")
        super().seed(a, version)


_refuse(
    random,
    [
        "betavariate", "binomialvariate", "choice", "choices", "expovariate", "gammavariate", "gauss", "getrandbits",
        "lognormvariate", "normalvariate", "paretovariate", "randbytes", "randint", "random", "randrange", "sample",
        "seed", "shuffle", "triangular", "uniform", "vonmisesvariate", "weibullvariate", "SystemRandom",
    ],
    CHANCE,
)
_Random.__name__ = _Random.__qualname__ = "Random"
_Random.__module__ = "random"
random.Random = _Random
_refuse(os, ["urandom", "getrandom"], CHANCE)
_refuse(uuid, ["uuid1", "uuid4", "uuid6", "uuid7"], CHANCE)
_refuse(
    secrets,
    ["choice", "randbelow", "randbits", "token_bytes", "token_hex", "token_urlsafe", "SystemRandom"],
    CHANCE,
)

try:
    import socket
except ImportError:
    pass
else:

    class _Socket(socket.socket):
        def __init__(self, *_given, **_named):
            raise NotThere(f"socket.socket() is not there: {NETWORK}")

    socket.socket = _Socket
    _refuse(socket, ["create_connection", "create_server", "getaddrinfo", "gethostbyname", "socketpair"], NETWORK)
try:
    import urllib.request
except ImportError:
    pass
else:
    _refuse(urllib.request, ["urlopen", "urlretrieve"], NETWORK)
