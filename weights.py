"""Is a file of weights whole, and nothing but weights?

`torch.load` refuses foreign code, but it unpacks bombs, overlooks a flipped bit, and grants a few bytes any memory.
"""

import pickle
import pickletools
import zipfile
from pathlib import Path

GLOBALS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
}  # beside storages, all that ours name


def inspect(path: Path) -> None:
    """Look at a file before `torch.load` does.

    Raises:
        zipfile.BadZipFile: no archive, larger inside than outside, or not as it was written.
        pickle.UnpicklingError: it calls what plain weights do not need.
        Exception: of many kinds, where it is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        if sum(record.file_size for record in records) > path.stat().st_size or archive.testzip():
            raise zipfile.BadZipFile
        for record in records:
            if record.filename.endswith(".pkl"):
                _must_be_plain(archive.read(record))


def _must_be_plain(pickled: bytes) -> None:
    for code, named, _ in pickletools.genops(pickled):
        is_storage = str(named).startswith("torch ") and str(named).endswith("Storage")
        if "GLOBAL" in code.name and named not in GLOBALS and not is_storage:
            raise pickle.UnpicklingError(f"calls {named}")
