"""From photographs to MNIST's form: irrelevant properties have no effect, and bad files are reported."""

import dataclasses
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import REAL
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.photos import overlap
from benchmarks.simulation import surroundings
from benchmarks.simulation.photographs import photograph
from benchmarks.simulation.surroundings import Conditions
from pipeline.datasets import synthetic
from pipeline.datasets.handwriting_folder import page_samples, read_folder
from pipeline.errors import Failure
from pipeline.preprocessing.image_files import read_image
from pipeline.preprocessing.mnist_format import center_ink
from pipeline.preprocessing.photo import THUMBNAIL_PX, Character, Photo, photo_to_mnist, thumbnail

DIGITS = tuple("0123456789")
CLEAN = Conditions(size=(240, 240), fill=0.6, light="even")
settings.register_profile("same", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("same")


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two pictures, 1 for the same; a pixel's shift, from rounding, is forgiven."""
    if not one.any() or not other.any():
        return 0.0
    blurred, still = (cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 0.8) for picture in (one, other))
    shifts = [np.roll(blurred, (down, right), (0, 1)) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return max(float(np.corrcoef(shifted.ravel(), still.ravel())[0, 1]) for shifted in shifts)


def one(digit: str, seed: int, **changes) -> np.ndarray:
    return photograph([[digit]], seed, dataclasses.replace(CLEAN, **changes))[0]


def test_mnist_digits_pass_as_they_are(digits):
    pictures = digits[0][:1000]
    unchanged = np.mean([np.array_equal(photo_to_mnist(picture), picture) for picture in pictures])
    assert unchanged >= (0.995 if REAL else 0.9)  # drawn digits are resampled once more where their side is not 20


def test_a_photograph_of_a_digit_of_mnist_gives_that_digit(digits):
    alike = []
    for picture in digits[0][:100]:
        page = 230 - 0.8 * cv2.resize(np.pad(picture, 6), (320, 320), interpolation=cv2.INTER_CUBIC).astype(float)
        alike.append(likeness(photo_to_mnist(np.clip(page, 0, 255).astype(np.uint8)), picture))
    assert np.median(alike) > 0.97 and np.mean(np.array(alike) > 0.9) >= 0.97  # some have specks, which do not pass


def test_what_has_been_through_comes_out_the_same():
    for i in range(20):
        picture = photo_to_mnist(one(DIGITS[i % 10], i))
        assert np.array_equal(photo_to_mnist(picture), picture)


digit_and_hand = (st.sampled_from(DIGITS), st.integers(0, 40))


@pytest.mark.slow
@given(*digit_and_hand, st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95)), st.floats(0.25, 0.85))
def test_place_and_size_do_not_matter(digit, seed, place, fill):
    reference = photo_to_mnist(one(digit, seed, size=(480, 480), fill=0.6))
    assert likeness(photo_to_mnist(one(digit, seed, size=(480, 480), place=place, fill=fill)), reference) > 0.85


@pytest.mark.parametrize("seed", [12, 273, 291])
def test_a_hands_shadow_across_it_is_no_ink(seed):
    """Three that were read as their shadow before edges distinguished it from ink."""
    changes = {"size": (160, 160), "fill": 0.5, "pen": ["felt pen", "marker"][seed % 3]}
    plain = photo_to_mnist(one(str(seed % 10), seed, **changes))
    assert likeness(photo_to_mnist(one(str(seed % 10), seed, light="shadow", **changes)), plain) > 0.85


@pytest.mark.parametrize(("edge", "soft", "dark"), [(80, 10, 0.3), (90, 20, 0.5), (90, 40, 0.3)])
def test_a_narrow_digit_on_the_edge_of_a_shadow_is_no_rim(edge, soft, dark):
    """Beside it are two brightnesses, as beside the rim of a thing; but a rim is a sliver."""
    light = np.clip((np.arange(160) - edge) / soft + 0.5, 0, 1) * (1 - dark) + dark
    nine = np.array([(92, 60), (80, 46), (68, 60), (76, 78), (92, 62), (88, 124)])
    stroke = cv2.polylines(np.zeros((160, 160), np.uint8), [nine], False, 255, 8, cv2.LINE_AA)
    ink = cv2.GaussianBlur(stroke, (0, 0), 0.8) / 255
    picture = cv2.GaussianBlur(light * (225 * (1 - ink) + 30 * ink), (0, 0), 1)
    assert np.abs(np.subtract(Photo(picture.astype(np.uint8)).character.box, cv2.boundingRect(stroke))).max() < 8


