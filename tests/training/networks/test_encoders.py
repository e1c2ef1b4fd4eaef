"""Encoders of a region see where keypoints are and what moves, and leave the camera's motion out."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from training.ablation.fitting import heatmap_loss  # noqa: E402
from training.networks.encoders import HEAT, FlowEncoder, KeypointReader, ResidualFlowEncoder  # noqa: E402
from training.networks.lifter import Lifter  # noqa: E402
from training.networks.lifter_config import LifterConfig  # noqa: E402


@pytest.mark.parametrize("side", [32, 64])
def test_a_reader_learns_to_point_at_a_dot(side: int) -> None:
    torch.manual_seed(0)
    reader = KeypointReader(3, side, 16).train()
    optimizer = torch.optim.Adam(reader.parameters(), 3e-3)

    def dots(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """White dots on black, and where they are in sides of the image."""
        place = torch.rand(count, 2) * 0.8 - 0.4
        steps = (torch.arange(side) + 0.5) / side - 0.5
        off = (steps[None, None, :] - place[:, 0, None, None]) ** 2 + (
            steps[None, :, None] - place[:, 1, None, None]
        ) ** 2
        return torch.exp(-off / 0.003)[:, None].repeat(1, 3, 1, 1), place[:, None].repeat(1, 17, 1)

    for _ in range(60):
        images, places = dots(16)
        vectors, maps = reader(images)
        optimizer.zero_grad()
        heatmap_loss(maps, places).backward()
        optimizer.step()
    assert vectors.shape == (16, 16)
    images, places = dots(32)
    maps = reader.eval()(images)[1].detach()
    found = maps.flatten(2).softmax(-1) @ reader.grid / 2
    assert float((found - places).norm(dim=-1).mean()) < 1.5 / HEAT


def test_the_loss_of_maps_is_least_at_the_place_and_leaves_out_what_is_outside() -> None:
    place = torch.tensor([[[0.25, -0.125]]])  # on the corner of four cells
    maps = torch.full((1, 1, HEAT, HEAT), -20.0)
    maps[0, 0, 5:7, 11:13] = 0
    assert float(heatmap_loss(maps, place)) == pytest.approx(torch.log(torch.tensor(4.0)).item(), abs=1e-3)
    assert float(heatmap_loss(maps, place + 0.125)) > 5
    assert float(heatmap_loss(maps, torch.tensor([[[0.6, 0.0]]]))) == 0


@pytest.mark.parametrize("kind", [FlowEncoder, ResidualFlowEncoder])
def test_a_camera_that_turns_changes_nothing_but_its_own_motion(kind: type[torch.nn.Module]) -> None:
    torch.manual_seed(1)
    encoder = kind(8).eval()
    flow = torch.zeros(3, 32, 32, 2)
    flow[:, 8:24, 8:24] = torch.randn(3, 16, 16, 2) * 0.02
    shift = torch.tensor([0.03, -0.01])
    valid, dt = torch.ones(3), torch.full((3,), 1 / 30)
    still, none = encoder(flow, valid, dt)
    moved, behind = encoder(flow + shift, valid, dt)
    torch.testing.assert_close(moved, still, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(behind - none, shift.expand(3, 2), atol=1e-6, rtol=0)
    assert float((kind(8, "none").eval()(flow + shift, valid, dt)[1]).abs().max()) == 0
    with pytest.raises(ValueError, match="choose median or none"):
        kind(8, "mean")


def test_residual_encoders_are_a_choice_that_the_default_does_not_make() -> None:
    plain, chosen = (Lifter(LifterConfig(32, 1, 16, 16, image=True, residual=chosen)) for chosen in (False, True))
    assert isinstance(plain.flow_encoder, FlowEncoder)
    assert isinstance(chosen.flow_encoder, ResidualFlowEncoder)
    assert not LifterConfig().residual
