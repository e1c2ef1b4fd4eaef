"""Command line: ``python -m training.evaluation synthetic | memory | datasets | reference | tracking | vertical | world``."""

from __future__ import annotations

import typer

from common.command_line import run_commands
from training.evaluation.datasets import score_dataset
from training.evaluation.memory import score_memory
from training.evaluation.reference import score_against_reference
from training.evaluation.synthetic import score_synthetic
from training.evaluation.tracking import score_tracking
from training.evaluation.vertical import score_vertical
from training.evaluation.world import score_world

app = typer.Typer(
    help="Scores of regressors and of saved motions.",
    epilog="Example: python -m training.evaluation synthetic --motion motion.npz",
    add_completion=False,
)
app.command("synthetic")(score_synthetic)
app.command("memory")(score_memory)
app.command("datasets")(score_dataset)
app.command("reference")(score_against_reference)
app.command("tracking")(score_tracking)
app.command("vertical")(score_vertical)
app.command("world")(score_world)

if __name__ == "__main__":
    run_commands(app, "python -m training.evaluation")