@pytest.mark.parametrize(("low", "high", "soft", "desk"), [(30, 90, 8, 70), (36, 80, 16, 70), (36, 100, 8, 90)])
def test_the_light_beside_a_shadow_is_no_ink(low, high, soft, desk):
    """Between the shadow and the rim of the page, a patch of light; the thin 2 in the middle is much sharper."""
    page = cv2.fillPoly(
        np.full((160, 160), desk, np.uint8), [np.array([(33, 10), (150, 30), (130, 155), (15, 138)])], 225
    )
    two = np.array([(78, 62), (92, 54), (100, 66), (90, 84), (66, 106), (106, 110)])
    stroke = cv2.polylines(np.zeros((160, 160), np.uint8), [two], False, 255, 3, cv2.LINE_AA)
    ink, across = cv2.GaussianBlur(stroke, (0, 0), 0.6) / 255, np.arange(160)
    shadow = np.clip((across - low) / soft + 0.5, 0, 1) * np.clip((high - across) / soft + 0.5, 0, 1)
    picture = cv2.GaussianBlur((1 - 0.45 * shadow) * (page * (1 - ink) + 40 * ink), (0, 0), 1)
    assert np.abs(np.subtract(Photo(picture.astype(np.uint8)).character.box, cv2.boundingRect(stroke))).max() < 8


def test_a_soft_stroke_is_not_given_up_for_a_sharp_rim_elsewhere():
    picture = np.full((160, 160), 235, np.uint8)
    picture = cv2.GaussianBlur(cv2.line(picture, (84, 35), (62, 125), 30, 12), (0, 0), 4)
    picture[:, 140:143], picture[:, 143:] = 90, 150
    x, y, width, height = Photo(picture).character.box
    assert abs(x + width / 2 - 73) < 3 and abs(y + height / 2 - 80) < 3 and height < 110


@given(*digit_and_hand)
def test_light_on_dark_is_dark_on_light(digit, seed):
    picture = one(digit, seed, noise=2)
    assert likeness(photo_to_mnist(255 - picture), photo_to_mnist(picture)) > 0.9


@given(*digit_and_hand, st.sampled_from(["slanting", "vignette", "lamp", "shadow"]), st.floats(-1, 1))
def test_light_does_not_matter(digit, seed, light, tint):
    reference = photo_to_mnist(one(digit, seed))
    assert likeness(photo_to_mnist(one(digit, seed, light=light, tint=tint, noise=2)), reference) > 0.8


@given(
    *digit_and_hand,
    st.sampled_from(list(surroundings.PATTERNS)),
    st.sampled_from(["white", "cream", "gray", "recycled"]),
)
def test_printed_lines_and_paper_do_not_matter(digit, seed, pattern, sheet):
    # lines may run along a stroke and take some of it with them, so the pictures may differ more
    picture = photo_to_mnist(one(digit, seed, pattern=pattern, paper=sheet, size=(360, 360)))
    assert likeness(picture, photo_to_mnist(one(digit, seed))) > 0.6


@given(*digit_and_hand, st.sampled_from(["blue ballpoint", "red ballpoint", "green ballpoint", "pencil"]))
def test_a_pen_of_any_color_can_be_read(digit, seed, pen):
    picture = photo_to_mnist(one(digit, seed, pen=pen, noise=2, size=(400, 400)))
    assert likeness(picture, photo_to_mnist(one(digit, seed, pen="black ballpoint", size=(400, 400)))) > 0.8


@given(*digit_and_hand, st.integers(1, 30), st.integers(0, 255))
def test_a_frame_around_the_picture_does_not_matter(digit, seed, width, gray):
    picture = one(digit, seed)
    framed = cv2.copyMakeBorder(picture, *4 * [width], cv2.BORDER_CONSTANT, value=[gray] * 3)
    assert likeness(photo_to_mnist(framed), photo_to_mnist(picture)) > 0.9


def test_cut_off_neighbors_stay_outside():
    for i in range(12):
        alone, crowd = (one(DIGITS[i % 10], i, fill=0.35, neighbors=there) for there in (False, True))
        assert likeness(photo_to_mnist(crowd), photo_to_mnist(alone)) > 0.9


