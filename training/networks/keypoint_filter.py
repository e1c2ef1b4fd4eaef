"""A learned recurrent filter of keypoints in front of the lifter, which combines detections with optical flow.

It has the form of a Kalman filter with a learned gain. The flow predicts where the last frame's keypoint has moved to; the
detector measures it, with jitter and misses. A small network reads their difference and gives the gain, between 0 (the
prediction alone) and 1 (the detection alone). Without flow, the last velocity predicts.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from body.joints import KEYPOINTS
from training.networks.inputs import FLOW_CELLS

_TRUST_DECAY_S = 0.4  # time constant with which the trust in an undetected keypoint decays


class KeypointTrack(NamedTuple):
    """The filter's state for B people; float32."""

    rays: Tensor
    """(B, 17, 2) keypoints, x/z and y/z."""
    velocity: Tensor
    """(B, 17, 2) velocity of ``rays``, 1/s."""
    trust: Tensor
    """(B, 17) confidence in ``rays``, 0..1: the detector's, which decays while it detects nothing."""
    residual: Tensor
    """(B, 17, 2) difference of the detected and the predicted keypoint, in sizes of the person."""
    alive: Tensor
    """(B, 1) 1 after the first frame."""


def sample_flow(flow: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Bilinear samples (B, K, 2) of fields ``flow`` (B, 32, 32, 2) at ``cells`` (B, K, 2) x, y, and whether (B, K) they lie
    inside, 1 or 0. Written as two products with hat functions, because not every runtime has GridSample."""
    within = (cells > -0.5) & (cells < FLOW_CELLS - 0.5)
    inside = (within[..., 0] & within[..., 1]).to(flow.dtype)
    grid = torch.arange(FLOW_CELLS, dtype=flow.dtype, device=flow.device)
    hats = (1 - (cells.clamp(0, FLOW_CELLS - 1)[..., None] - grid).abs()).clamp_min(0)  # (B, K, 2, 32)
    rows = hats[:, :, 1] @ flow.reshape(-1, FLOW_CELLS, FLOW_CELLS * 2)
    rows = rows.reshape(-1, cells.shape[1], FLOW_CELLS, 2)
    return (hats[:, :, 0, :, None] * rows).sum(2), inside


def sample_flow_fast(flow: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """`sample_flow` by PyTorch's own sampler, which is many times faster in training."""
    within = (cells > -0.5) & (cells < FLOW_CELLS - 0.5)
    inside = (within[..., 0] & within[..., 1]).to(flow.dtype)
    places = (cells * (2 / (FLOW_CELLS - 1)) - 1)[:, None]
    moved = nn.functional.grid_sample(
        flow.permute(0, 3, 1, 2), places, mode="bilinear", padding_mode="border", align_corners=True
    )
    return moved[:, :, 0].transpose(1, 2), inside


class KeypointFilter(nn.Module):
    """The filter. With ``use_flow`` False it predicts by the last velocity alone."""

    STATE = KEYPOINTS * 5 + 1

    def __init__(self, use_flow: bool, width: int = 32, embedding: int = 8) -> None:
        super().__init__()
        self.use_flow = use_flow
        self.sample = sample_flow_fast
        self.embedding = nn.Parameter(torch.randn(KEYPOINTS, embedding) * 0.1)
        self.gate = nn.Sequential(nn.Linear(embedding + 9, width), nn.GELU(), nn.Linear(width, 2))
        self.velocity_share = nn.Parameter(torch.tensor(0.0))
        last = self.gate[2]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(0.2)
            last.bias.copy_(torch.tensor([2.0, 0.0]))  # a gain of 0.9: untrained, it follows the detector

    def unpack(self, state: Tensor) -> KeypointTrack:
        """A `KeypointTrack` from its packed form (B, STATE)."""
        batch, k = state.shape[0], KEYPOINTS
        rays = state[:, : 2 * k].reshape(batch, k, 2)
        velocity = state[:, 2 * k : 4 * k].reshape(batch, k, 2)
        return KeypointTrack(rays, velocity, state[:, 4 * k : 5 * k], torch.zeros_like(rays), state[:, 5 * k :])

    def pack(self, track: KeypointTrack) -> Tensor:
        """(B, STATE): the part of ``track`` that is kept until the next frame."""
        return torch.cat([track.rays.flatten(1), track.velocity.flatten(1), track.trust, track.alive], 1)

    def step(
        self,
        last: KeypointTrack,
        rays: Tensor,
        confidence: Tensor,
        camera: Tensor,
        dt: Tensor,
        flow: Tensor,
        box: Tensor,
        flow_valid: Tensor,
    ) -> KeypointTrack:
        """One frame: ``rays`` (B, 17, 2) and ``confidence`` (B, 17) as detected, the rest as in `Observation` with no T."""
        size = spread(rays, reliability(confidence))[:, None, None]
        step_s = dt.clamp(0.004, 1.0)[:, None, None]
        drift = last.velocity * step_s * torch.sigmoid(self.velocity_share)
        if self.use_flow:
            pixels = last.rays * camera[:, None, :2] + camera[:, None, 2:]
            side = box[:, None, 2:]
            cells = ((pixels - box[:, None, :2]) / side + 0.5) * FLOW_CELLS - 0.5
            moved, inside = self.sample(flow, cells)
            moved = moved * side / camera[:, None, :2]
            known = (inside * flow_valid[:, None])[..., None]
            motion = known * moved + (1 - known) * drift
        else:
            known = torch.zeros_like(drift[..., :1])
            motion = drift
        predicted = last.rays + motion
        residual = ((rays - predicted) / size).clamp(-4, 4)
        distance = residual.square().sum(-1).add(1e-8).sqrt()
        gate_inputs = torch.stack(
            [
                confidence,
                reliability(confidence),
                last.trust,
                distance.add(0.02).log() * 0.5,
                (motion / size).square().sum(-1).add(1e-8).sqrt().clamp(max=4),
                ((motion - drift) / size).square().sum(-1).add(1e-8).sqrt().clamp(max=4),
                known[..., 0],
                (dt.clamp(0.004, 1.0) * 30).log()[:, None].expand_as(confidence),
                distance.mean(-1, keepdim=True).expand_as(confidence),
            ],
            -1,
        )
        gates = torch.sigmoid(
            self.gate(torch.cat([gate_inputs, self.embedding + torch.zeros_like(gate_inputs[..., :1])], -1))
        )
        first = 1 - last.alive
        gain = torch.maximum(gates[..., :1], first[..., None])
        filtered = predicted + gain * (rays - predicted)
        trust = gain[..., 0] * confidence + (1 - gain[..., 0]) * last.trust * torch.exp(-dt / _TRUST_DECAY_S)[:, None]
        speed = ((filtered - last.rays) / step_s).clamp(-20, 20)
        velocity = (last.velocity + gates[..., 1:] * (speed - last.velocity)) * last.alive[..., None]
        return KeypointTrack(filtered, velocity, trust, residual * last.alive[..., None], torch.ones_like(last.alive))


def reliability(confidence: Tensor) -> Tensor:
    """Weight 0..1 of a detection: 0 below a confidence of 0.1, 1 from 0.4 on."""
    return ((confidence - 0.1) / 0.3).clamp(0, 1)


def spread(rays: Tensor, weight: Tensor) -> Tensor:
    """Angular size (...,) of a person: root of the weighted variance of ``rays`` (..., 17, 2), at least 0.001."""
    total = weight.sum(-1, keepdim=True).clamp_min(1e-3)
    centre = (weight[..., None] * rays).sum(-2, keepdim=True) / total[..., None]
    return ((weight[..., None] * (rays - centre) ** 2).sum((-1, -2)) / total[..., 0] + 1e-6).sqrt()
