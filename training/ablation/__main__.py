"""Command line of the ablation: ``python -m training.ablation train|test|report``."""

from common.command_line import run_commands
from training.ablation.commands import app

if __name__ == "__main__":
    run_commands(app, "python -m training.ablation")