def drawn_by_pen(digit: str, seed: int, width: float, side: int = 1000, ink: int = 40, paper: int = 235) -> np.ndarray:
    """(side, side) uint8: one digit, four fifths of the side high, by a round pen of a width in pixels."""
    path = synthetic.write_template(digit, np.random.default_rng(seed))
    points = np.concatenate(path)
    low, high = points.min(0), points.max(0)
    scale = (0.8 * side - width) / (high - low).max()
    page = np.full((side, side), paper, np.uint8)
    for stroke in path:
        at = np.rint((scale * (stroke - (low + high) / 2) + side / 2) * 16).astype(np.int32)
        cv2.polylines(page, [at], False, ink, max(1, round(width)), cv2.LINE_AA if width > 1 else cv2.LINE_8, 4)
    return page


@pytest.mark.slow
@pytest.mark.parametrize("width", [1, 2, 3, 5, 8, 14, 25, 45, 80, 120])
def test_any_pen_from_a_hairline_to_a_marker_gives_the_same_image(width):
    """From 1 pixel in 1,000 to a seventh of the character."""
    alike = [likeness(*(photo_to_mnist(drawn_by_pen(str(i % 10), i, w)) for w in (60, width))) for i in range(20)]
    assert np.mean(alike) > 0.85 and min(alike) > 0.6, alike


def test_a_marker_of_a_fifth_of_the_character_is_one_of_the_readings():
    """It fills most of the picture, so that paper looks like ink; and where it crosses itself, like a thing."""
    for i in range(20):
        usual, page = photo_to_mnist(drawn_by_pen(str(i % 10), i, 60)), drawn_by_pen(str(i % 10), i, 160)
        readings = Photo(page).readings()
        assert len(readings) <= 3 and max(likeness(reading, usual) for reading in readings) > 0.6, i


@given(*digit_and_hand, st.floats(0.003, 0.1), st.booleans(), st.floats(0.15, 1), st.floats(0, 1.5), st.floats(0, 4))
def test_width_polarity_contrast_size_blur_and_noise_together(digit, seed, width, is_light, contrast, blur, noise):
    """Plain pictures of any kind at once: a pale pencil, a bold felt pen, chalk, out of focus, grainy."""
    reference = photo_to_mnist(drawn_by_pen(digit, seed, 60))
    side = 120 + 40 * (seed % 20)
    page = drawn_by_pen(digit, seed, max(1.5, width * side), side, ink=round(235 - 195 * contrast)).astype(float)
    page = cv2.GaussianBlur(page, (0, 0), blur * side / 400) if blur > 0.1 else page
    # a share of the ink's contrast, which blur takes from thin strokes
    page += np.random.default_rng(seed).normal(0, noise / 100 * np.ptp(page), page.shape)
    page = np.clip(255 - page if is_light else page, 0, 255).astype(np.uint8)
    assert likeness(photo_to_mnist(page), reference) > 0.55


def test_the_pale_part_of_a_stroke_belongs_to_it():
    """A pen that runs dry: the end of the stroke has a third of the contrast of its beginning."""
    stroke = cv2.polylines(np.zeros((300, 300), np.uint8), [np.array([(90, 60), (210, 60), (130, 240)])], False, 255, 9)
    fading = np.linspace(1, 0.34, 300)[:, None] * stroke * 0.8
    _, y, width, height = Photo((245 - fading).astype(np.uint8)).character.box
    assert abs(y - 55) < 6 and abs(y + height - 245) < 8 and width > 110


def test_a_second_character_beside_stays_in():
    """Two digits in one box are no digit: that can only be seen with both."""
    picture, _ = photograph([["3", "8"]], 1, dataclasses.replace(CLEAN, gap=0.15))
    result = photo_to_mnist(picture)
    rows, columns = np.flatnonzero(result.any(1)), np.flatnonzero(result.any(0))
    assert np.ptp(columns) > 1.1 * np.ptp(rows)


@pytest.mark.parametrize("shade", [0, 60, 255])
def test_blank_paper_gives_black(shade):
    noise = np.random.default_rng(0).normal(shade, 3, (200, 200, 3))
    assert not photo_to_mnist(np.clip(noise, 0, 255).astype(np.uint8)).any()
    assert not photo_to_mnist(np.full((200, 200), shade, np.uint8)).any()


