"""The training loop for every network of the project.

`fit` is a generator that yields after each epoch, so that validation, printing and saving are ordinary lines where it
is called; `run.TrainingRun` adds the files that a script needs.
"""

import copy
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from pipeline.cli import option
from pipeline.datasets import augmentation
from pipeline.datasets.datasets import Split
from pipeline.errors import Failure
from pipeline.training import batch_norm
from pipeline.training.muon import Muon

WARM_UP_SHARE = 0.2  # share of a one-cycle schedule in which the learning rate rises
FIRST_STEP_SHARE = 0.002  # share of the schedule that the first step counts as done, so that it does move
AVERAGE_DECAY, AVERAGE_EVERY_STEPS = 0.98, 4  # of the averaged weights' past, kept at an update; steps between updates


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train; every field is a flag of the scripts that train."""

    epochs: int = option(10, "passes over the training images", least=1)
    batch_size: int = option(64, "images per step", least=1)
    optimizer: str = option("sgd", "optimizer; muon orthogonalizes the steps of SGD", choices=("sgd", "adam", "muon"))
    learning_rate: float = option(0.01, "learning rate; its maximum with a schedule", least=0, alias="--lr")
    momentum: float = option(0.9, "momentum; Adam's beta1", least=0, most=1)
    weight_decay: float = option(0.0, "decoupled weight decay, multiplied by the learning rate", least=0)
    schedule: str = option(
        "constant", "learning rate schedule; one-cycle: linear up, then down to 0", choices=("constant", "one-cycle")
    )
    dropout: float = option(0.2, "dropout probability", least=0, most=0.99)
    batch_norm: int = option(0, "number of convolutions, from the last, with batch normalization in training", least=0)
    norm: str = option("pooled", "batch normalization of pooled values, or of all (slower)", choices=("pooled", "all"))
    augment: float = option(0.0, "strength of the augmentation; with shift in pixels", least=0)
    augmentation: str = option(
        "warp", "warp: rotation, stretch, shift and bend; shift: mirroring and shift", choices=("warp", "shift")
    )
    decline: float = option(
        0.0, "weight of the loss that makes predictions for images of no character unclear", least=0
    )
    smoothing: float = option(0.0, "label smoothing", least=0, most=0.99)
    precision: str = option("float32", "arithmetic of the layers in training", choices=("float32", "bfloat16"))
    average: float = option(0.0, "final share of the steps over which weights are averaged", least=0, most=1)


@dataclass
class Epoch:
    """The results of one epoch."""

    number: int  # from 1
    examples: int  # seen since the beginning
    loss: float  # mean over the epoch, before each step
    accuracy: float  # percent, likewise
    batch_losses: list[tuple[int, float]]  # (examples seen since the beginning, mean loss of the batch)
    model: nn.Module  # a copy for evaluation: batch normalization folded, weights averaged if the recipe says so
    state: dict  # for `fit`, to resume; save it before the next epoch, which changes its tensors


def fit(
    model: nn.Module, train: Split, recipe: Recipe, seed: int, state: dict | None = None, quiet: bool = False
) -> Iterator[Epoch]:
    """Train a copy of `model` on the device of `train`, and yield after each epoch.

    Examples with the label -1 are outliers, for which no class should be confident.

    The random numbers of each epoch (order, dropout, augmentation) depend on `seed` and the epoch's number only, so
    that a run resumed from a `state` takes the same steps, to the bit, as an uninterrupted one.
    """
    device = train.labels.device
    known = max(1, (train.labels >= 0).sum().item())
    model = copy.deepcopy(model).to(device, memory_format=torch.channels_last).train()
    batch_norm.add_norms(model, recipe.batch_norm, recipe.norm)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE_DECAY), use_buffers=True)
    optimizer = _optimizer(model, recipe)
    if state is not None:
        try:
            model.load_state_dict(state["model"])
            averaged.load_state_dict(state["averaged"])
            optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError):
            raise Failure("the checkpoint is from another network or optimizer: run without --resume") from None
    first = 0 if state is None else state["epoch"]
    steps = math.ceil(len(train) / recipe.batch_size)  # of one epoch

    with tqdm(
        total=recipe.epochs * steps, initial=first * steps, unit=" batches", leave=False, disable=quiet or None
    ) as bar:
        for epoch in range(first, recipe.epochs):
            torch.manual_seed(1_000_003 * seed + epoch)
            batches = torch.randperm(len(train), device=device).split(recipe.batch_size)
            if recipe.batch_norm and len(batches) > 1 and len(batches[-1]) == 1:
                batches = *batches[:-2], torch.cat(batches[-2:])  # batch normalization needs two examples
            losses = []
            correct = torch.zeros((), dtype=torch.int64, device=device)
            for i, batch in enumerate(batches, start=epoch * steps):
                done = i / (recipe.epochs * steps)
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(recipe, done)
                images, labels = train.images[batch], train.labels[batch]
                if recipe.augment:
                    images = augmentation.AUGMENTATIONS[recipe.augmentation](images, recipe.augment)
                with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
                    log_probabilities = model(images).float()
                loss, outlier_loss = _losses(log_probabilities, labels)
                objective = loss + recipe.decline * outlier_loss
                if recipe.smoothing:  # Szegedy et al., "Rethinking the Inception architecture", 2016
                    objective = torch.lerp(objective, -log_probabilities.mean(), recipe.smoothing)
                optimizer.zero_grad()
                objective.backward()
                optimizer.step()
                if done >= 1 - recipe.average and i % AVERAGE_EVERY_STEPS == 0:
                    averaged.update_parameters(model)
                losses.append(loss.detach() * len(batch))  # stays on the device: reading it would wait for the step
                correct += (log_probabilities.argmax(1) == labels).sum()
                bar.update()
            bar.clear()  # so that the script can print
            losses = torch.stack(losses).tolist()
            sizes = [len(batch) for batch in batches]
            seen = [epoch * len(train) + size for size in itertools.accumulate(sizes)]
            yield Epoch(
                number=epoch + 1,
                examples=seen[-1],
                loss=sum(losses) / len(train),
                accuracy=100 * correct.item() / known,
                batch_losses=[(at, loss / size) for at, loss, size in zip(seen, losses, sizes, strict=True)],
                model=_finished(averaged.module if averaged.n_averaged else model),
                state={
                    "epoch": epoch + 1,
                    "model": model.state_dict(),
                    "averaged": averaged.state_dict(),
                    "optimizer": optimizer.state_dict(),
                },
            )


def _losses(log_probabilities: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the negative log-likelihood of the examples, and for outliers that of "not the most likely class".

    Both are sums divided by the number of examples with a class, so that a single outlier does not weigh more in a
    batch with few outliers.
    """
    known = (labels >= 0).sum().clamp(min=1)
    likelihood = F.nll_loss(log_probabilities, labels, ignore_index=-1, reduction="sum") / known
    greatest = log_probabilities.amax(1).exp().clamp(max=1 - 1e-6)  # or the logarithm would be infinite
    return likelihood, -(torch.log1p(-greatest) * (labels < 0)).sum() / known


def learning_rate(recipe: Recipe, done: float) -> float:
    """Return the learning rate after a share `done`, 0 to 1, of all steps.

    One cycle rises linearly, then falls linearly to 0 (Smith and Topin, "Super-convergence", 2018).
    """
    if recipe.schedule == "constant":
        return recipe.learning_rate
    return recipe.learning_rate * min((done + FIRST_STEP_SHARE) / WARM_UP_SHARE, (1 - done) / (1 - WARM_UP_SHARE))


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    settings = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
    if recipe.optimizer == "adam":
        betas = recipe.momentum, 0.999
        return torch.optim.Adam(learned, betas=betas, decoupled_weight_decay=True, fused=True, **settings)
    return {"sgd": torch.optim.SGD, "muon": Muon}[recipe.optimizer](learned, momentum=recipe.momentum, **settings)


def _finished(model: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode, with batch normalization folded into the convolutions."""
    model = copy.deepcopy(model).eval()
    batch_norm.fold_norms(model)
    return model


def has_bfloat16(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 in hardware; elsewhere it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # which torch 2.11 has not
    return device.type == "cpu" and capabilities.get("avx512_bf16", False)
