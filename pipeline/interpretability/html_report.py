"""One page of all figures, each with a sentence on how to read it, in a single file that needs no other."""

import base64
import html
from pathlib import Path

from matplotlib.figure import Figure
from tqdm import tqdm

from pipeline import plots
from pipeline.files import writing

READING = {  # figure -> heading, how to read it
    "filters": (
        "The filters",
        "Each square is one weight. A filter answers most where the picture is bright under its yellow squares and "
        "dark under its blue ones.",
    ),
    "filtered": (
        "What the filters make of a picture",
        "Each filter is laid on every place of the picture. Red is where the picture is like the filter, blue where "
        "it is like the filter's negative, white where it is neither.",
    ),
    "matches": (
        "Are they standard filters?",
        "Beside each filter stands the one it resembles most among Sobel, Prewitt, Laplacian, Gaussian, line and "
        "Gabor kernels at every angle, light for dark where it has a minus; r is their correlation. With so many to "
        "choose from, anything resembles something. Right of the grey dotted line a filter resembles more than an "
        "untrained one would, right of the orange one more than its smoothness alone explains.",
    ),
    "way": (
        "The way through",
        "From top to bottom the picture becomes an answer. Each tile is one channel, red above zero and blue below, "
        "on a scale of its stage's own; channel 0 is at the left. 'After' is what pooling and ReLU let through: "
        "smaller, and without blue.",
    ),
    "patches": (
        "What excites a channel",
        "Below each channel's number and its greatest value lie the places on test pictures that excited it most, "
        "each from another picture. What they have in common is what the channel looks for.",
    ),
    "switched_off": (
        "Which channels matter",
        "Each bar is the accuracy lost when that one channel is held at zero and all else stays. A low bar need not "
        "mean an idle channel: others may see the same.",
    ),
    "occlusion": (
        "What speaks for an answer",
        "A square of 5×5 pixels is rubbed out around each pixel in turn. Red is where the class loses by that, so "
        "that the ink there speaks for it; blue is where it gains. Log-odds are the logarithm of p / (1 - p). The "
        "outline is the ink's.",
    ),
    "plane": (
        "Where it decides",
        "Each dot is a test picture as the last layer sees it, laid flat along the two directions of greatest spread "
        "(PCA). Near dots look alike to the network, though two directions cannot show all that keeps classes "
        "apart. The worst mistakes are ringed, with what was answered and what it is.",
    ),
}
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
    """Collects figures and findings as they come: each is saved, printed and counted on the progress bar at once."""

    def __init__(self, folder: Path, figures: int, quiet: bool):
        self.folder = folder
        self._sections = []
        self._bar = tqdm(total=figures, unit=" figures", leave=False, disable=quiet or None)

    def add(self, name: str, figure: Figure, finding: str, table: str = "", of: str = "") -> None:
        """Save the figure and print what was found.

        Args:
            name: of the figure, in READING.
            finding: what the figure says this time, in numbers.
            table: lines of numbers that belong to it.
            of: what it is a figure of, where there are several of its name.
        """
        picture = self.folder / f"{'_'.join(filter(None, [name, of]))}.png"
        plots.save(figure, picture)
        tqdm.write("\n" + "\n".join(filter(None, [table, finding])))  # prints above the bar
        self._bar.update()
        heading, reading = READING[name]
        heading, reading, finding, table = map(
            html.escape, (f"{heading}: {of}" if of else heading, reading, finding, table)
        )
        inline = base64.b64encode(picture.read_bytes()).decode()
        section = f'<h2>{heading}</h2>\n<p>{reading}</p>\n<img alt="{heading}" src="data:image/png;base64,{inline}">\n'
        section += f'<p class="found">{finding}</p>\n'
        if table:
            section += f"<details><summary>The numbers</summary><pre>{table}</pre></details>\n"
        self._sections.append(section)

    def write(self, title: str, introduction: str) -> None:
        """Write report.html, whole or not at all, and take the bar away."""
        self._bar.close()
        page = PAGE.format(
            title=html.escape(title), introduction=html.escape(introduction), sections="\n".join(self._sections)
        )
        with writing(self.folder / "report.html") as file:
            file.write_text(page, encoding="utf-8")
