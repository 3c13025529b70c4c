import cv2
import numpy as np
import pytest

import models
from benchmarks.simulation.photographs import photograph
from benchmarks.simulation.surroundings import Conditions
from pipeline.datasets.handwriting_folder import read_folder
from pipeline.datasets.stroke_templates import GREEK
from pipeline.live import controls
from pipeline.live.controls import Controls
from pipeline.preprocessing.photo import photo_to_mnist

CROP, _ = photograph([["7"]], 3, Conditions(size=(200, 200)))


def networks(*made: str, letters=("alpha", "beta", "gamma"), digits: bool = True) -> dict:
    known = {"digits": {"trained": models.MnistNet()}} if digits else {}
    return known | ({"greek": {name: models.GreekNet(letters) for name in made}} if made else {})


@pytest.fixture
def make(tmp_path):
    def make(*made, mode="digits", **options) -> Controls:
        return Controls(networks(*made, **options), mode, tmp_path / "saved", tmp_path / "handwritten")

    return make


def type_in(state: Controls, text: str, now: float = 0.0) -> str:
    for character in text:
        state.press(ord(character), CROP, now)
    return state.message(now)


def files(tmp_path) -> list[str]:
    return sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())


def test_m_and_g_change_what_is_read(make):
    state = make("transferred")
    assert state.title == "digits" and isinstance(state.model, models.MnistNet)
    type_in(state, "g")
    assert state.title == "Greek letters" and isinstance(state.model, models.GreekNet)
    type_in(state, "M")  # with caps lock too
    assert state.title == "digits"


def test_a_message_is_shown_for_a_while(make):
    state = make()
    assert type_in(state, "t", now=5.0) == "t is for Greek letters: press g first"
    assert state.message(5.0 + controls.MESSAGE_SECONDS) == ""


def test_t_changes_between_the_two_greek_networks(make):
    state = make("transferred", "from scratch", mode="greek")
    one = state.model
    assert state.title == "Greek letters, transferred"
    type_in(state, "t")
    assert state.title == "Greek letters, from scratch" and state.model is not one
    type_in(state, "t")
    assert state.model is one


def test_plus_and_minus_size_the_box_within_bounds(make):
    state = make()
    type_in(state, "+=")
    assert state.box_size == pytest.approx(controls.DEFAULT_BOX_SIZE + 2 * controls.BOX_SIZE_STEP)
    type_in(state, "-")
    assert state.box_size == pytest.approx(controls.DEFAULT_BOX_SIZE + controls.BOX_SIZE_STEP)
    type_in(state, "+" * 40)
    assert state.box_size == controls.MAX_BOX_SIZE
    type_in(state, "-" * 40)
    assert state.box_size == controls.MIN_BOX_SIZE


def test_space_h_and_f_turn_on_and_off(make):
    state = make()
    for key, name in ((" ", "frozen"), ("h", "show_help"), ("f", "show_rate")):
        type_in(state, key)
        assert getattr(state, name)
        type_in(state, key)
        assert not getattr(state, name)


@pytest.mark.parametrize("key", ["q", "Q", "\x1b"])
def test_q_and_escape_quit(make, key):
    state = make()
    type_in(state, key)
    assert state.quit


def test_no_key_and_keys_without_meaning_change_nothing(make, tmp_path):
    state = make()
    before = dict(vars(state))
    state.press(-1, CROP, 0.0)
    assert vars(state) == before and files(tmp_path) == []
    assert "no command on this key; h: all keys" in type_in(state, "x3\r\t;ж")
    messages = {name: value for name, value in before.items() if "message" in name}
    assert vars(state) | messages == before and files(tmp_path) == []


def test_s_saves_at_once_and_a_digit_files_it(make, tmp_path):
    state = make()
    assert "type its digit" in type_in(state, "s")
    assert files(tmp_path) == ["saved/crop_1.png"]
    assert "labeled 7" in type_in(state, "7")
    type_in(state, "s7s3")
    assert files(tmp_path) == [f"handwritten/digits/{name}.png" for name in ("3/live_1", "7/live_1", "7/live_2")]
    assert np.array_equal(cv2.imread(str(tmp_path / "handwritten/digits/7/live_2.png")), CROP)


