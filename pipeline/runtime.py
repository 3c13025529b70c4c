"""The process of a run: device, threads, seed, memory, and an output folder that no other run uses."""

import ctypes
import getpass
import hashlib
import platform
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from pipeline.errors import Failure, WrongUsage
from pipeline.files import PARTIAL_PREFIX

MALLOC_SETTINGS = {-3: 32 * 2**20, -1: 2**30, -2: 64 * 2**20}  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD; bytes
_locks: dict[Path, FileLock] = {}  # this run's folders


def start(config: Any, alone: bool = True) -> tuple[torch.device, Path]:
    """Threads, seed, device and output folder of a run, all seen to work before any time is spent.

    Args:
        alone: no other run may use the output folder at the same time; False for one of several workers, which write
            files of different names.
    """
    tune_process()
    if config.threads:
        torch.set_num_threads(config.threads)
    random.seed(config.seed)
    np.random.seed(config.seed % 2**32)
    torch.manual_seed(config.seed)
    return find_device(config.device), output_folder(config.output_dir, alone)


def tune_process() -> None:
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
        for parameter, size in MALLOC_SETTINGS.items():
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
        raise WrongUsage(f"this machine has no device '{name}': leave out --device to use the best available")
    return torch.device(name)


def output_folder(path: Path, alone: bool = True, flag: str = "--output-dir") -> Path:
    """Make the folder and see that it can be written to, before hours are spent on what would go there.

    Args:
        alone: as for `start`.
        flag: the one that says where, for the error's next step.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        if alone:
            _lock_folder(path, flag)
            for leftover in path.glob(f"{PARTIAL_PREFIX}*"):
                leftover.unlink()  # from a run that was killed while it wrote
        with tempfile.TemporaryFile(dir=path):
            pass  # it could be made
    except OSError as failure:
        raise Failure(f"cannot write to {path} ({failure.strerror}): choose another {flag}") from None
    return path


def _lock_folder(path: Path, flag: str) -> None:
    """Keep other runs out of the folder until this process ends, however it ends: the system then opens the lock."""
    folder = path.resolve()
    if folder in _locks:
        return
    name = hashlib.sha256(f"{getpass.getuser()} {folder}".encode()).hexdigest()[:20]
    lock = FileLock(Path(tempfile.gettempdir()) / f"handwriting-{name}.lock")  # the folder holds results only
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise Failure(f"another run is writing to {path}: wait for it, or choose another {flag}") from None
    except (OSError, NotImplementedError):
        pass  # a file system without locks
    _locks[folder] = lock


def versions() -> dict[str, str]:
    """The versions a result depends on."""
    return {"python": platform.python_version(), "torch": torch.__version__}
