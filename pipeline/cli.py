"""The command line: a frozen dataclass as flags, an expected failure as one line and an exit status.

A script gives its dataclass and its `main` to `launch`. Exit status: 0 done, 1 it could not be done, 2 wrong usage,
130 Ctrl-C.
"""

import argparse
import dataclasses
import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from pipeline import command
from pipeline.errors import Failure, WrongUsage, disk_trouble

DATA_DIR = Path(os.environ.get("DATA_DIR") or "data")


def option(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] = (),
    least: float = -math.inf,
    most: float = math.inf,
    alias: str = "",
    affects_result: bool = True,
) -> Any:
    """A dataclass field that knows how to be a flag: its help, the values it may take, a second name.

    Args:
        affects_result: whether another value gives another network or table; what a stopped run is resumed from, a
            study and a cached training must have been made with the same values of these.
    """
    metadata: dict[str, Any] = {"help": help, "choices": choices, "range": (least, most), "alias": alias}
    metadata["affects_result"] = affects_result
    return dataclasses.field(default=default, metadata=metadata)


def run_option(default: Any, help: str, **settings: Any) -> Any:
    """An `option` of the run only, such as a folder or a device, that the result does not depend on."""
    return option(default, help, affects_result=False, **settings)


@dataclasses.dataclass(frozen=True)
class Common:
    """The flags that every script has."""

    seed: int = option(0, "random seed of the initial weights and everything else random", least=0, most=2**32 - 1)
    device: str = run_option("auto", "auto uses a GPU if there is one", choices=("auto", "cpu", "cuda", "mps"))
    threads: int = run_option(0, "CPU threads; 0: torch's default", least=0, most=1024)
    data_dir: Path = run_option(DATA_DIR, "folder of the data sets, also for downloads")
    show: bool = run_option(False, "also open the figures in windows; the program ends when they are closed")
    quiet: bool = run_option(False, "no progress bar")


def result_settings(config: Any) -> dict[str, Any]:
    """The settings that a result depends on, as values that JSON and `torch.save` can hold."""
    names = [field.name for field in dataclasses.fields(config) if field.metadata.get("affects_result", True)]
    values = {name: getattr(config, name) for name in names}
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def configure(config: type, presets: Mapping[str, Any], **given: Any) -> Any:
    """A `config` of its defaults, over them the preset's values, over those what is given."""
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    preset = presets[given.get("preset", defaults["preset"])] if presets else None
    return config(**{**defaults, **(dataclasses.asdict(preset) if preset else {}), **given})


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        _leave(f"error: {message} (--help lists the flags)", 2)


def parse(config: type, presets: Mapping[str, Any], doc: str, argv: list[str]) -> Any:
    """The command line as a `config`: one flag per field, hyphens for underscores."""
    parser = _Parser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    shown = configure(config, presets)
    fields = {field.name: field for field in dataclasses.fields(config)}
    for name, field in fields.items():
        names = ["--" + name.replace("_", "-"), *filter(None, [field.metadata["alias"]])]
        help = field.metadata["help"].replace("%", "%%")
        if field.type is bool:
            parser.add_argument(*names, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=help)
            continue
        if field.type is tuple:
            parser.add_argument(*names, nargs="+", type=_path, default=argparse.SUPPRESS, metavar="PATH", help=help)
            continue
        parser.add_argument(
            *names,
            type=_path if field.type is Path else field.type,
            choices=field.metadata["choices"] or None,
            default=argparse.SUPPRESS,
            metavar=None if field.metadata["choices"] else _type(field).__name__.upper(),
            help=help if getattr(shown, name) in (None, "") else f"{help} (default: {getattr(shown, name)})",
        )
    parser.add_argument(
        "--config", type=_path, metavar="FILE", help="a run's config.json: its settings; further flags override them"
    )
    given = vars(parser.parse_args(argv))
    if file := given.pop("config", None):
        if "preset" in given:
            parser.error("--preset cannot be combined with --config, which holds the values of all flags")
        try:
            given = read_config(file, fields) | given
        except Failure as failure:
            parser.error(str(failure))
    settings = configure(config, presets, **given)
    for name, field in fields.items():
        value, (least, most) = getattr(settings, name), field.metadata["range"]
        if isinstance(value, (int, float)) and not (least <= value <= most and math.isfinite(value)):
            parser.error(f"--{name.replace('_', '-')} must be {_range(least, most)}, not {value}")
    return settings


