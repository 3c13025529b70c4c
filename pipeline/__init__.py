"""The package behind the scripts, which import it first, for Ctrl-C and for the encoding of their output.

While the libraries load, for some seconds, Ctrl-C then ends in one line instead of a traceback; later `cli.launch`
handles it. A terminal or a pipe whose encoding lacks a character, such as Windows' cp1252, prints `?` instead.
"""

import io
import os
import re
import shlex
import sys
from collections.abc import Sequence
from types import TracebackType


def command(arguments: Sequence[str]) -> str:
    """Return a command line for this Python, with *** for the passwords in URLs."""
    return shlex.join([sys.executable, *(re.sub(r"(://[^:@/]*:).*@", r"\1***@", text) for text in arguments)])


def _report_interrupt(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
    """Handle an exception that nobody caught, as sys.excepthook."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, value, trace)
        return
    print("\nstopped; to start again:  " + command(sys.argv), file=sys.stderr, flush=True)
    os._exit(130)  # or Python would end as killed by a signal


sys.excepthook = _report_interrupt
for _stream in (sys.stdout, sys.stderr):
    if isinstance(_stream, io.TextIOWrapper):
        _stream.reconfigure(errors="replace")
