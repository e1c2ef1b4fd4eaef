from __future__ import annotations

import re

import numpy as np

from training.evaluation.standing import describe_standing


def test_the_odds_that_samples_are_drawn_with_are_found_again() -> None:
    rng = np.random.default_rng(2)
    contact, speed = rng.uniform(0.03, 0.97, 200_000), rng.uniform(0, 1.5, 200_000)
    odds = 0.6 * (contact / (1 - contact)) ** 0.5 * (speed + 0.05) ** -2.5
    stands = rng.uniform(size=len(odds)) < odds / (1 + odds)
    text = describe_standing(np.stack([contact, speed], 1), stands)
    found = [float(value) for value in re.findall(r"[-]?[0-9.]+", text.splitlines()[-1].replace("1 - contact", ""))]
    base, power, _, fall = found
    np.testing.assert_allclose((base, power, fall), (0.6, 0.5, 2.5), rtol=0.05)
    slow = next(line for line in text.splitlines() if line.startswith("| 0.30"))
    row = (contact >= 0.3) & (contact < 0.5) & (speed < 0.2)
    assert slow.split("|")[2].strip() == f"{stands[row].mean():.2f} ({row.sum()})"
