import os
from pathlib import Path

import pytest

from models import DIGITS
from pipeline.datasets.labels_from_names import class_in_file_name, class_name, find_class

LETTERS = ("alpha", "beta", "w", "A", "a")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("7", "7"), ("anna 3", "3"), ("my_own_5", "5"), ("anna-6", "6"), ("digit 7", "7"), ("3_001", "3"),
        ("8-0012", "8"),
        # times, dates, counters of copies, of pages and of editors
        ("PXL_20230407_005200046", None), ("WhatsApp Image 2026-08-31 at 15.41.14 (1)", None), ("20240404_7", None),
        ("Untitled 2", None), ("page 1", None), ("Kopie 4", None),
        ("v 2", None), ("drawn_2", None),
        ("crop_3", None), ("final 3", None), ("7 (1)", None), ("2026-8-7", None), ("IMG_7", None),
        # glued to a word, or one of two
        ("digit1", None), ("zero2", None), ("scan0004", None), ("test_img_5_label_2", None), ("seven 2", None),
        ("seven", None), ("forty-two", None), ("7-copy", None), ("12", None), ("anna", None),
    ],
)  # fmt: skip
def test_a_file_name_is_a_label_only_if_it_can_mean_nothing_else(name, label):
    assert class_in_file_name(Path(f"{name}.png"), DIGITS) == label


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("alpha", "alpha"), ("alpha_2", "alpha"), ("anna_beta", "beta"), ("anna beta 12", None), ("α", "alpha"),
        ("ALPHA", "alpha"), ("alphabet", None), ("w", "w"), ("anna w", "w"), ("w_1", None), ("A", "A"), ("anna a", "a"),
        ("alpha beta", None),
    ],
)  # fmt: skip
def test_file_names_of_letters(name, label):
    assert class_in_file_name(Path(f"{name}.png"), LETTERS) == label


def test_a_folder_s_name_is_the_class():
    names = ["A", "Alpha", "$", "us$", "!", "漢", "x y", "²"]
    assert [class_name(name) for name in names] == names
    assert [class_name(sign) for sign in ("α", "µ", "μ", "ϑ", "ω")] == ["alpha", "mu", "mu", "theta", "omega"]
    assert class_name("e\u0301") == class_name("é") == "é"
    assert class_name(os.fsdecode(b"caf\xe9")) == "caf\\xe9"


def test_the_case_counts_where_it_makes_a_difference():
    assert find_class("ALPHA", LETTERS) == "alpha" and find_class("Beta", LETTERS) == "beta"
    assert (find_class("A", LETTERS), find_class("a", LETTERS), find_class("W", LETTERS)) == ("A", "a", None)
    assert find_class("alpha", ("Alpha", "ALPHA")) is None