def on_a_desk(card: np.ndarray, turn: float, seed: int, wood: bool = True, middle: float = 160) -> np.ndarray:
    """(160, 160, 3): the middle of a card lies there, on wood or on a checked cloth; pixels are of (320, 320)."""
    if wood:
        grain = surroundings.texture((320, 320), (2, 40), np.random.default_rng(seed))[:, :, None]
        desk = np.float32([60, 110, 160]) * (1 + 0.1 * grain)
    else:
        threads = np.sin(np.arange(320) * 2 * np.pi / 16) > 0
        desk = 90 + 70 * np.float32(threads[:, None] ^ threads)[:, :, None] * np.float32([1, 0.7, 0.5])
    turned = cv2.getRotationMatrix2D((card.shape[1] / 2, card.shape[0] / 2), turn, 1)
    turned[:, 2] += middle - np.array(card.shape[1::-1]) / 2
    desk = np.clip(desk, 0, 255).astype(np.uint8)
    cv2.warpAffine(card, turned, (320, 320), dst=desk, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_TRANSPARENT)
    return cv2.resize(desk, (160, 160), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("wood", [True, False])
@pytest.mark.parametrize("dark", [True, False])
def test_what_the_page_lies_on_does_not_matter(dark, wood):
    """A dark card on a light desk is no ink, and a pattern beside the page does not decide how wide ink is."""
    alike = []
    for i, digit in enumerate(DIGITS * 2):
        drawn = one(digit, i, size=(160, 200), fill=0.5, pen="marker" if i % 2 else "felt pen")
        card = np.clip(drawn if dark else 255 - drawn.astype(int), 0, 245).astype(np.uint8)
        picture = on_a_desk(card, (-8, 0, 8)[i % 3], i, wood)
        alike.append(likeness(photo_to_mnist(picture), photo_to_mnist(picture[40:120, 50:110])))
    assert np.mean(np.array(alike) > 0.9) >= 0.9


def test_the_rim_of_a_page_is_no_writing():
    for i in range(12):
        card = np.full((300, 260, 3), 235 - 200 * (i % 2), np.uint8)
        picture = on_a_desk(card, 3 + i, i, middle=10 + 3 * i)
        assert not photo_to_mnist(picture).any()


def test_a_thing_is_no_writing():
    page = np.full((200, 200), 240, np.uint8)
    cv2.rectangle(page, (60, 40), (140, 160), 30, -1)
    assert not photo_to_mnist(page).any()


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 500), (500, 1), (3, 2000), (20, 20), (20, 20, 1), (20, 20, 4), (9, 9, 2)]
)
def test_any_shape_gives_a_picture(shape):
    for pixels in (np.zeros(shape, np.uint8), np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)):
        result = photo_to_mnist(pixels)
        assert result.shape == (28, 28) and result.dtype == np.uint8


@pytest.mark.parametrize("shape", [(0, 5), (5,), (4, 4, 5), (2, 2, 2, 2)])
def test_what_is_no_picture_is_refused(shape):
    with pytest.raises(ValueError, match="not an image"):
        photo_to_mnist(np.zeros(shape))


def test_other_types_are_read_like_bytes():
    picture = one("5", 3)
    expected = photo_to_mnist(picture)
    for other in (picture / 255, picture.astype(np.float32), picture.astype(np.uint16) * 257, picture.astype(np.int64)):
        assert likeness(photo_to_mnist(other), expected) > 0.98
    assert photo_to_mnist(np.full((30, 30), np.nan)).shape == (28, 28)


def test_file_folder_and_camera_give_the_same(tmp_path):
    frame = one("7", 2, noise=3)
    (tmp_path / "7").mkdir()
    cv2.imwrite(str(tmp_path / "7" / "anna_1.png"), frame)
    assert np.array_equal(read_image(tmp_path / "7" / "anna_1.png"), frame)
    (sample,), faults = read_folder(tmp_path, DIGITS)
    assert np.array_equal(sample.picture, photo_to_mnist(frame)) and not faults


