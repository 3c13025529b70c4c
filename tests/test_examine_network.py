"""The examination as a user runs it, and every number it prints against a plain way to find it."""

import base64
import functools
import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import run
from test_activations import Padded
from test_models import spoil
from torch import nn

import examine_network
import models
from pipeline import checkpoints, cli
from pipeline.datasets import datasets, synthetic
from pipeline.interpretability import figures, filter_bank
from pipeline.training import loop

pytestmark = pytest.mark.slow

TABLES = {"filters.csv", "channels.csv", "metrics.json", "config.json", "report.html"}
PICTURES = {
    "filters.png", "filtered.png", "matches.png", "way.png", "patches_conv1.png", "patches_conv2.png",
    "switched_off.png", "occlusion.png", "plane.png",
}  # fmt: skip


def drawn(count: int, seed: int) -> datasets.Split:
    pictures, labels = synthetic.draw_digits(count, seed)
    return datasets.Split(datasets.normalize(pictures), torch.from_numpy(labels))


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A digit network that has learned enough to be right often and wrong at times."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    recipe = loop.Recipe(epochs=3, batch_size=50, optimizer="muon", learning_rate=0.05, momentum=0.6, dropout=0.0)
    *_, last = loop.fit(models.MnistNet(), drawn(1600, 0), recipe, seed=0, quiet=True)
    checkpoints.save(last.model, path)
    return path


