"""Command line of the ablation: ``python -m training.ablation train|test|report``."""

from common.errors import exit_with_one_line
from training.ablation.commands import app

if __name__ == "__main__":
    with exit_with_one_line():
        app(prog_name="python -m training.ablation")