def test_an_empty_box_is_not_saved(make, tmp_path):
    state = make()
    state.press(ord("s"), None, 0.0)
    assert state.message(0.1) == "no character in the box to save" and not (tmp_path / "saved").exists()
    state.press(ord("q"), None, 0.2)
    assert state.quit


def test_escape_leaves_a_crop_unfiled_and_quits_only_then(make, tmp_path):
    state = make()
    assert "saved without a label" in type_in(state, "s\x1b") and not state.quit
    assert files(tmp_path) == ["saved/crop_1.png"]
    type_in(state, "s\x1b\x1b")
    assert state.quit and len(files(tmp_path)) == 2


def test_while_filing_other_keys_only_name(make):
    state = make("transferred")
    type_in(state, "sqg m")
    assert not state.quit and state.title == "digits" and "type its digit" in state.message(0)


@pytest.mark.parametrize("typed, name", [
    ("a", "alpha"), ("b", "beta"), ("gamma", "gamma"), ("ep", "epsilon"), ("et", "eta"), ("psi", "psi"), ("x", "xi"),
    ("e\bd", "delta"), ("zz", "zeta"),
])  # fmt: skip
def test_a_letter_is_filed_as_soon_as_its_name_is_clear(make, tmp_path, typed, name):
    state = make("transferred", mode="greek")
    assert "type its letter" in type_in(state, "s")
    type_in(state, typed)
    assert files(tmp_path) == [f"handwritten/greek/{name}/live_1.png"]


def test_every_letter_can_be_filed_by_its_whole_name_and_the_rest_of_it_is_no_command(make, tmp_path):
    state = make("transferred", "from scratch", mode="greek")
    for name in GREEK:
        type_in(state, "s" + name)
        state.press(-1, CROP, 0.0)
    assert {path.split("/")[2] for path in files(tmp_path)} == set(GREEK) and len(files(tmp_path)) == 24
    assert (state.title, state.show_help, state.show_rate, state.box_size) == (
        "Greek letters, transferred",
        False,
        False,
        controls.DEFAULT_BOX_SIZE,
    )
    type_in(state, "sa")
    type_in(state, "l", now=controls.NAME_TYPING_SECONDS / 2)
    type_in(state, "h", now=controls.NAME_TYPING_SECONDS / 2)  # not how alpha goes on
    assert state.show_help


def test_the_bar_says_which_names_are_left(make):
    state = make("transferred", mode="greek")
    assert "α alpha   β beta   γ gamma" in type_in(state, "s")
    message = type_in(state, "e")
    assert "e_" in message and "ε epsilon   η eta" in message and "alpha" not in message


def test_signs_of_ones_own_and_a_name_that_begins_another(make, tmp_path):
    state = make("from scratch", mode="greek", letters=("no", "not"))
    type_in(state, "sno")
    assert files(tmp_path) == ["saved/crop_1.png"]
    type_in(state, "\r")
    type_in(state, "snot")
    assert files(tmp_path) == ["handwritten/greek/no/live_1.png", "handwritten/greek/not/live_1.png"]


def test_what_cannot_be_written_is_reported(make, tmp_path):
    (tmp_path / "handwritten").write_text("a file, no folder")
    assert "not labeled" in type_in(make(), "s7") and files(tmp_path) == ["handwritten", "saved/crop_1.png"]
    (tmp_path / "saved/crop_1.png").unlink()
    (tmp_path / "saved").rmdir()
    (tmp_path / "saved").write_text("a file, no folder")
    state = make()
    assert "not saved" in type_in(state, "s") and "type its" not in state.message(0)


def test_filed_crops_are_read_back_with_their_label(make, tmp_path):
    type_in(make(), "s7")
    type_in(make("transferred", mode="greek"), "sb")
    for mode, names, label in (("digits", models.DIGITS, "7"), ("greek", ["alpha", "beta"], "beta")):
        (sample,), faults = read_folder(tmp_path / "handwritten" / mode, names)
        assert sample.label == label and faults == []
        assert np.array_equal(sample.picture, photo_to_mnist(CROP))
