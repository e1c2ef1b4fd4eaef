"""Copies, waits and bytes of a frame with several people, counted by the simulated device."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from engines.cuda.port import Cuda
from tests.realtime.crowd import assert_near, on_the_cpu, on_the_gpu, watch
from tests.simulated.device import SimulatedDevice, require_simulated

require_simulated()

COUNTED = ("copies", "waits", "replays", "bytes_in", "bytes_out")


@pytest.mark.parametrize("people", [1, 2, 4])
def test_a_frame_of_several_people_is_as_many_copies_and_waits_as_one_of_one(
    port: Cuda, simulated: SimulatedDevice, tmp_path: Path, people: int
) -> None:
    """Crops up for the keypoints and for the flow, observations up and bodies down: four copies. Two waits."""
    counts: list[dict[str, int]] = []
    present = [list(range(people))] * 10
    with ExitStack() as stack:
        stages = on_the_gpu(tmp_path, stack)
        found = list(watch(stages, present, lambda frame: counts.append(simulated.statistics())))
        assert_near(found, list(watch(on_the_cpu(stack), present)))
    frames = [{name: after[name] - before[name] for name in COUNTED} for before, after in pairwise(counts)][4:]
    for frame in frames:
        assert frame["copies"] == 4
        assert frame["waits"] in (2, 3), "a third where the CPU comes back before the flow's crops are up"
        assert frame["replays"] == 3, "keypoints, flow, and regressor with body"
        assert frame["bytes_in"] <= 1_015_000 * people
        assert frame["bytes_out"] <= 93_000 * people
    assert simulated.statistics()["pageable_copies"] == 0


def test_people_who_come_and_go_are_recorded_anew(port: Cuda, simulated: SimulatedDevice, tmp_path: Path) -> None:
    present = [[0]] * 4 + [[0, 1, 2]] * 4 + [[0, 2]] * 4 + [[0]] * 4
    with ExitStack() as stack:
        found = list(watch(on_the_gpu(tmp_path, stack), present))
        assert_near(found, list(watch(on_the_cpu(stack), present)))
