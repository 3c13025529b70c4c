"""How people write each character: for every name the templates of its strokes, each with how often it is picked.

stroke_templates.json holds [weight, path] pairs. A path is one or more strokes, separated by a slash. A point is two
digits: x from 0 (left), y from 0 (top) to 9 (bottom). The curve runs through the middles between neighbouring points,
and through a point itself where it begins, ends, or where the point stands twice: a corner. Only relative positions
count: `synthetic.write_glyph` scales any size to one.
"""

import json
from pathlib import Path

Templates = dict[str, list[tuple[int, str]]]  # name -> (relative frequency, path)


def _read() -> dict[str, Templates]:
    content = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    return {
        group: {name: [(weight, path) for weight, path in templates] for name, templates in characters.items()}
        for group, characters in content.items()
    }


_GROUPS = _read()
DIGITS, GREEK, LATIN = _GROUPS["digits"], _GROUPS["greek"], _GROUPS["latin"]
CAPITALS, SIGNS = _GROUPS["capitals"], _GROUPS["signs"]
TEMPLATES = DIGITS | GREEK | LATIN | CAPITALS | SIGNS