FORMATS = {  # name -> how to save it, from a picture of dark ink on light paper
    "gray.png": lambda image, path: image.convert("L").save(path),
    "bits.png": lambda image, path: image.convert("1", dither=Image.Dither.NONE).save(path),
    "palette.png": lambda image, path: image.quantize(16).save(path),
    "palette.gif": lambda image, path: image.quantize(16).save(path),
    "sixteen.png": lambda image, path: Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(
        path
    ),
    "alpha.png": lambda image, path: transparent(image).save(path),
    "alpha.webp": lambda image, path: transparent(image).save(path, lossless=True),
    "plain.bmp": lambda image, path: image.save(path),
    "plain.tif": lambda image, path: image.save(path),
    "press.jpg": lambda image, path: image.convert("CMYK").save(path, quality=95),
    "plain.jpeg": lambda image, path: image.save(path, quality=80),
    "plain.heic": lambda image, path: image.save(path, quality=90),
    "turned.jpg": lambda image, path: image.transpose(Image.Transpose.ROTATE_90).save(path, quality=95, exif=TURNED),
}
TURNED = Image.Exif()
TURNED[0x0112] = 6  # orientation: to be turned by a quarter, clockwise


def transparent(image: Image.Image) -> Image.Image:
    """Opaque where there is ink, and no color at all behind, as drawing programs save it."""
    gray = np.asarray(image.convert("L"))
    return Image.fromarray(np.dstack([np.zeros((*gray.shape, 3), np.uint8), 255 - gray]))


@pytest.mark.parametrize("name", FORMATS)
def test_formats(name, tmp_path):
    picture = np.clip(one("4", 6).astype(int) + 20, 0, 255).astype(np.uint8)
    image = Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    FORMATS[name](image, tmp_path / name)
    assert likeness(photo_to_mnist(read_image(tmp_path / name)), photo_to_mnist(picture)) > 0.9