@pytest.fixture(scope="module")
def finished(weights, tmp_path_factory):
    """A whole examination: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("finished") / "out put ä"
    result = run(
        "examine_network.py", "--weights", str(weights), "--dataset", "synthetic", "--threads", "1",
        "--output-dir", str(folder),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return folder, result


@pytest.fixture(scope="module")
def model(weights) -> nn.Module:
    return checkpoints.load(weights, None, "train_mnist.py")


@pytest.fixture(scope="module")
def test_split() -> datasets.Split:
    """The 400 test pictures that `run_on_few_digits.py` lets the script draw."""
    return drawn(400, 1)


@pytest.fixture
def metrics(finished) -> dict:
    return json.loads((finished[0] / "metrics.json").read_text())


@pytest.fixture
def here(monkeypatch, capsys):
    """The command line of the script in this process: the same way in and out, without the seconds of an import."""
    monkeypatch.setattr(datasets, "VALIDATION_SIZE", 400)
    monkeypatch.setattr(
        datasets, "synthetic_digits", functools.partial(datasets.synthetic_digits, train=1600, test=400)
    )

    def launch(*arguments: str) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        monkeypatch.setattr("sys.argv", ["examine_network.py", "--dataset", "synthetic", *arguments])
        status = 0
        try:
            cli.launch(examine_network.main, examine_network.Config, {})
        except SystemExit as exit:
            status = exit.code
        plt.close("all")
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return launch


def test_writes_everything_the_docstring_promises(finished):
    folder, result = finished
    assert {path.name for path in folder.iterdir()} == TABLES | PICTURES
    assert all(name in examine_network.__doc__ for name in TABLES | PICTURES)
    for picture in PICTURES:
        assert plt.imread(folder / picture).std() > 0.05, picture
    assert result.stderr == "", "no progress bar where the output is no terminal"


def test_says_synthetic_wherever_it_speaks_of_data(finished):
    _, result = finished
    lines = [line for line in result.stdout.splitlines() if "image" in line and "on images of" not in line]
    assert len(lines) >= 2 and all("synthetic" in line for line in lines)


def test_prints_the_shape_and_every_weight(finished, model):
    printed = finished[1].stdout
    weight = model.conv1.weight.detach()
    assert "(10, 1, 5, 5)" in printed and f"from {weight.min():.3f} to {weight.max():.3f}" in printed
    blocks = re.findall(r"filter (\d)\n((?:(?: *-?\d\.\d{3}){5}\n){5})", printed)
    assert [int(number) for number, _ in blocks] == list(range(10))
    for (_, block), expected in zip(blocks, weight, strict=True):
        np.testing.assert_allclose(np.array(block.split(), float).reshape(5, 5), expected[0], atol=0.0005001)


def test_the_accuracy_and_those_without_each_channel(finished, metrics, model, test_split):
    """Against a plain loop over channels, the whole network each time."""

    def accuracy() -> float:
        with torch.no_grad():
            return 100 * (model(test_split.images).argmax(1) == test_split.labels).sum().item() / 400

    full = accuracy()
    assert 80 < full < 100 and metrics["test_accuracy"] == full and f"{full:.2f} %" in finished[1].stdout
    table = pd.read_csv(finished[0] / "channels.csv")
    assert len(table) == 30
    for row in table.itertuples():
        layer = model.get_submodule(row.layer)
        before = layer.weight.detach().clone(), layer.bias.detach().clone()
        with torch.no_grad():
            layer.weight[row.channel], layer.bias[row.channel] = 0, 0
            assert row.accuracy == pytest.approx(accuracy()) and row.lost == pytest.approx(full - row.accuracy)
            layer.weight[:], layer.bias[:] = before
    least = table.accuracy.min()
    assert metrics["least_accuracy_without_a_channel"] == least and f"{least:.2f} %" in finished[1].stdout
    assert metrics["cheap_channels"] == (table.lost < 0.1).sum() and table.lost.max() > 3, "some channel matters"


def test_the_matches_against_numpy_s_correlation(finished, metrics, model):
    bank = filter_bank.standard(5)
    table = pd.read_csv(finished[0] / "filters.csv")
    own = []
    for row, values in zip(table.itertuples(), model.conv1.weight.detach().numpy()[:, 0], strict=True):
        every = [np.corrcoef(values.ravel(), kernel.values.ravel())[0, 1] for kernel in bank]
        at = np.abs(every).argmax()
        own.append(abs(every[at]))
        assert row.correlation == pytest.approx(every[at], abs=1e-6) and row.best == str(bank[at])
        assert max(row.Sobel, row.Prewitt, row.Laplacian, row.Gaussian, row.line, row.Gabor) == pytest.approx(own[-1])
    assert metrics["match"] == pytest.approx(np.mean(own))
    assert f"{np.mean(own):.2f} on average, from {min(own):.2f} to {max(own):.2f}" in finished[1].stdout


def test_what_chance_reaches_against_other_draws(finished, metrics, model):
    bank, random = filter_bank.standard(5), np.random.default_rng(99)
    filters = model.conv1.weight.detach().numpy()[:, 0]
    own = np.abs(filter_bank.best_matches(filters, bank)[1])
    for key, made in (
        ("untrained", random.normal(size=(3000, 5, 5))),  # of another distribution: only the pattern counts
        ("smooth", filter_bank.phase_randomized(filters, 300, random)),
    ):
        reached = np.abs(filter_bank.best_matches(made, bank)[1])
        means = reached.reshape(-1, 10).mean(1)
        assert metrics[f"match_{key}"] == pytest.approx(means.mean(), abs=0.01)
        assert metrics[f"match_{key}_deviation"] == pytest.approx(means.std(), abs=0.005)
        assert abs(metrics[f"above_{key}"] - (own > np.quantile(reached, 0.95)).sum()) <= 1
        assert f"{metrics[f'match_{key}']:.2f} ± {metrics[f'match_{key}_deviation']:.2f}" in finished[1].stdout


def test_the_answer_to_the_picture(finished, metrics, model):
    with torch.no_grad():
        probabilities = model(drawn(1600, 0).images[:1]).exp()[0]
    assert metrics["answer"] == str(probabilities.argmax().item())
    assert metrics["confidence"] == pytest.approx(probabilities.max().item(), abs=1e-5)
    assert f"{metrics['answer']} with {100 * metrics['confidence']:.2f} %" in finished[1].stdout


def test_the_peaks_against_a_plain_loop(finished, model, test_split):
    with torch.no_grad():
        maps = {"conv1": model.conv1(test_split.images)}
        maps["conv2"] = model.conv2(torch.relu(torch.max_pool2d(maps["conv1"], 2)))
    printed = re.findall(r"channel (\d+): (-?[\d.]+), on images of ([\d ]+)", finished[1].stdout)
    expected = [(c, values) for layer in maps.values() for c, values in enumerate(layer.transpose(0, 1))]
    assert len(printed) == 30
    for (number, peak, labels), (channel, values) in zip(printed, expected, strict=True):
        peaks = values.flatten(1).amax(1)
        greatest = peaks.topk(6).values
        assert int(number) == channel and float(peak) == pytest.approx(greatest[0].item(), abs=0.0051)
        # where broad strokes fill a filter, many pictures have the same peak, and any of these may be shown
        alike = [test_split.labels[(peaks - value).abs() < 1e-4].tolist() for value in greatest]
        shown = map(int, labels.split())
        assert all(label in others for label, others in zip(shown, alike, strict=True))
    assert all(f"field of {part} pixels" in finished[1].stdout for part in ("conv1 is 5×5", "conv2 is 14×14"))


def test_occlusion_against_a_plain_loop(finished, metrics, model, test_split):
    counts = {True: [], False: []}
    with torch.no_grad():
        outputs = model(test_split.images)
        order = outputs[range(400), test_split.labels].argsort().tolist()
        is_right = (outputs.argmax(1) == test_split.labels).tolist()
        for kind, pictures in ((True, range(400)), (False, order)):
            for i in [i for i in pictures if is_right[i] is kind][:50]:
                rubbed = test_split.images[i : i + 1].repeat(784, 1, 1, 1)
                for at in range(784):
                    y, x = divmod(at, 28)
                    rubbed[at, :, max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = test_split.images.min()
                right = model(rubbed).argmax(1) == test_split.labels[i]
                counts[kind].append(not right.all() if kind else right.any())
    assert metrics["made_incorrect"] == sum(counts[True]) and metrics["corrected"] == sum(counts[False])
    assert f"corrects {metrics['corrected']} of the {len(counts[False])} worst" in finished[1].stdout


def test_the_share_of_the_two_directions(finished, metrics, model, test_split):
    caught = []
    handle = model.fc2.register_forward_pre_hook(lambda _, given: caught.append(given[0].detach()))
    model(test_split.images)
    handle.remove()
    centered = (caught[0] - caught[0].mean(0)).double()
    singular = torch.linalg.svdvals(centered)
    share = ((singular[:2] ** 2).sum() / (singular**2).sum()).item()
    assert metrics["variance_in_two_dimensions"] == pytest.approx(share, abs=1e-5)
    assert f"explain {100 * share:.1f} %" in finished[1].stdout


def test_the_report_holds_every_figure_and_how_to_read_it(finished):
    folder, result = finished
    page = (folder / "report.html").read_text(encoding="utf-8")
    inlined = [base64.b64decode(text) for text in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]
    assert sorted(inlined) == sorted((folder / name).read_bytes() for name in PICTURES)
    for heading, reading in ((one.title, one.reading) for one in figures.ANALYSES):
        assert html.escape(heading) in page and html.escape(reading) in page
    plain = html.unescape(page)
    for line in result.stdout.splitlines()[:-1]:
        assert line in plain, "what was printed"
    assert not re.search(r'(?:src|href)="(?!data:)|url\(|@import|<script', page), "it needs no other file"


def test_the_report_in_a_real_browser(finished, tmp_path):
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs a browser: apt-get install chromium")
    look = """<script>onload = () => { document.title = JSON.stringify({
        images: [...document.images].map(image => [image.naturalWidth, image.clientWidth]),
        headings: [...document.querySelectorAll("h2")].map(heading => heading.textContent),
        mode: document.compatMode, wide: document.documentElement.scrollWidth - innerWidth }) }</script>"""
    page = tmp_path / "page.html"
    page.write_text((finished[0] / "report.html").read_text(encoding="utf-8") + look, encoding="utf-8")
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    for width in (500, 1200):
        shown = subprocess.run(
            [browser, *flags, f"--window-size={width},900", "--dump-dom", page.as_uri()],
            capture_output=True, text=True, timeout=60,
        ).stdout  # fmt: skip
        seen = json.loads(html.unescape(re.search("<title>(.*?)</title>", shown)[1]))
        assert len(seen["images"]) == len(PICTURES) and seen["mode"] == "CSS1Compat"
        assert all(natural > 500 and shown > 300 for natural, shown in seen["images"])
        assert len(seen["headings"]) == len(PICTURES) and seen["wide"] <= 0, "nothing hangs over the side"


@pytest.mark.parametrize("layers", ["greek", "fashion"])
def test_takes_other_networks_of_the_project(layers, tmp_path, monkeypatch, here):
    """Three convolutions of 3x3 and letters for classes; one convolution of 32 channels and long names."""
    if layers == "greek":
        network, names = Padded, ("alpha", "beta", "gamma")
    else:
        network, names = OneConvolution, ("ankle boot", "T-shirt/top", "trouser")
    monkeypatch.setitem(checkpoints.NETWORKS, network.__name__, network)
    small = datasets.Data("letters", *[datasets.Split(s.images, s.labels % 3) for s in (drawn(120, 0),) * 3])
    monkeypatch.setattr(examine_network, "load_data", lambda names, config: small)
    torch.manual_seed(0)
    checkpoints.save(network(names), tmp_path / "model.pt")
    folder = tmp_path / "out"
    status, out, error = here("--weights", str(tmp_path / "model.pt"), "--output-dir", str(folder))
    assert status == 0, error
    convolutions = {path.name for path in folder.glob("patches_*.png")}
    assert convolutions == {f"patches_conv{i}.png" for i in range(1, 4 if layers == "greek" else 2)}
    assert "letters" in out and "(10, 1, 3, 3)" in out if layers == "greek" else "(32, 1, 3, 3)" in out
    assert len(pd.read_csv(folder / "channels.csv")) == (70 if layers == "greek" else 32)
    assert (folder / "report.html").stat().st_size > 100_000
    metrics = json.loads((folder / "metrics.json").read_text())
    gap = metrics["match"] - metrics["match_untrained"]
    assert abs(gap) < 4 * metrics["match_untrained_deviation"], "an untrained network is found to be one"


def test_letter_networks_are_examined_with_synthetic_letters(tmp_path, here):
    torch.manual_seed(0)
    checkpoints.save(models.MnistNet(("alpha", "beta", "gamma")), tmp_path / "model.pt")
    arguments = ["--weights", str(tmp_path / "model.pt"), "--pictures", "300", "--output-dir", str(tmp_path / "out")]
    status, out, error = here(*arguments)
    assert status == 0, error
    assert "300 test images of synthetic letters" in out


class OneConvolution(nn.Module):
    def __init__(self, class_names):
        super().__init__()
        self.settings = {"class_names": list(class_names)}
        self.conv1, self.fc1 = nn.Conv2d(1, 32, 3), nn.Linear(32 * 13 * 13, len(class_names))

    @property
    def class_names(self):
        return self.settings["class_names"]

    def forward(self, x):
        return torch.log_softmax(self.fc1(torch.relu(torch.max_pool2d(self.conv1(x), 2)).flatten(1)), 1)


def test_a_picture_of_one_s_own_goes_the_way_through(weights, tmp_path, here):
    """A dark digit on light paper, as large as a photo."""
    digit = synthetic.draw_digits(30, seed=8)
    i = int(np.flatnonzero(digit[1] == 0)[0])
    photo = 230 - 0.8 * cv2.resize(digit[0][i], (280, 280))
    photo = cv2.copyMakeBorder(photo.astype(np.uint8), 60, 60, 90, 90, cv2.BORDER_CONSTANT, value=230)
    cv2.imwrite(str(tmp_path / "my zero.png"), photo)
    status, out, error = here(
        "--weights", str(weights), "--image", str(tmp_path / "my zero.png"), "--output-dir", str(tmp_path / "out")
    )
    assert status == 0, error
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["answer"] == "0" and metrics["image"] == "your image my zero.png"
    assert "The prediction for your image my zero.png: 0 with" in out


@pytest.mark.parametrize(
    "how", ["missing", "text", "truncated", "malicious in torch's format", "another network", "checkpoint"]
)
def test_weights_that_are_none_are_one_line_and_a_status(how, tmp_path, monkeypatch, here):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pt"
    if how == "checkpoint":
        checkpoints.save_checkpoint(path, examine_network.Config(), "MNIST", {})
    else:
        spoil(path, how)
    status, _, error = here("--weights", str(path), "--output-dir", str(tmp_path / "out"))
    assert status == 1 and error.count("\n") == 1 and str(path) in error and "train_mnist.py" in error
    assert ("contains no network: " in error) == (how == "checkpoint")
    assert not (tmp_path / "pwned").exists()


def test_classes_without_pictures_are_one_line(tmp_path, here):
    checkpoints.save(models.MnistNet(["yes", "no"]), tmp_path / "model.pt")
    status, _, error = here("--weights", str(tmp_path / "model.pt"), "--output-dir", str(tmp_path / "out"))
    assert status == 1 and error.count("\n") == 1 and "yes, no" in error and "--weights" in error


@pytest.mark.parametrize("what", ["missing", "text", "folder", "empty", "without ink"])
def test_an_image_that_is_none_is_one_line(what, weights, tmp_path, here):
    path = tmp_path / "picture.png"
    if what == "folder":
        path.mkdir()
    elif what == "without ink":
        cv2.imwrite(str(path), np.full((200, 200), 230, np.uint8))
    elif what != "missing":
        path.write_text("no picture" if what == "text" else "")
    status, _, error = here("--weights", str(weights), "--image", str(path), "--output-dir", str(tmp_path / "out"))
    assert status == 1 and error.count("\n") == 1 and "picture.png" in error and "give --image" in error


def test_ctrl_c_leaves_one_line_that_can_be_run(weights, tmp_path, monkeypatch, here):
    monkeypatch.setattr(datasets, "synthetic_digits", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    status, _, error = here("--weights", str(weights), "--output-dir", str(tmp_path / "out"))
    assert status == 130 and "examine_network.py" in error and "--resume" not in error
