"""Arithmetic and bytes are counted right: by hand, and as torch counts them."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from export.checks.budget import DEVICES, Device, count, main
from export.conversion.network import PipelineNetwork
from export.networks import BODY, load_networks
from export.raft.__main__ import raft_to_onnx
from export.raft.network import RaftSmall
from tests.export.conversion.test_precision import small_network


def test_by_hand() -> None:
    cost = count(PipelineNetwork("small", "flow", small_network().SerializeToString()))
    image = 12 * 12
    flops = [2 * image * outputs * reads for outputs, reads in ((8, 3 * 9), (8, 8 * 9), (8, 8), (4, 8))]
    assert [layer.flops for layer in cost.layers] == flops
    assert cost.weights == 8 * 27 + 8 * 72 + 64 + 32
    assert cost.layers[0].numbers == 3 * image + 8 * 27 + 8 * image
    assert (cost.bytes_in, cost.bytes_out) == (4 * 3 * image, 4 * 4 * image)
    least, most = cost.kernels
    assert (least, most) == (4, len([node for node in small_network().graph.node if node.op_type != "Constant"]))
    slow = Device("slow", 1e-6, 1e-3)  # a megaflop and a megabyte a second
    assert cost.limit_ms(slow) == pytest.approx(
        max(sum(flops) * 1e-3, cost.weights * 2e-3 + (cost.bytes_in + cost.bytes_out) * 1e-3)
    )
    assert cost.layered_ms(slow) == pytest.approx(
        sum(max(layer.flops * 1e-3, layer.numbers * 2e-3) for layer in cost.layers)
    )


def test_as_torch_counts() -> None:
    network = RaftSmall(128, 2).eval()
    pair = torch.zeros(1, 128, 128, 3), torch.zeros(1, 128, 128, 3)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(*pair)
    cost = count(PipelineNetwork("raft", "flow", raft_to_onnx(network).SerializeToString()))
    assert cost.flops == pytest.approx(counter.get_total_flops(), rel=1e-3)
    # What the iterations share counts once.
    assert cost.weights == pytest.approx(sum(each.numel() for each in network.parameters()), rel=0.01)


def test_the_limit_is_the_limit() -> None:
    for network in load_networks(["keypoints", "movenet-lightning", BODY]).values():
        cost = count(network)
        for device in DEVICES:
            assert 0 < cost.limit_ms(device) <= 1.001 * cost.layered_ms(device) + 1e-3


def test_every_figure_is_marked_as_computed(capsys: pytest.CaptureFixture[str]) -> None:
    main(start_us=10.0)
    printed = capsys.readouterr().out
    least, most = count(load_networks([BODY])[BODY]).kernels
    assert f"| {least} to {most} | {least * 0.01:.2f} to {most * 0.01:.2f} | " in printed
    assert "COMPUTED, not measured" in printed
    for device in DEVICES:
        assert device.name in printed
