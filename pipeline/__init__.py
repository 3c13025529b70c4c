"""What the scripts import. A script imports the package before all else, for the sake of Ctrl-C.

While the libraries still load, some seconds, Ctrl-C ends in one line instead of a traceback; from `cli.launch` on, that
answers.
"""

import os
import shlex
import sys
from types import TracebackType


def _report_interrupt(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
    """What Python calls for an exception that nobody caught."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, value, trace)
        return
    print("\nstopped; to start again:  " + shlex.join([sys.executable, *sys.argv]), file=sys.stderr, flush=True)
    os._exit(130)  # or Python would end as killed by a signal


sys.excepthook = _report_interrupt