def bomb(side: int) -> bytes:
    """A PNG that says it is side x side pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 1000)
    chunks = (header, data, b"IEND")
    body = b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def test_bad_files_are_named_and_the_others_read(tmp_path):
    folder = tmp_path / "digits" / "3"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "good.png"), one("3", 1))
    cv2.imwrite(str(folder / "tiny.png"), np.zeros((1, 1, 3), np.uint8))
    cv2.imwrite(str(folder / "whole.jpg"), one("3", 2))
    whole = (folder / "whole.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.png").write_text("this is no picture")
    (folder / "empty.png").write_bytes(b"")
    (folder / "bomb.png").write_bytes(bomb(10_001))
    (folder / "huge.png").write_bytes(bomb(200_000))
    (folder / "notes.txt").write_text("not looked at")
    with warnings.catch_warnings(action="error"):
        samples, faults = read_folder(tmp_path, DIGITS)
    assert sorted(sample.file.name for sample in samples) == ["good.png", "tiny.png", "whole.jpg"]
    bad = ["bomb.png", "cut.jpg", "empty.png", "huge.png", "text.png"]  # in the order of the files
    bad.append("notes.txt")  # no image: after the images
    assert len(faults) == len(bad) and all(name in fault for name, fault in zip(bad, faults, strict=True))
    assert all("\n" not in fault for fault in faults)
    assert all(sample.label == "3" for sample in samples)


@pytest.mark.parametrize("content", ["missing", "empty", "text", "one bad picture"])
def test_nothing_to_read_is_a_failure(content, tmp_path):
    path = tmp_path / "here"
    if content != "missing":
        path.mkdir()
    if content == "text":
        (path / "notes.txt").write_text("no picture")
    if content == "one bad picture":
        (path / "bad.png").write_text("no picture")
    with pytest.raises(Failure, match="here"):
        read_folder(path, DIGITS)


def test_labels(tmp_path):
    expected = {
        "3/anna_1.png": "3", "3/photo 5.png": "3", "page/7.png": "7", "page/anna 4 blue.png": None,
        "page/IMG_2034.png": None, "page/alpha_2.png": None, "ALPHA/x.png": "alpha", "page/my beta.png": "beta",
        "page/alphabet.png": None,
    }  # fmt: skip
    for name in expected:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), one("3", 1))
    samples, _ = read_folder(tmp_path, (*DIGITS, "alpha", "beta"))
    assert {sample.file.relative_to(tmp_path).as_posix(): sample.label for sample in samples} == expected


SHEET = Conditions(size=(1000, 750), pen="black ballpoint", fill=0.85, noise=2, blur=0.6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{}, {"pattern": "ruled"}, {"pattern": "squared"}, {"pattern": "dotted"}, {"rotation": -6}, {"light": "shadow"},
     {"rotation": 7, "tilt": (0.1, 0.1)}, {"light": "lamp", "paper": "gray"}, {"gap": 0.06, "pen": "felt pen"},
     {"specks": 8}, {"paper": "black", "pen": "white pen"}, {"pen": "pencil", "noise": 5}],
    ids=str,
)  # fmt: skip
def test_sheets_every_character_once_in_reading_order(changes):
    rows = ["0123456789", "5454", "1777419"]
    for seed in range(2):
        picture, truth = photograph(rows, seed, dataclasses.replace(SHEET, **changes))
        found = Photo(picture).characters()
        assert len(found) == len(truth)
        assert all(overlap(character.box, box) > 0.5 for character, box in zip(found, truth, strict=True))


def test_a_character_of_a_page_gives_the_same_image_as_alone():
    picture, _ = photograph(["2345"], 4, SHEET)
    for character in Photo(picture).characters():
        x, y, width, height = character.box
        margin = 8
        crop = picture[y - margin : y + height + margin, x - margin : x + width + margin]
        assert likeness(character.image, photo_to_mnist(crop)) > 0.85


def test_two_strokes_are_one_character_and_two_characters_two():
    page = np.full((200, 500), 235, np.uint8)
    cv2.polylines(page, [np.array([[60, 50], [55, 95], [85, 90], [95, 120], [70, 145], [45, 140]])], False, 30, 5)
    cv2.line(page, (66, 42), (100, 38), 30, 5)  # the bar of the 5, which does not touch it
    cv2.line(page, (200, 40), (185, 100), 30, 5)  # a 4: an L
    cv2.line(page, (185, 100), (222, 100), 30, 5)
    cv2.line(page, (231, 45), (228, 150), 30, 5)  # and its upright, which stands apart
    cv2.line(page, (330, 45), (326, 150), 30, 5)  # 1 and 1, nearly touching
    cv2.line(page, (342, 45), (339, 150), 30, 5)
    assert [round(character.box[0], -1) for character in Photo(page).characters()] == [40, 180, 320, 340]


def test_an_empty_page_has_no_characters():
    rng = np.random.default_rng(1)
    for pattern in surroundings.PATTERNS:
        page, _ = photograph(
            [["1"]], 0, dataclasses.replace(SHEET, pattern=pattern, fill=0.06, place=(2.0, 2.0), noise=3)
        )
        assert len(Photo(page).characters()) <= 1
    assert Photo(np.clip(rng.normal(200, 4, (700, 900)), 0, 255).astype(np.uint8)).characters() == []


def test_signs_between_digits_are_unclear():
    """A slash and a parenthesis are taller than the digits beside them; a 1 is not."""
    page = np.full((160, 700), 240, np.uint8)
    for x, points in enumerate(["00 60 29", "30 39", "80 -5c", "00 60 29", "d0", "00 60 29"]):
        left = 40 + 100 * x
        if points == "80 -5c":
            cv2.line(page, (left + 60, 20), (left, 140), 40, 4, cv2.LINE_AA)
        elif points == "d0":
            cv2.ellipse(page, (left + 40, 80), (22, 62), 0, 110, 250, 40, 4, cv2.LINE_AA)
        else:
            at = [(left + 10 * int(a), 45 + 8 * int(b)) for a, b in points.split()]
            cv2.polylines(page, [np.array(at)], False, 40, 4, cv2.LINE_AA)
    found = Photo(page).characters()
    assert [character.image.any() for character in found] == [True, True, False, True, False, True]


def test_boxes_of_a_turned_page_lie_on_the_page_as_it_was():
    page = np.random.default_rng(0).integers(0, 256, (50, 80), np.uint8)
    for turns in range(4):
        turned = np.rot90(page, turns)
        (sample,) = page_samples(Path("page.png"), turned, [Character((3, 7, 20, 9), turned)], turns=turns)
        x, y, width, height = sample.box
        crop = np.ascontiguousarray(np.rot90(page[y : y + height, x : x + width], turns))
        assert np.array_equal(thumbnail(crop, THUMBNAIL_PX), sample.photo)


def test_center_ink_is_the_last_step():
    picture = photo_to_mnist(one("2", 2))
    assert np.array_equal(center_ink(picture), picture)
