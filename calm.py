"""Ctrl-C while the libraries still load, some seconds: one line instead of a traceback.

A script imports this before all else; from `experiment.launch` on, that answers.
"""

import os
import shlex
import sys


def leave(kind, value, trace) -> None:
    """What Python calls for an exception that nobody caught."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, value, trace)
        return
    print("\nstopped; this begins anew:  " + shlex.join([sys.executable, *sys.argv]), file=sys.stderr, flush=True)
    os._exit(130)  # or Python would end as killed by a signal


sys.excepthook = leave
