"""One page of all figures, each with a sentence on how to read it, in a single file that needs no other."""

import base64
import html
from pathlib import Path

from matplotlib.figure import Figure
from tqdm import tqdm

from pipeline import plots
from pipeline.files import atomic_write

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
  body {{ max-width: 62rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; color: #222 }}
  h2 {{ margin: 3rem 0 .3rem }}
  img {{ max-width: 100%; height: auto }}
  pre {{ padding: .8rem; overflow-x: auto; background: #f4f4f4; font-size: .8rem }}
  .found {{ border-left: .25rem solid #1f77b4; padding-left: .8rem; white-space: pre-line }}
</style>
<h1>{title}</h1>
<p>{introduction}</p>
{sections}
</html>
"""


class Report:
    """Collects figures and findings as they come: each is saved and printed at once."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._sections: list[str] = []

    def add(self, name: str, title: str, reading: str, figure: Figure, finding: str, table: str = "") -> None:
        """Save the figure as `<name>.png` and print what was found.

        Args:
            title: the section's heading.
            reading: how to read such a figure.
            finding: what it says this time, in numbers.
            table: lines of numbers that belong to it.
        """
        picture = self.folder / f"{name}.png"
        plots.save(figure, picture)
        tqdm.write("\n" + "\n".join(filter(None, [table, finding])))  # prints above a progress bar
        title, reading, finding, table = map(html.escape, (title, reading, finding, table))
        inline = base64.b64encode(picture.read_bytes()).decode()
        section = f'<h2>{title}</h2>\n<p>{reading}</p>\n<img alt="{title}" src="data:image/png;base64,{inline}">\n'
        section += f'<p class="found">{finding}</p>\n'
        if table:
            section += f"<details><summary>The numbers</summary><pre>{table}</pre></details>\n"
        self._sections.append(section)

    def write(self, title: str, introduction: str) -> None:
        """Write report.html, whole or not at all."""
        page = PAGE.format(
            title=html.escape(title), introduction=html.escape(introduction), sections="\n".join(self._sections)
        )
        with atomic_write(self.folder / "report.html") as file:
            file.write_text(page, encoding="utf-8")
