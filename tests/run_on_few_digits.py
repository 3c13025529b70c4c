"""Run a script on a set small enough for a test: `python run_on_few_digits.py train_mnist.py --epochs 1`."""

import functools
import runpy
import sys
from pathlib import Path

root = Path(__file__).parent.parent
sys.path.insert(0, str(root))

from pipeline.datasets import datasets  # noqa: E402

datasets.VALIDATION_SIZE = 400
datasets.synthetic_digits = functools.partial(datasets.synthetic_digits, train=1600, test=400)
sys.argv = sys.argv[1:]
runpy.run_path(str(root / sys.argv[0]), run_name="__main__")
