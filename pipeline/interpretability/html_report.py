"""Write all figures, each with a text on how to read it, to one self-contained HTML page."""

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
    """Collect figures and findings; each is saved and printed at once."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._sections: list[str] = []

    def add(self, name: str, title: str, reading: str, figure: Figure, finding: str, table: str = "") -> None:
        """Save the figure as `<name>.png`, and print the finding.

        Args:
            title: the section's heading.
            reading: how to read the figure.
            finding: what the figure shows, in numbers.
            table: lines of numbers to print, and to show folded in the page.
        """
        path = self.folder / f"{name}.png"
        plots.save(figure, path)
        tqdm.write("\n" + "\n".join(filter(None, [table, finding])))  # prints above a progress bar
        title, reading, finding, table = map(html.escape, (title, reading, finding, table))
        inline = base64.b64encode(path.read_bytes()).decode()
        section = f'<h2>{title}</h2>\n<p>{reading}</p>\n<img alt="{title}" src="data:image/png;base64,{inline}">\n'
        section += f'<p class="found">{finding}</p>\n'
        if table:
            section += f"<details><summary>Numbers</summary><pre>{table}</pre></details>\n"
        self._sections.append(section)

    def write(self, title: str, introduction: str) -> None:
        """Write report.html, completely or not at all."""
        page = PAGE.format(
            title=html.escape(title), introduction=html.escape(introduction), sections="\n".join(self._sections)
        )
        with atomic_write(self.folder / "report.html") as file:
            file.write_text(page, encoding="utf-8", errors="backslashreplace")
