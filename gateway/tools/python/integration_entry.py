"""The module that is built: the plugin's, with what is not there refused before it is read."""

import integration_frozen  # noqa: F401  Before the plugin.

import traceback

import app
from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import log

FUNCTIONS = {"Share": "on_event", "Decide": "decide", "Receive": "on_message"}


def _served(hook, function):
    """The plugin's class for this hook; what ends a call is written to the log, as its text would be lost."""
    served = getattr(app, hook, None)
    if not callable(getattr(served, function, None)):
        raise TypeError(
            f"app.py has no class `{hook}` with a method `{function}`, and the manifest declares [[{hook.lower()}]]"
        )

    def call(_self, *given):
        try:
            return getattr(served(), function)(*given)
        except Err:
            # A failure of the interface is an answer.
            raise
        except BaseException as error:
            text = "".join(traceback.format_exception_only(error)).strip()
            where = "".join(traceback.format_tb(error.__traceback__)[1:]).rstrip()
            log.write(log.Level.ERROR, f"{text}\n{where}")
            raise

    return type(hook, (getattr(exports, hook),), {function: call})


for _hook, _function in FUNCTIONS.items():
    if hasattr(exports, _hook):
        globals()[_hook] = _served(_hook, _function)
