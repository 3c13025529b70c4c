"""Begin a run: settings from the command line, a seeded device, an output folder that is its own.

A script gives its frozen dataclass and its `main` to `launch`, which turns the fields into flags, and an expected
failure into one line and an exit status: 0 done, 1 it could not be done, 2 wrong usage, 130 Ctrl-C.
"""

import argparse
import ctypes
import dataclasses
import math
import os
import platform
import random
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.errors import Failure, WrongUsage

try:
    import fcntl
except ImportError:  # Windows, where two runs into one folder are not noticed
    fcntl = None

DATA_DIR = Path(os.environ.get("DATA_DIR") or "data")
KEPT = {-3: 32 * 2**20, -1: 2**30, -2: 64 * 2**20}  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD; bytes
PARTIAL = ".partial-"  # begins the name of a file that is still being written
_claimed: dict[Path, int] = {}  # this run's folders and their open handles


def option(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] = (),
    least: float = -math.inf,
    most: float = math.inf,
    alias: str = "",
) -> Any:
    """A dataclass field that knows how to be a flag: its help, the values it may take, a second name."""
    metadata = {"help": help, "choices": choices, "range": (least, most), "alias": alias}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Common:
    """The flags that every script has."""

    seed: int = option(0, "decides the first weights and everything random", least=0, most=2**32 - 1)
    device: str = option("auto", "auto takes a GPU where there is one", choices=("auto", "cpu", "cuda", "mps"))
    threads: int = option(0, "CPU threads; 0 leaves the number to torch", least=0, most=1024)
    data_dir: Path = option(DATA_DIR, "holds the data sets, or will")
    show: bool = option(False, "open the pictures in windows at the end")
    quiet: bool = option(False, "no progress bar")


def configure(config: type, presets: Mapping[str, Any], **given: Any) -> Any:
    """A `config` of its defaults, over them the preset's values, over those what is given."""
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    preset = presets[given.get("preset", defaults["preset"])] if presets else None
    return config(**{**defaults, **(dataclasses.asdict(preset) if preset else {}), **given})


