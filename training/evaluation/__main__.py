"""Command line: ``python -m training.evaluation synthetic | datasets | reference | tracking | vertical | world``."""

from __future__ import annotations

import typer

from common.errors import exit_with_one_line
from training.evaluation.datasets import score_dataset
from training.evaluation.reference import score_against_reference
from training.evaluation.synthetic import score_synthetic
from training.evaluation.tracking import score_tracking
from training.evaluation.vertical import score_vertical
from training.evaluation.world import score_world

app = typer.Typer(
    help="Scores of regressors and of saved motions.",
    epilog="Example: python -m training.evaluation synthetic --motion motion.npz",
    add_completion=False,
    no_args_is_help=True,
)
app.command("synthetic")(score_synthetic)
app.command("datasets")(score_dataset)
app.command("reference")(score_against_reference)
app.command("tracking")(score_tracking)
app.command("vertical")(score_vertical)
app.command("world")(score_world)

if __name__ == "__main__":
    with exit_with_one_line():
        app()
