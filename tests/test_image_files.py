import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image, features

from benchmarks.simulation.photographs import photograph
from benchmarks.simulation.surroundings import Conditions
from models import DIGITS
from pipeline.datasets.handwriting_folder import read_folder
from pipeline.errors import Failure
from pipeline.preprocessing import image_files
from pipeline.preprocessing.image_files import count_pages, read_image


def page(text: str, seed: int = 1) -> Image.Image:
    pixels, _ = photograph([list(text)], seed, Conditions(size=(300, 900), pen="felt pen", fill=0.5, noise=2))
    return Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


@pytest.mark.parametrize(
    "suffix", [".jfif", ".jpe", ".ppm", ".pgm", ".jp2", ".tga", ".ico", ".qoi", ".avif", ".pcx", ".dib", ".apng"]
)
def test_every_format_of_pillow_is_read(suffix, tmp_path):
    if (suffix == ".avif" and not features.check("avif")) or (suffix == ".jp2" and not features.check("jpg_2000")):
        pytest.skip("this Pillow was built without it")
    (tmp_path / "7").mkdir()
    image = page("7").resize((256, 256)).convert("L" if suffix == ".pgm" else "RGB")
    image.save(tmp_path / "7" / f"anna{suffix}")
    (sample,), faults = read_folder(tmp_path, DIGITS)
    assert sample.label == "7" and sample.picture.any() and faults == []


def test_every_other_file_is_named(tmp_path, capsys):
    page("7").save(tmp_path / "7.png")
    for name in ("scan.pdf", "notes.txt", "drawing.eps", "README.md", ".hidden", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0")
    samples, faults = read_folder(tmp_path, DIGITS)
    assert len(samples) == 1
    assert faults == [f"{tmp_path / name} is not an image" for name in ("drawing.eps", "notes.txt", "scan.pdf")]


def test_all_pages_of_a_tiff_and_the_first_frame_of_a_gif(tmp_path, capsys):
    pages = [page(text, seed) for seed, text in enumerate(("12345", "45678", "78901"))]
    pages[0].save(tmp_path / "scan.tif", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "scan.gif", save_all=True, append_images=pages[1:])
    samples, faults = read_folder(tmp_path, DIGITS)
    where = [sample.location for sample in samples]
    expected = ["scan.gif", "scan.tif", "scan.tif#page=2", "scan.tif#page=3"]
    assert [where.count((tmp_path / name).as_posix()) for name in expected] == [5] * 4 and faults == []
    assert f"{tmp_path / 'scan.gif'} has 3 frames: only the first is read" in capsys.readouterr().out
    assert count_pages(tmp_path / "scan.tif") == 3
    assert np.abs(read_image(tmp_path / "scan.tif", 2) - np.array(pages[2])[:, :, ::-1].astype(int)).max() == 0


def test_heic_without_its_package_names_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "HAS_HEIF", False)
    for name in ("IMG_0412.HEIC", "renamed.jpg"):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
        with pytest.raises(Failure, match=r"is a HEIC image: pip install pillow-heif$"):
            read_image(tmp_path / name)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_the_transparent_color_of_a_png_is_paper(mode, tmp_path):
    """Black where transparent, and ink that is nearly black: without the key, nothing can be seen."""
    ink = np.array(page("3").convert("L")) < 110
    pixels = np.where(ink, 10, 0).astype(np.uint8)
    image = Image.fromarray(pixels if mode == "L" else np.repeat(pixels[:, :, None], 3, 2))
    image.save(tmp_path / "key.png", transparency=0 if mode == "L" else (0, 0, 0))
    image.save(tmp_path / "black.png")
    assert (read_image(tmp_path / "key.png")[:, :, 3] > 0).tolist() == ink.tolist()
    (sample,), _ = read_folder(tmp_path / "key.png", DIGITS)
    assert 20 < (sample.picture > 128).sum() < 250


def test_a_28x28_image_with_gaps_is_one_digit(tmp_path):
    image = np.zeros((28, 28), np.uint8)
    image[4:24:4, 6:20] = 255  # five strokes
    cv2.imwrite(str(tmp_path / "anna.png"), image)
    assert len(read_folder(tmp_path, DIGITS)[0]) == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes only there")
def test_a_file_name_that_is_not_utf_8(tmp_path):
    page("7").save(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 7.png"), format="PNG")
    code = (
        "import pipeline, sys; from pathlib import Path; from pipeline.datasets import handwriting_folder as h;"
        "from pipeline.evaluation import handwriting; import models;"
        "samples, faults = h.read_folder(Path(sys.argv[1]), models.DIGITS);"
        "handwriting.evaluate_handwriting(models.MnistNet().eval(), samples, faults, Path(sys.argv[1]))"
    )
    for encoding in ("utf-8", "cp1252"):
        environment = os.environ | {"PYTHONIOENCODING": encoding, "MPLBACKEND": "agg"}
        result = subprocess.run([sys.executable, "-c", code, tmp_path], env=environment, cwd=ROOT, capture_output=True)
        assert result.returncode == 0, result.stderr.decode(errors="replace")
        assert "caf\\udce9 7.png" in (tmp_path / "handwritten.csv").read_text(encoding="utf-8")
        (tmp_path / "handwritten.png").unlink()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes only there")
def test_memory_does_not_grow_with_the_number_of_photographs(tmp_path):
    """Of a photo of 12 megapixels, 36 MB, a thumbnail stays."""
    (tmp_path / "7").mkdir()
    photo = np.full((3000, 4000, 3), 200, np.uint8)
    cv2.line(photo, (1500, 800), (2500, 2300), (60, 40, 40), 60)
    cv2.imwrite(str(tmp_path / "7" / "0.jpg"), photo)
    for i in range(1, 12):
        (tmp_path / "7" / f"{i}.jpg").symlink_to("0.jpg")
    code = (
        "import resource, sys; from pathlib import Path; from pipeline.datasets import handwriting_folder as h;"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "folder = Path(sys.argv[1]); h.read_folder(folder / '7' / '0.jpg', '7'); first = peak();"
        "samples, _ = h.read_folder(folder, '7'); print(len(samples), peak() - first)"
    )
    result = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True)
    count, growth = map(int, result.stdout.split())
    assert count == 12 and growth < 5 * 36_000, f"{growth} kB"


def test_a_cut_off_tiff_and_a_broken_link_are_named(tmp_path, capsys):
    pages = [page(text, seed) for seed, text in enumerate(("12345", "45678", "78901"))]
    pages[0].save(tmp_path / "whole.tif", save_all=True, append_images=pages[1:])
    content = (tmp_path / "whole.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(content[: len(content) // 2])
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere.png")
    samples, faults = read_folder(tmp_path, DIGITS)
    assert [sample.file.name for sample in samples].count("cut.tif") == 5
    assert faults == [f"there is no {tmp_path / 'broken.png'}"]
    assert f"{tmp_path / 'cut.tif'} is damaged: only its first page is read" in capsys.readouterr().out


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of POSIX")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(Failure, match="is not a file, but a folder or a pipe"):
        read_folder(tmp_path / "pipe.png", DIGITS)