def parse(config: type, presets: Mapping[str, Any], doc: str, argv: list[str]) -> Any:
    """The command line as a `config`: one flag per field, hyphens for underscores."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.error = lambda message: _leave(f"error: {message} (--help lists the flags)", 2)
    shown = configure(config, presets)
    fields = {field.name: field for field in dataclasses.fields(config)}
    for name, field in fields.items():
        names = ["--" + name.replace("_", "-"), *filter(None, [field.metadata["alias"]])]
        help = field.metadata["help"].replace("%", "%%")
        if field.type is bool:
            parser.add_argument(*names, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=help)
            continue
        parser.add_argument(
            *names,
            type=_path if field.type is Path else field.type,
            choices=field.metadata["choices"] or None,
            default=argparse.SUPPRESS,
            metavar=None if field.metadata["choices"] else field.type.__name__.upper(),
            help=f"{help} (default: {getattr(shown, name)})",
        )
    settings = configure(config, presets, **vars(parser.parse_args(argv)))
    for name, field in fields.items():
        value, (least, most) = getattr(settings, name), field.metadata["range"]
        if isinstance(value, (int, float)) and not (least <= value <= most and math.isfinite(value)):
            parser.error(f"--{name.replace('_', '-')} must be {_range(least, most)}, not {value}")
    return settings


def _path(text: str) -> Path:
    """Path("") would be the folder where the script was started, and all below it."""
    if not text:
        raise argparse.ArgumentTypeError("is empty: give a path")
    return Path(text)


def _range(least: float, most: float) -> str:
    return f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"


def launch(main: Callable[[Any], Any], config: type, presets: Mapping[str, Any]) -> None:
    """Run a script: the command line to `main`, what can be expected to go wrong to one line and a status."""
    settings = parse(config, presets, sys.modules[main.__module__].__doc__, sys.argv[1:])
    try:
        main(settings)
    except KeyboardInterrupt:
        _leave("\nstopped" + _next_step(settings), 130)
    except WrongUsage as failure:
        _leave(f"error: {failure}", 2)
    except Failure as failure:
        _leave(f"error: {failure}", 1)
    except OSError as failure:
        _leave(f"error: {disk_trouble(failure)}", 1)


def _next_step(settings: Any) -> str:
    """After Ctrl-C: the command that goes on, or begins anew."""
    if getattr(settings, "record", None):
        return ""  # what was recorded is there, and is not written over
    arguments, end = sys.argv, []
    if hasattr(settings, "resume"):
        arguments, end = [argument for argument in sys.argv if argument != "--resume"], ["--resume"]
    # of a study the database knows what is done
    what = "goes on with it" if end or hasattr(settings, "study") else "begins anew"
    return f"; this {what}:  " + shlex.join([sys.executable, *arguments, *end])


def _leave(line: str, status: int) -> None:
    print(line, file=sys.stderr)
    sys.exit(status)


def begin(config: Any, alone: bool = True) -> tuple[torch.device, Path]:
    """Threads, seed, device and output folder of a run, all seen to work before any time is spent.

    Args:
        alone: no other run may use the output folder at the same time; False for one of several workers, which write
            files of different names.
    """
    hasten()
    if config.threads:
        torch.set_num_threads(config.threads)
    random.seed(config.seed)
    np.random.seed(config.seed % 2**32)
    torch.manual_seed(config.seed)
    return find_device(config.device), output_folder(config.output_dir, alone)


def changed(now: Mapping[str, Any], then: Mapping[str, Any]) -> str:
    """The flags that make the settings now what they were then; empty where they are the same."""
    return " ".join(f"--{name.replace('_', '-')} {then.get(name)}" for name in now if now[name] != then.get(name))


def hasten() -> None:
    """What every process that trains begins with."""
    flush_denormals()
    keep_memory()


def flush_denormals() -> None:
    """Take numbers below 1e-38 for 0, in this thread and those it starts, before any is started.

    The momentum of a weight whose input has died shrinks for ever, and at that size processors multiply a hundred
    times more slowly (`python -m benchmarks.denormals`).
    """
    torch.set_flush_denormal(True)


def keep_memory() -> None:
    """Keep what a training step frees for the next one, where the C library is glibc.

    By default it gives large pieces back to the system, and to get them again as fresh pages costs a fifth to a third
    of the step (`python -m benchmarks.pages`).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for parameter, size in KEPT.items():
            mallopt(parameter, size)


def find_device(name: str) -> torch.device:
    """The device of that name; `auto` takes a GPU where there is one."""
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, there in present.items() if there)
    if not present[name]:
        raise WrongUsage(f"this machine has no device '{name}': leave out --device to take the best there is")
    return torch.device(name)


def output_folder(path: Path, alone: bool = True, flag: str = "--output-dir") -> Path:
    """Make the folder and see that it can be written to, before hours are spent on what would go there.

    Args:
        alone: as for `begin`.
        flag: the one that says where, for the error's next step.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        if alone:
            _claim(path, flag)
            for leftover in path.glob(f"{PARTIAL}*"):
                leftover.unlink()  # from a run that was killed while it wrote
        with tempfile.TemporaryFile(dir=path):
            pass  # it could be made
    except OSError as failure:
        raise Failure(f"cannot write to {path} ({failure.strerror}): choose another {flag}") from None
    return path


def _claim(path: Path, flag: str) -> None:
    """Keep other runs out of the folder until this process ends, however it ends: the system then opens the lock."""
    if fcntl is None or path.resolve() in _claimed:
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise Failure(f"another run is writing to {path}: wait for it, or choose another {flag}") from None
    except OSError:
        pass  # a file system without locks
    _claimed[path.resolve()] = handle


def disk_trouble(failure: OSError) -> str:
    """A full disk, a folder without permission: in one line, with what to do."""
    where = f" ({failure.filename})" if failure.filename else ""
    return f"{failure.strerror or failure}{where}: make room or choose another folder, then run again"


def first_line(failure: Exception) -> str:
    """An exception's message, short enough for a line of ours."""
    return (str(failure).splitlines() or [type(failure).__name__])[0].rstrip(":. ")


def versions() -> dict[str, str]:
    """The versions a result depends on."""
    return {"python": platform.python_version(), "torch": torch.__version__}