def read_config(file: Path, fields: Mapping[str, dataclasses.Field]) -> dict[str, Any]:
    """The settings in a config.json, for these fields of a script's dataclass.

    Raises:
        Failure: no readable JSON, a name that is no field, or a value that is of another type.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        settings = dict(content.items())
    except (OSError, ValueError, AttributeError, RecursionError):
        raise Failure(f"{file} is not a readable config.json") from None
    if unknown := sorted(settings.keys() - fields.keys()):
        raise Failure(f"{file} is from another script: no flags for {', '.join(unknown)}")
    for name, value in settings.items():
        field = fields[name]
        is_number = field.type is float and type(value) is int
        if field.type is tuple and isinstance(value, list) and all(isinstance(path, str) for path in value):
            settings[name] = tuple(map(Path, value))
            continue
        if value == field.default or is_number or (field.type is Path and value is None):
            continue
        if type(value) is not (str if field.type is Path else field.type):
            raise Failure(f"{file}: {name} must be {_type(field).__name__}, not {value!r}")
        if field.metadata["choices"] and value not in field.metadata["choices"]:
            raise Failure(f"{file}: {name} must be one of {', '.join(field.metadata['choices'])}, not {value!r}")
        settings[name] = _type(field)(value)
    return settings


def _type(field: dataclasses.Field) -> type:
    assert isinstance(field.type, type), "a flag's annotation is int, float, str, bool, Path, or tuple for paths"
    return field.type


def _path(text: str) -> Path:
    """Convert to a path; an empty one is an error, since Path("") is the working directory."""
    if not text:
        raise argparse.ArgumentTypeError("is empty: give a path")
    return Path(text)


def _range(least: float, most: float) -> str:
    return f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"


def launch(main: Callable[[Any], Any], config: type, presets: Mapping[str, Any]) -> None:
    """Parse the command line and call `main`; turn expected errors into one line and an exit status."""
    settings = parse(config, presets, sys.modules[main.__module__].__doc__ or "", sys.argv[1:])
    try:
        main(settings)
    except KeyboardInterrupt:
        _leave("\nstopped" + _next_step(settings), 130)
    except WrongUsage as failure:
        _leave(f"error: {failure}", 2)
    except Failure as failure:
        _leave(f"error: {failure}", 1)
    except OSError as failure:
        _leave(f"error: {disk_trouble(failure)}", 1)


def _next_step(settings: Any) -> str:
    """Return what to print after Ctrl-C: the command that continues the run, or starts it again."""
    if getattr(settings, "record", None):
        return ""  # the recording is complete, and is not overwritten
    arguments, end = sys.argv, []
    if hasattr(settings, "resume"):
        arguments, end = [argument for argument in sys.argv if argument != "--resume"], ["--resume"]
    # the database of a study contains what is done
    purpose = "to continue" if end or hasattr(settings, "study") else "to start again"
    return f"; {purpose}:  " + command([*arguments, *end])


def _leave(line: str, status: int) -> NoReturn:
    print(line, file=sys.stderr)
    sys.exit(status)


def changed(now: Mapping[str, Any], then: Mapping[str, Any]) -> str:
    """Return the flags that change the settings `now` to those of `then`; empty if they are equal."""
    return " ".join(f"--{name.replace('_', '-')} {then.get(name)}" for name in now if now[name] != then.get(name))
