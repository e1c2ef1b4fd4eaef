"""Command line of the ablation: ``python -m training.ablation train|test|report``."""

from training.ablation.commands import app

if __name__ == "__main__":
    app(prog_name="python -m training.ablation")
