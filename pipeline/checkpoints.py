"""Files of weights, and the checkpoints that a stopped run resumes from.

`torch.load` with `weights_only=True` refuses foreign code, but it unpacks archives of any size, overlooks a flipped
bit, and allocates whatever memory a few bytes ask for: so a file is inspected before.
"""

import hashlib
import io
import pickle
import pickletools
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models import FashionNet, GreekNet, MnistNet
from pipeline import cli, errors
from pipeline.errors import Failure
from pipeline.files import atomic_write


def save_file(path: Path, content: dict) -> None:
    """`torch.save` that leaves the whole file, or the one that was there before."""
    buffer = io.BytesIO()  # torch's own writer reports a full disk as a RuntimeError without a name
    torch.save(content, buffer)
    with atomic_write(path) as file:
        file.write_bytes(buffer.getvalue())


def load_file(path: Path, remedy: str) -> dict:
    """`torch.load` of tensors and plain values, nothing that could run code, every byte as it was written.

    Raises:
        Failure: whatever is wrong with the file, in one line that ends in the remedy.
    """
    try:
        _inspect(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise Failure(
            f"{path} contains more than plain weights, which could run code, so it is not loaded: {remedy}"
        ) from None
    except Exception:  # what a damaged file makes torch raise is in no list
        raise Failure(f"{path} is damaged or not a weights file: {remedy}") from None
    if not isinstance(content, dict):
        raise Failure(f"{path} is not a weights file of this project: {remedy}")
    return content


def save_checkpoint(path: Path, config: Any, dataset: str, run: dict) -> None:
    """Everything a stopped run needs to go on, and the settings and data it was made with."""
    save_file(path, {"config": cli.result_settings(config), "dataset": dataset, "run": run})


def load_checkpoint(path: Path, config: Any, dataset: str) -> dict | None:
    """The run in a checkpoint made with the same settings and data; None where there is no checkpoint yet.

    Raises:
        Failure: it cannot be read, or other settings made it: going on would mix two recipes.
    """
    if not path.exists():
        return None  # stopped before the first epoch ended
    content = load_file(path, "run without --resume")
    if not isinstance(content.get("config"), dict) or not isinstance(content.get("run"), dict):
        raise Failure(f"{path} is not a checkpoint: run without --resume")
    if changed := cli.changed(cli.result_settings(config), content["config"]):
        raise Failure(f"{path} was made with other flags: give {changed}, or leave out --resume")
    if content.get("dataset") != dataset:
        raise Failure(f"{path} was made with {content.get('dataset')}, this is {dataset}: give the same --data-dir")
    return content["run"]


ALLOWED_GLOBALS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
}  # beside storages, all that ours name


def _inspect(path: Path) -> None:
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
        if "GLOBAL" in code.name and named not in ALLOWED_GLOBALS and not is_storage:
            raise pickle.UnpicklingError(f"calls {named}")


PRETRAINED = Path(__file__).parent / "pretrained"  # weights that come with the project
NETWORKS = {network.__name__: network for network in (MnistNet, GreekNet, FashionNet)}


def pack(model: nn.Module) -> dict:
    """What `unpack` needs to build the model again: plain values and copies of the weights on the CPU."""
    weights = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    return {"network": type(model).__name__, "settings": model.settings, "weights": weights}


def unpack(content: dict) -> nn.Module:
    """The packed model, on the CPU, in evaluation mode."""
    model = NETWORKS[content["network"]](**content["settings"])
    model.load_state_dict(content["weights"])
    return model.eval()


def save(model: nn.Module, path: Path) -> None:
    """Write the packed model, whole or not at all."""
    save_file(path, pack(model))


def published_sums() -> dict[str, str]:
    """The SHA-256 of each pretrained file, by its name."""
    lines = (PRETRAINED / "SHA256SUMS").read_text().splitlines()
    return {name: digest for digest, name in map(str.split, lines)}


def _verify(path: Path) -> None:
    """Compare a pretrained file with its SHA-256 in PRETRAINED/SHA256SUMS.

    Raises:
        Failure: it is missing, or another file.
    """
    try:
        is_published = hashlib.sha256(path.read_bytes()).hexdigest() == published_sums()[path.name]
    except (OSError, KeyError, ValueError):
        is_published = False
    if not is_published:
        raise errors.Failure(f"{path} is missing or is not the published file: git checkout {path}")


def load(
    path: Path, network: type[nn.Module] | None, made_by: str, class_names: Sequence[str] | None = None
) -> nn.Module:
    """Load a saved model, on the CPU, in evaluation mode.

    Args:
        network: the class that it must be of; None accepts any of NETWORKS.
        made_by: the script that writes such a file, for the error message.
        class_names: that the network must have; None accepts any.

    Raises:
        Failure: no such file, damaged, of another network or classes, or weights that are NaN or infinite.
    """
    if not path.is_file():
        raise errors.Failure(f"no weights at {path}: run {made_by} first")
    content = load_file(path, f"run {made_by} again")
    held = content.get("network")
    known = list(NETWORKS) if network is None else [network.__name__]
    if held not in known:
        reason = f"contains {held}, not {' or '.join(known)}" if held else "contains no network"
        raise errors.Failure(f"{path} {reason}: give the model.pt that {made_by} writes")
    try:
        model = unpack(content)
        if not all(isinstance(name, str) for name in model.class_names):
            raise TypeError("names that are no text")
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as failure:
        reason = errors.first_line(failure)
        raise errors.Failure(f"{path} does not fit {held} ({reason}): run {made_by} again") from None
    if class_names is not None and list(model.class_names) != list(class_names):
        raise errors.Failure(
            f"{path} has other classes than {', '.join(class_names)}: give the model.pt that {made_by} writes"
        )
    if not all(weight.isfinite().all() for weight in model.state_dict().values()):
        raise errors.Failure(f"{path} contains NaN or infinite weights: run {made_by} again")
    return model


def own_or_pretrained(path: Path, default: Path, pretrained: str) -> Path:
    """The path, or the file of PRETRAINED where the path is the default and there is none yet.

    Raises:
        Failure: the pretrained file is missing or not the published one.
    """
    if path != default or path.is_file():
        return path
    _verify(PRETRAINED / pretrained)
    return PRETRAINED / pretrained


def load_or_pretrained(
    path: Path,
    default: Path,
    pretrained: str,
    network: type[nn.Module] | None,
    made_by: str,
    class_names: Sequence[str] | None = None,
) -> nn.Module:
    """Load a saved model, or the pretrained one where the default path has none; print which.

    Args:
        path: as for `load`. Another path than the default must exist.
        pretrained: a file of PRETRAINED.
        network, made_by, class_names: as for `load`.

    Raises:
        Failure: as `load`; or the pretrained file is not the published one.
    """
    chosen = own_or_pretrained(path, default, pretrained)
    model = load(chosen, network, made_by, class_names)
    print(f"weights: {chosen}" + ("" if chosen == path else f" (pretrained; {made_by} trains your own)"))
    return model
