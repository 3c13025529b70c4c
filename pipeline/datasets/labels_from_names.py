"""Derive the names of classes from the names of folders and files."""

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from pipeline.datasets.stroke_templates import GREEK

UNICODE_SPELLINGS = {"lambda": "lamda"}  # where Unicode spells a letter differently
GREEK_SIGNS = {  # name -> sign
    name: unicodedata.lookup(f"GREEK SMALL LETTER {UNICODE_SPELLINGS.get(name, name)}") for name in GREEK
}
GREEK_NAMES = {sign: name for name, sign in GREEK_SIGNS.items()}
# words before a number that counts files, as cameras, messengers and editors write them; and the digits' own names
COUNTED_WORDS = re.compile(
    "img|image|picture|pic|photo|foto|scan|page|capture|screenshot|snapshot|frame|untitled|unnamed|new|copy|of|document"
    "|doc|file|drawing|sketch|canvas|whatsapp|signal|telegram|pxl|dscn?|dcim|sample|example|test|bild|seite|kopie"
    "|unbenannt|neu|imagen|imagem|pagina|página|copia|sin|título|titulo|sans|titre"
    "|drawn|crop|captures|clip|live|notes?|homework|version|ver|v|part|take|draft|final|attempt|try|run|set|group|day|week"
    "|zero|one|two|three|four|five|six|seven|eight|nine"
)


def class_name(name: str) -> str:
    """Return the class that the name of a folder stands for.

    That is the name itself, case included, in Unicode's composed form; a lower-case Greek letter becomes its name,
    also where it is written as a symbol such as µ. Bytes that are not UTF-8 become an escape such as \\xe9.
    """
    name = unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))
    return GREEK_NAMES.get(unicodedata.normalize("NFKC", name), name)


def find_class(name: str, classes: Sequence[str]) -> str | None:
    """Return the class with this name, or None.

    The case may differ for names of several letters, unless that leaves a choice: ALPHA is alpha, but A is not a.
    """
    name = class_name(name)
    if name in classes:
        return name
    similar = [known for known in classes if len(known) > 1 and known.casefold() == name.casefold()]
    return similar[0] if len(similar) == 1 else None


def class_in_file_name(file: Path, classes: Sequence[str]) -> str | None:
    """Return the class that a file's name states, or None if the name could mean anything else.

    The name is the class, ends in it after a space, `_` or `-`, or is a class followed by a counter:
    `7`, `anna 7`, `3_001`, `alpha_2`. Other numbers and words such as `page` before it make it a date or a counter.
    """
    stem = class_name(file.stem)
    if counted := re.fullmatch(r"(.*\D)[ _-](\d+)|(\d)[ _-](0\d+)", stem):
        before, number, digit, _ = counted.groups()
        if digit and digit in classes:
            return digit
        if before and len(before) > 1 and (found := find_class(before, classes)):
            return None if number in classes else found
    if found := find_class(stem, classes):
        return found
    parts = re.fullmatch(r"(.*)[ _-]([^ _-]+)", stem)
    label = find_class(parts[2], classes) if parts else None
    if not parts or label is None:
        return None
    words = re.findall(r"[^\W\d_]+", parts[1])
    is_doubtful = any(COUNTED_WORDS.fullmatch(word.lower()) or find_class(word, classes) for word in words)
    return None if is_doubtful or re.search(r"\d", parts[1]) else label
