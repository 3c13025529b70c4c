"""What each key does: the network that reads, the size of the box, pausing, saving a crop and labelling it.

A crop is saved at once; then its label is asked for. A digit is one key. A Greek letter is its name, typed until no
other name begins with it: `a` is alpha, `et` is eta.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from torch import nn

from models import DIGITS
from pipeline import files
from pipeline.datasets.stroke_templates import GREEK
from pipeline.errors import Failure
from pipeline.live import overlay

Networks = Mapping[str, Mapping[str, nn.Module]]  # mode -> how it was made -> the network; those that are there

ESCAPE_KEY, ENTER_KEYS = 27, (10, 13)
MIN_BOX_SIZE, DEFAULT_BOX_SIZE, MAX_BOX_SIZE, BOX_SIZE_STEP = 0.2, 0.5, 0.9, 0.05  # of the frame's lesser side: the box
MESSAGE_SECONDS = 3.0  # seconds that a message stays
NAME_TYPING_SECONDS = 1.5  # seconds in which the rest of a name may still be typed
MODE_TITLES = {"digits": "digits", "greek": "Greek letters"}
MISSING_NETWORK_ADVICE = {
    "digits": "no digit network yet: run python train_mnist.py",
    "greek": "no Greek network yet: run python transfer_greek.py",
}


class Controls:
    """The state that keys change. `press` is all of it that moves; the rest is read by who draws and who reads."""

    def __init__(self, networks: Networks, mode: str, saved: Path, handwritten: Path):
        """Args:
        saved: the folder where a crop goes at once.
        handwritten: the folder with a folder for each mode and in it one for each label, where it goes then.

        Raises:
            Failure: no network for that mode.
        """
        if mode not in networks:
            raise Failure(MISSING_NETWORK_ADVICE[mode])
        self.networks, self.mode = networks, mode
        self.made = {name: next(iter(known)) for name, known in networks.items()}  # mode -> the network that reads
        self.share = DEFAULT_BOX_SIZE
        self.frozen = self.help = self.rate = self.over = False
        self._saved, self._handwritten = saved, handwritten
        self._filing: Path | None = None  # the crop whose name is asked for
        self._typed = ""
        self._rest, self._rest_until = "", 0.0  # of a name that was clear before it was typed to its end
        self._told, self._told_until = "", 0.0
        self.standing = ""  # what the bar says while there is nothing else to say

    @property
    def model(self) -> nn.Module:
        return self.networks[self.mode][self.made[self.mode]]

    @property
    def title(self) -> str:
        choice = f", {self.made[self.mode]}" if len(self.networks[self.mode]) > 1 else ""
        return MODE_TITLES[self.mode] + choice + ("   frozen" if self.frozen else "")

    def message(self, now: float) -> str:
        """What the bar at the foot says at this time, in seconds."""
        if self._filing:
            return self._question()
        return self._told if now < self._told_until else self.standing

    def press(self, key: int, crop: np.ndarray | None, now: float) -> None:
        """A key, by the number of its character, or -1 for none, at a time in seconds; the crop is what is in the box,
        None without writing."""
        if key < 0:
            return
        character = chr(key).lower()
        if self._rest and now < self._rest_until and character == self._rest[0]:
            self._rest = self._rest[1:]
            return
        self._rest = ""
        if self._filing:
            self._name(key, character, now)
            return
        if character == "q" or key == ESCAPE_KEY:
            self.over = True
        elif character in "mg":
            self._read("digits" if character == "m" else "greek", now)
        elif character == "t":
            self._other_network(now)
        elif character in "+=-_":
            share = self.share + (BOX_SIZE_STEP if character in "+=" else -BOX_SIZE_STEP)
            self.share = min(max(round(share, 2), MIN_BOX_SIZE), MAX_BOX_SIZE)
        elif character == " ":
            self.frozen = not self.frozen
        elif character == "h":
            self.help = not self.help
        elif character == "f":
            self.rate = not self.rate
        elif character == "s":
            self._save(crop, now)

    def tell(self, words: str, now: float) -> None:
        """Put a message into the bar for a while."""
        self._told, self._told_until = words, now + MESSAGE_SECONDS

    def _read(self, mode: str, now: float) -> None:
        if mode in self.networks:
            self.mode = mode
        else:
            self.tell(MISSING_NETWORK_ADVICE[mode], now)

    def _other_network(self, now: float) -> None:
        if self.mode != "greek":
            self.tell("t is for Greek letters: press g first", now)
            return
        made = list(self.networks["greek"])
        if len(made) < 2:
            other = "greek_from_scratch.py" if made[0] == "transferred" else "transfer_greek.py"
            self.tell(f"only one Greek network yet: run python {other}", now)
            return
        self.made["greek"] = made[1 - made.index(self.made["greek"])]

    def _save(self, crop: np.ndarray | None, now: float) -> None:
        if crop is None:
            self.tell("no character in the box to save", now)
            return
        try:
            self._saved.mkdir(parents=True, exist_ok=True)
            path = unused_path(self._saved, "crop")
            packed = cv2.imencode(".png", crop)[1]
            with files.atomic_write(path) as file:
                file.write_bytes(packed.tobytes())
        except OSError as failure:
            self.tell(f"not saved: {failure.strerror or failure} ({self._saved})", now)
            return
        self._filing, self._typed = path, ""

    def _names(self) -> list[str]:
        """The labels a crop can have."""
        if self.mode == "digits":
            return list(DIGITS)
        known = self.model.class_names
        return known + [name for name in GREEK if name not in known]

    def _question(self) -> str:
        begun = [name for name in self._names() if name.startswith(self._typed)]
        if self.mode == "digits":
            return "saved; which digit is it?   0 to 9   Esc: leave it unfiled"
        shown = "   ".join(f"{overlay.sign(name)} {name}" for name in begun[:6]) + ("  ..." if len(begun) > 6 else "")
        typed = f"{self._typed}_" if self._typed else "type its name"
        return f"saved; which letter is it?   {typed}   {shown}   Esc: leave it"

    def _name(self, key: int, character: str, now: float) -> None:
        """One more character of the name of the crop that is being filed."""
        if key == ESCAPE_KEY:
            self.tell(f"kept as {self._filing}", now)
            self._filing = None
            return
        typed = self._typed[:-1] if key in (8, 127) else self._typed + character * (key not in ENTER_KEYS)
        names = self._names()
        begun = [typed] if key in ENTER_KEYS and typed in names else [name for name in names if name.startswith(typed)]
        if len(begun) == 1 and typed:
            self._file(begun[0], now)
            self._rest, self._rest_until = begun[0][len(typed) :], now + NAME_TYPING_SECONDS
        elif begun:
            self._typed = typed

    def _file(self, label: str, now: float) -> None:
        assert self._filing is not None
        folder = self._handwritten / self.mode / label
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path = unused_path(folder, "live")
            os.replace(self._filing, path)
        except OSError as failure:
            self.tell(f"not filed: {failure.strerror or failure} ({folder}); it is kept as {self._filing}", now)
        else:
            self.tell(f"filed as {overlay.sign(label)}: {path}", now)
        self._filing = None


def unused_path(folder: Path, name: str) -> Path:
    """The first of <name>_1.png, <name>_2.png, ... that is not there."""
    number = 1
    while (folder / f"{name}_{number}.png").exists():
        number += 1
    return folder / f"{name}_{number}.png"
