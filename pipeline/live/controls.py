"""Keyboard controls: choose the network, resize the box, pause, save the crop in the box and label it.

A crop is saved at once; then its label is entered. A digit is one key. A Greek letter's name is typed until it is
unambiguous: `a` is alpha, `et` is eta.
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
from pipeline.live import overlay

Networks = Mapping[str, Mapping[str, nn.Module]]  # mode -> variant, such as "transferred" -> the available network

ESCAPE_KEY, ENTER_KEYS = 27, (10, 13)
# side of the box, as a share of the frame's shorter side
MIN_BOX_SIZE, DEFAULT_BOX_SIZE, MAX_BOX_SIZE, BOX_SIZE_STEP = 0.2, 0.5, 0.9, 0.05
MESSAGE_SECONDS = 3.0  # for which a message is shown
NAME_TYPING_SECONDS = 1.5  # in which the remaining characters of an already unambiguous name are ignored
MODE_TITLES = {"digits": "digits", "greek": "Greek letters"}


class Controls:
    """The state of the window that keys change; `press` handles a key."""

    def __init__(self, networks: Networks, mode: str, saved: Path, handwritten: Path):
        """Start in a mode, with its first network.

        Args:
            saved: folder for unlabeled crops.
            handwritten: folder for labeled crops, in <mode>/<label>/.
        """
        self.networks, self.mode = networks, mode
        self.variant = {name: next(iter(variants)) for name, variants in networks.items()}  # mode -> chosen variant
        self.box_size = DEFAULT_BOX_SIZE
        self.frozen = self.show_help = self.show_rate = self.quit = False
        self._saved, self._handwritten = saved, handwritten
        self._unlabeled: Path | None = None  # the crop whose label is being entered
        self._typed = ""
        # the characters of a name that were not typed yet when it became unambiguous
        self._remainder, self._remainder_until = "", 0.0
        self._message, self._message_until = "", 0.0
        self.idle_message = ""  # shown while there is no other message

    @property
    def model(self) -> nn.Module:
        return self.networks[self.mode][self.variant[self.mode]]

    @property
    def title(self) -> str:
        variant = f", {self.variant[self.mode]}" if len(self.networks[self.mode]) > 1 else ""
        return MODE_TITLES[self.mode] + variant + ("   frozen" if self.frozen else "")

    def message(self, now: float) -> str:
        """Return the message to show at this time, in seconds."""
        if self._unlabeled:
            return self._label_prompt()
        return self._message if now < self._message_until else self.idle_message

    def press(self, key: int, crop: np.ndarray | None, now: float) -> None:
        """Handle a key.

        Args:
            key: as `window.key_character` returns it; -1 for no key.
            crop: what is in the box, or None if no ink is in it.
            now: time in seconds.
        """
        if key < 0:
            return
        character = chr(key).lower()
        if self._remainder and now < self._remainder_until and character == self._remainder[0]:
            self._remainder = self._remainder[1:]
            return
        self._remainder = ""
        if self._unlabeled:
            self._type_label(key, character, now)
            return
        if character == "q" or key == ESCAPE_KEY:
            self.quit = True
        elif character in "mg":
            self.mode = "digits" if character == "m" else "greek"
        elif character == "t":
            self._switch_greek_network(now)
        elif character in "+=-_":
            size = self.box_size + (BOX_SIZE_STEP if character in "+=" else -BOX_SIZE_STEP)
            self.box_size = min(max(round(size, 2), MIN_BOX_SIZE), MAX_BOX_SIZE)
        elif character == " ":
            self.frozen = not self.frozen
        elif character == "h":
            self.show_help = not self.show_help
        elif character == "f":
            self.show_rate = not self.show_rate
        elif character == "s":
            self._save(crop, now)
        else:
            self.show_message("no command on this key; h: all keys   Esc: quit", now)

    def show_message(self, message: str, now: float) -> None:
        """Show a message for MESSAGE_SECONDS seconds."""
        self._message, self._message_until = message, now + MESSAGE_SECONDS

    def _switch_greek_network(self, now: float) -> None:
        if self.mode != "greek":
            self.show_message("t is for Greek letters: press g first", now)
            return
        variants = list(self.networks["greek"])
        self.variant["greek"] = variants[1 - variants.index(self.variant["greek"])]

    def _save(self, crop: np.ndarray | None, now: float) -> None:
        if crop is None:
            self.show_message("no character in the box to save", now)
            return
        try:
            self._saved.mkdir(parents=True, exist_ok=True)
            path = unused_path(self._saved, "crop")
            png = cv2.imencode(".png", crop)[1]
            with files.atomic_write(path) as file:
                file.write_bytes(png.tobytes())
        except OSError as failure:
            self.show_message(f"not saved: {failure.strerror or failure} ({self._saved})", now)
            return
        self._unlabeled, self._typed = path, ""

    def _label_names(self) -> list[str]:
        """Return the labels that a crop can be given in this mode."""
        if self.mode == "digits":
            return list(DIGITS)
        known = self.model.class_names
        return known + [name for name in GREEK if name not in known]

    def _label_prompt(self) -> str:
        matches = [name for name in self._label_names() if name.startswith(self._typed)]
        if self.mode == "digits":
            return "crop saved; type its digit: 0 to 9   Esc: no label"
        shown = "   ".join(f"{overlay.sign(name)} {name}" for name in matches[:6])
        shown += "  ..." if len(matches) > 6 else ""
        return f"crop saved; type its letter: {self._typed}_   {shown}   Esc: no label"

    def _type_label(self, key: int, character: str, now: float) -> None:
        """Handle a key while the label of the saved crop is entered."""
        if key == ESCAPE_KEY:
            self.show_message(f"saved without a label: {self._unlabeled}", now)
            self._unlabeled = None
            return
        typed = self._typed[:-1] if key in (8, 127) else self._typed + character * (key not in ENTER_KEYS)
        names = self._label_names()
        is_complete = key in ENTER_KEYS and typed in names
        matches = [typed] if is_complete else [name for name in names if name.startswith(typed)]
        if len(matches) == 1 and typed:
            self._label_crop(matches[0], now)
            self._remainder, self._remainder_until = matches[0][len(typed) :], now + NAME_TYPING_SECONDS
        elif matches:
            self._typed = typed

    def _label_crop(self, label: str, now: float) -> None:
        """Move the saved crop into the folder of its label."""
        assert self._unlabeled is not None
        folder = self._handwritten / self.mode / label
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path = unused_path(folder, "live")
            os.replace(self._unlabeled, path)
        except OSError as failure:
            self.show_message(f"not labeled: {failure.strerror or failure} ({folder}); saved: {self._unlabeled}", now)
        else:
            self.show_message(f"labeled {overlay.sign(label)}: {path}", now)
        self._unlabeled = None


def unused_path(folder: Path, name: str) -> Path:
    """Return the first of <name>_1.png, <name>_2.png, ... that does not exist."""
    number = 1
    while (folder / f"{name}_{number}.png").exists():
        number += 1
    return folder / f"{name}_{number}.png"
