"""What the networks see while the program runs: nothing can be compared or calibrated on a network that was left out."""

from __future__ import annotations

import pytest

from export.networks import CLIP, load_networks, record_samples
from realtime.networks import FLOW_MODELS


def test_every_network_of_the_program_is_recorded() -> None:
    """Also both sizes of RAFT beside a regressor that reads no flow."""
    networks = load_networks()
    samples = record_samples(networks, CLIP, 4)
    assert {name: len(rows) > 0 for name, rows in samples.items()} == dict.fromkeys(networks, True)
    assert [len(samples[name]) for name in ("motion", "keypoints")] == [4, 4], (
        "one run each, in the order of the frames"
    )
    for name in FLOW_MODELS.values():
        (first, *_) = samples[name]
        assert first["previous"].shape[1:] == first["current"].shape[1:] == (SIDES[name], SIDES[name], 3)
        assert (first["previous"] != first["current"]).any(), "somebody walks"


SIDES = {"raft-small": 384, "raft-small-256": 256}


@pytest.mark.parametrize("names", [["raft-small"], ["raft-small-256", "keypoints"], ["movenet-thunder", "keypoints"]])
def test_a_choice_of_them_is_recorded(names: list[str]) -> None:
    assert all(record_samples(load_networks(names), CLIP, 3).values())
