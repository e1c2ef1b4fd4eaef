"""Several people are one run of each network on a GPU, whoever comes and goes, and get what each gets alone on a CPU."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from tests.engines.conftest import FakeGpu, fake_gpu
from tests.realtime.crowd import assert_near, on_the_cpu, on_the_gpu, watch

__all__ = ["fake_gpu"]

COME_AND_GO = [[0], [0], [0, 1], [0, 1], [0, 1, 2, 3], [0, 1, 2, 3], [0, 2, 3], [3], [0, 3], [0, 3], [4, 0], [], [0, 4]]


def test_they_are_what_each_is_alone_on_a_cpu(fake_gpu: FakeGpu, tmp_path: Path) -> None:
    with ExitStack() as stack:
        found = list(watch(on_the_gpu(tmp_path, stack), COME_AND_GO))
        assert_near(found, list(watch(on_the_cpu(stack), COME_AND_GO)))


@pytest.mark.parametrize("people", [1, 2, 6])
def test_nobody_waits_longer_for_a_further_person(fake_gpu: FakeGpu, tmp_path: Path, people: int) -> None:
    """Once for the keypoints and once for the bodies; a run of each network and a copy to it is all there is."""
    waits: list[int] = []
    with ExitStack() as stack:
        stages = on_the_gpu(tmp_path, stack)
        present = [list(range(people))] * 7
        for _ in watch(stages, present, lambda frame: waits.append(fake_gpu.cuda.waits)):
            pass
    # The flow's upload may be waited for before the next one.
    assert {after - before for before, after in pairwise(waits[2:])} <= {2, 3}


def test_plans_for_one_person_take_people_one_by_one(fake_gpu: FakeGpu, tmp_path: Path) -> None:
    with ExitStack() as stack:
        found = list(watch(on_the_gpu(tmp_path, stack, rows=1), COME_AND_GO[:6]))
        assert_near(found, list(watch(on_the_cpu(stack), COME_AND_GO[:6])))
