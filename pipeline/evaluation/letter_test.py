"""Read the letters that the Greek networks are tested on, and report on them.

They are people's handwriting, or synthetic letters that the report names as such.
"""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

import models
from pipeline.datasets import letters
from pipeline.datasets.datasets import Split
from pipeline.datasets.handwriting_folder import Sample, read_folder
from pipeline.datasets.letters import Source
from pipeline.datasets.stroke_templates import TEMPLATES
from pipeline.errors import Failure
from pipeline.evaluation import classification_report, handwriting

MAX_PREDICTIONS_SHOWN = 72  # test letters in predictions.png


@dataclass
class LetterTest:
    """Letters to test a network on."""

    name: str
    samples: list[Sample]
    faults: list[str]  # a line for each file that could not be read
    split: Split | None  # the letters of the network's classes; synthetic ones if there are none


def read(path: Path, default: Path, source: Source, valid: Split | None) -> LetterTest:
    """Read the letters to test on, and print how many there are.

    Letters of other classes are kept among the samples: the network should call them unclear.

    Args:
        path: an image, or a folder, which may be nested.
        default: the path that may be missing.
        valid: the examples to test on if `path` has no letter of a class.

    Raises:
        Failure: `path` cannot be read, or is missing and `valid` is None.
    """
    test = _find(path, default, source, valid)
    if test.split is not None:
        print(f"test: {test.name}, {len(test.split)}")
    return test


def _find(path: Path, default: Path, source: Source, valid: Split | None) -> LetterTest:
    names = source.names
    instead = "synthetic letters" if source.drawable else "degraded copies of the training letters"
    if path == default and not path.exists():
        if valid is None:
            raise Failure(f"no test letters: give --handwritten with images of {', '.join(names)}")
        return LetterTest(instead, [], [], valid)
    samples, faults = read_folder(path, [*names, *sorted(TEMPLATES.keys() - {*models.DIGITS, *names})])
    others = sorted({sample.label for sample in samples if sample.label} - set(names))
    if others:
        print(f"{path} has letters of other classes ({', '.join(others)}), which the network should call unclear")
    unknown = {sample.file.parent.name for sample in samples if not sample.label and sample.file.parent != path}
    if unknown:
        print(f"{path} has folders that are not named after a letter: {', '.join(sorted(unknown))}")
    known = [sample for sample in samples if sample.label in names and sample.picture.any()]
    if not known:
        print(f"{path} has no letter of a class" + ("" if valid is None else f": testing on {instead}"))
        return LetterTest(instead, samples, faults, valid)
    split = letters.as_split([sample.picture for sample in known], [str(sample.label) for sample in known], names)
    drawn = all(sample.file.stem.startswith("drawn_") for sample in known)  # the samples that come with the project
    return LetterTest(f"{'synthetic ' if drawn else ''}letters of {path}", samples, faults, split)


def report(model: nn.Module, test: LetterTest, folder: Path) -> None:
    """Write the predictions, the table per class and the confusion matrix of the test letters; print the accuracy.

    Predictions are averaged over three rotated views, as for all handwriting.
    """
    if test.split is not None:
        outputs = handwriting.predict_views(model, test.split.images)
        shown = classification_report.mistakes_first(outputs.argmax(1), test.split.labels, MAX_PREDICTIONS_SHOWN)
        accuracy = classification_report.write(outputs, test.split, model.class_names, test.name, folder, shown)
    if test.samples:
        handwriting.evaluate_handwriting(model, test.samples, test.faults, folder)
    if test.split is not None:
        print(f"{test.name}: {accuracy:.1f} % correct, by three views, rotated by 0 and ±6 degrees")
