"""Classify pictures and print each answer as soon as there is one, and nothing else: what `--read` does.

One line per character: the file, the answer, the confidence, and on a page the character's bounding box. With `--json`
one JSON object per line. Standard output contains only these lines; everything else goes to standard error.
"""

import contextlib
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from pipeline import runtime
from pipeline.cli import run_option
from pipeline.datasets.handwriting_folder import Sample, read_pages
from pipeline.errors import Failure, WrongUsage
from pipeline.evaluation import handwriting

STANDARD_INPUT = Path("-")


@dataclass(frozen=True)
class ReadFlags:
    """The flags of a script that can classify pictures without training or evaluating."""

    read: tuple = run_option(
        (), "only print the answers for these pictures, folders or pages; - reads a picture from standard input"
    )
    json: bool = run_option(False, "with --read: print a JSON object per character")
    save: Path = run_option(None, "with --read: folder to write handwritten.csv and handwritten.png to")


def is_wanted(config: Any) -> bool:
    """Whether a run shall only print answers.

    Raises:
        WrongUsage: a flag that needs --read without it.
    """
    if not config.read and (config.json or config.save):
        raise WrongUsage(f"--{'json' if config.json else 'save'} needs --read with pictures")
    return bool(config.read)


def print_answers(load: Callable[[Any], nn.Module], config: Any) -> None:
    """Classify all characters in the pictures of `--read` and print a line for each.

    Args:
        load: gives the network of the config, on the CPU.
        config: has ReadFlags and threads.

    Raises:
        Failure: there was no answer for one of the paths; those for the others have been printed and saved.
    """
    torch.set_num_threads(config.threads or 1)  # more are slower for single pictures
    folder = runtime.output_folder(config.save, flag="--save") if config.save else None
    answers, output = sys.stdout, list[tuple[list[Sample], pd.DataFrame]]()
    # what is printed while reading, such as that only the first frame of an animation is read, is no answer
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as spool:
        model, unread = load(config), []
        for path in config.read:
            answered = False
            try:
                for page in read_pages(_spooled(path, Path(spool)), model.class_names):
                    if isinstance(page, Failure):
                        print(f"skipped: {page}".replace(f"{spool}{os.sep}", ""))
                        continue
                    samples, table, notes = handwriting.classify_samples(model, page)
                    table.file = table.file.str.removeprefix(Path(spool).as_posix() + "/")
                    print(*notes, sep="\n", end="\n" * bool(notes))
                    for row in table.to_dict("records"):
                        print(_as_json(row) if config.json else _as_line(row), file=answers, flush=True)
                    answered = True
                    if folder:
                        output.append((samples, table))
            except Failure as failure:
                print(f"skipped: {failure}")
            if not answered:
                unread.append(str(path))
        if folder and output:
            table = pd.concat([table for _, table in output], ignore_index=True)
            handwriting.save([sample for samples, _ in output for sample in samples], table, folder)
            print(f"wrote {folder / 'handwritten.csv'} and {folder / 'handwritten.png'}")
    if unread:
        raise Failure(f"no answer for {', '.join(unread)}: give pictures, such as PNG or JPEG, or folders of them")


def _spooled(path: Path, folder: Path) -> Path:
    """The path itself; for STANDARD_INPUT a copy of it in the folder, since a picture may be read twice."""
    if path != STANDARD_INPUT:
        return path
    copy = folder / "standard input"
    with open(copy, "wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return copy


def _as_line(row: Mapping[str, Any]) -> str:
    percent = f"{math.floor(100 * row['confidence'])} %"
    if row["answer"] != handwriting.UNCLEAR:
        words = [row["file"], row["answer"], percent]
    elif row["confidence"]:
        words = [row["file"], row["answer"], f"({row['prediction']}, {percent})"]
    else:
        words = [row["file"], row["answer"], "(no character found)"]
    if (box := _box(row)) is not None:
        words.append("at {},{}, {}x{} pixels".format(*box))
    return "  ".join(words)


def _as_json(row: Mapping[str, Any]) -> str:
    names = "file", "answer", "prediction", "confidence"
    return json.dumps({**{name: row[name] for name in names}, "box": _box(row)}, ensure_ascii=False)


def _box(row: Mapping[str, Any]) -> list[int] | None:
    """The bounding box x, y, width, height of a character on a page; None if the picture shows one character."""
    return None if pd.isna(row["x"]) else [int(row[name]) for name in ("x", "y", "width", "height")]
