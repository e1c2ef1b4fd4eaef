"""Training of the ablation's networks, the same for all inputs.

Convolutional encoders of pixels and flow are trained first, on single frames of many people, to locate the keypoints in
the region and to predict the joints in space; trained end to end they stay at the mean body for very long. Then they
are frozen, every frame is encoded once, and regressors are trained on the encodings: on single frames of other people,
then on their windows. Variants that read the same field share its encoder, and a regressor takes minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from body.joints import COCO_MIRROR, JOINT_MIRROR, JOINTS
from body.lbs_torch import TorchBody
from body.model import load_body
from common.arrays import Int64Array
from training.losses import LossWeights, regression_loss
from training.networks.encoders import HEAT, ResidualFlowEncoder, ResidualImageEncoder
from training.networks.inputs import Observation
from training.networks.lifter import Lifter
from training.networks.lifter_config import LifterConfig
from training.simulation.batches import Batch
from training.synth.dataset import Windows

FieldEncoder = ResidualFlowEncoder | ResidualImageEncoder

_WEIGHTS: Final = LossWeights(contact=0.0, up=0.0, root_velocity=0.0)  # rendered windows have no such labels
_JOINTS: Final = 2.0
"""Weight of one metre of joint error relative to the cross-entropy of the keypoint heat maps."""
_SIZE: Final = 0.3
"""Standard deviation of the encodings: they have many channels and must not dominate the other inputs."""
_EVERY: Final = 2
"""Stride of the frames that are used singly."""
_AT_ONCE: Final = 32
"""Windows encoded per batch."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Sizes of the three stages of training: encoders on single frames, regressors on single frames, regressors on
    windows."""

    encoder_steps: int = 3000
    """Optimiser steps of an encoder."""
    encoder_batch: int = 32
    """Frames in each of them."""
    encoder_rate: float = 2e-3
    """Their peak learning rate."""
    frame_steps: int = 600
    """Optimiser steps of a regressor on single frames."""
    frame_batch: int = 128
    """Frames in each of them."""
    window_steps: int = 300
    """Optimiser steps of a regressor on windows."""
    window_batch: int = 32
    """Windows in each of them."""
    rate: float = 1e-3
    """A regressor's peak learning rate on single frames; half of it on windows."""

    def times(self, factor: float) -> Schedule:
        """The same schedule with ``factor`` times as many steps, at least one in each stage."""
        return replace(
            self,
            encoder_steps=max(round(self.encoder_steps * factor), 1),
            frame_steps=max(round(self.frame_steps * factor), 1),
            window_steps=max(round(self.window_steps * factor), 1),
        )


def make_batch(windows: Windows, rows: Int64Array) -> Batch:
    """The windows ``rows`` as the record that losses and scores read."""
    part = {name: torch.from_numpy(np.asarray(values)) for name, values in windows.take(rows).items()}
    batch, length = part["dt"].shape
    camera = part["camera"][:, None].expand(batch, length, 4)
    image = part["rgb"].permute(0, 1, 4, 2, 3).float() / 255 if "rgb" in part else None
    valid = torch.ones(batch, length)
    flow, box = part["flow"].float(), part["box"].float()
    seen = Observation(part["points"], part["confidence"], camera, part["dt"], flow, box, valid, image)
    size = part["extent"] / part["true_camera"][:, :1]
    contact, none = torch.zeros(batch, length, 4), torch.zeros(batch, length, 3)
    body = (part["rotations"], part["betas"], part["joints"], part["coco"], part["pelvis"])
    return Batch(seen, *body, size, contact, none, none)


def mirror_batch(batch: Batch) -> Batch:
    """The same batch mirrored: left and right swapped."""
    flip = torch.tensor([-1.0, 1.0, 1.0])
    joints, coco = list(JOINT_MIRROR), list(COCO_MIRROR)
    seen = batch.seen
    across = 2 * seen.camera[..., 2]  # the principal point is the image centre
    points, box = seen.points[:, :, coco].clone(), seen.box.clone()
    points[..., 0] = across[..., None] - points[..., 0]
    box[..., 0] = across - box[..., 0]
    return replace(
        batch,
        seen=replace(
            seen,
            points=points,
            confidence=seen.confidence[:, :, coco],
            box=box,
            flow=seen.flow.flip(3) * flip[:2],
            image=None if seen.image is None else seen.image.flip(-1),
        ),
        rotations=batch.rotations[:, :, joints] * flip[:, None] * flip,
        joints=batch.joints[:, :, joints] * flip,
        coco=batch.coco[:, :, coco] * flip,
        pelvis=batch.pelvis * flip,
    )


def jitter_colours(image: Tensor) -> Tensor:
    """Random exposure, contrast and white balance of each window (B, T, 3, 64, 64), 0..1."""
    count = len(image)
    gain = torch.exp(torch.randn(count, 1, 3, 1, 1) * 0.15 + torch.randn(count, 1, 1, 1, 1) * 0.3)
    bent = image.clamp_min(1e-3) ** torch.exp(torch.randn(count, 1, 1, 1, 1) * 0.25)
    return (bent * gain).clamp(0, 1)


def region_coordinates(batch: Batch) -> Tensor:
    """True COCO keypoints in the region, (B, T, 17, 2): its borders are at -0.5 and 0.5."""
    seen = batch.seen
    points = batch.true_rays * seen.camera[..., None, :2] + seen.camera[..., None, 2:]
    return (points - seen.box[..., None, :2]) / seen.box[..., None, 2:]


def heatmap_loss(maps: Tensor, points: Tensor) -> Tensor:
    """Cross-entropy of the logits ``maps`` (N, 17, 16, 16) with the ``points`` (N, 17, 2) of `region_coordinates`.

    A point is distributed bilinearly over the four cells around it. Points outside the region do not count.
    """
    inside = (points.abs() < 0.5).all(-1)
    place = ((points + 0.5) * HEAT - 0.5).clamp(0, HEAT - 1)
    low = place.floor().clamp_max(HEAT - 2)
    column, row = low.long().unbind(-1)
    right, down = (place - low).unbind(-1)
    likely = maps.flatten(2).log_softmax(-1)
    total = torch.zeros_like(right)
    for below in (0, 1):
        for beside in (0, 1):
            weight = (right if beside else 1 - right) * (down if below else 1 - down)
            cell = (row + below) * HEAT + column + beside
            total = total + weight * likely.gather(-1, cell[..., None])[..., 0]
    return -(total * inside).sum() / inside.sum().clamp_min(1)


def new_encoder(name: str, width: int) -> FieldEncoder:
    """An untrained encoder: ``image``, or ``flow_`` and the camera compensation's name (see `encoders_of`)."""
    return ResidualImageEncoder(width) if name == "image" else ResidualFlowEncoder(width, name.removeprefix("flow_"))


def encoders_of(config: LifterConfig) -> dict[str, str]:
    """Encoders that a network needs: names for `new_encoder` by the names of its modules."""
    parts = {"image_encoder": "image"} if config.image else {}
    return parts | ({"flow_encoder": f"flow_{config.compensation}"} if config.flow else {})


def _read(encoder: FieldEncoder, seen: Observation) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors (B T, width), maps (B T, 17, 16, 16) and camera motion (B T, 2) that ``encoder`` computes."""
    if isinstance(encoder, ResidualFlowEncoder):
        field, behind = encoder.reader_input(seen.flow.flatten(0, 1), seen.flow_valid.flatten(), seen.dt.flatten())
        return *encoder.reader(field), behind
    assert seen.image is not None
    image = encoder.reader_input(seen.image.flatten(0, 1))
    return *encoder.reader(image), image.new_zeros(len(image), 2)


def _for(encoder: FieldEncoder, windows: Windows) -> Windows:
    """``windows`` without pixels where the encoder does not read them."""
    return windows if isinstance(encoder, ResidualImageEncoder) else windows.without("rgb")


def train_encoder(
    name: str, width: int, seed: int, frames: Windows, schedule: Schedule, bfloat16: bool = False
) -> FieldEncoder:
    """Train an encoder to locate keypoints and joints on single ``frames`` (windows of T = 1); its convolutions in bfloat16
    where wanted."""
    torch.manual_seed(seed)
    encoder = new_encoder(name, width).train()
    if bfloat16:
        encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    frames = _for(encoder, frames)
    head = nn.Sequential(nn.GELU(), nn.Linear(width, JOINTS * 3))
    parameters = [*encoder.parameters(), *head.parameters()]
    optimizer, pace = _optimizer(parameters, schedule.encoder_rate, schedule.encoder_steps)
    order = np.random.default_rng(seed)
    for step in range(1, schedule.encoder_steps + 1):
        batch = make_batch(frames, order.integers(0, len(frames), schedule.encoder_batch))
        batch = mirror_batch(batch) if order.random() < 0.5 else batch
        if batch.seen.image is not None:
            batch = replace(batch, seen=replace(batch.seen, image=jitter_colours(batch.seen.image)))
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            vectors, maps, _ = _read(encoder, batch.seen)
        vectors, maps = vectors.float(), maps.float()
        found = heatmap_loss(maps, region_coordinates(batch).flatten(0, 1))
        off = (head(vectors).reshape(-1, JOINTS, 3) - batch.joints.flatten(0, 1)).norm(dim=-1).mean()
        _descend(found + _JOINTS * off, parameters, optimizer)
        pace.step()
        if step % 250 == 0:
            print(
                f"{name} encoder, seed {seed}: step {step}/{schedule.encoder_steps}, cross-entropy of keypoints "
                f"{float(found.detach()):.2f}, joints off by {float(off.detach()) * 1000:.0f} mm",
                flush=True,
            )
    standardise(encoder.eval(), frames)
    return encoder


@torch.no_grad()
def standardise(encoder: FieldEncoder, frames: Windows) -> None:
    """Give an encoder's vectors zero mean and the standard deviation `_SIZE`.

    Otherwise they dominate the other inputs of a regressor: every step of its optimiser moves the mean along with the
    rest.
    """
    rows = np.arange(0, len(frames), max(len(frames) // 1024, 1))
    vectors, _, _ = _read(encoder, make_batch(frames, rows).seen)
    mean, deviation = vectors.mean(0), vectors.std(0).clamp_min(1e-3)
    out = encoder.reader.out
    out.weight.mul_(_SIZE / deviation[:, None])
    out.bias.sub_(mean).mul_(_SIZE / deviation)


def _optimizer(
    parameters: list[nn.Parameter], rate: float, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    optimizer = torch.optim.AdamW(parameters, rate, weight_decay=0.02)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=max(steps, 20), pct_start=0.1)


def _descend(loss: Tensor, parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()


@dataclass(frozen=True, slots=True)
class EncodedFields:
    """Encodings of N windows of T frames, first as they are, then mirrored."""

    vectors: Tensor
    """(2, N, T, width) float32, encoded fields."""
    behind: Tensor
    """(2, N, T, 2) float32, estimated motion of the camera."""

    def frames(self, every: int) -> EncodedFields:
        """Every ``every``-th frame, as `Windows.frames`."""
        return EncodedFields(*(part[:, :, ::every].flatten(1, 2)[:, :, None] for part in (self.vectors, self.behind)))


@torch.no_grad()
def encode_windows(encoder: FieldEncoder, windows: Windows, seed: int) -> EncodedFields:
    """Encode all ``windows`` once, each with its own colour jitter."""
    torch.manual_seed(seed)
    windows = _for(encoder, windows)
    sides: tuple[list[tuple[Tensor, Tensor]], ...] = ([], [])
    for start in range(0, len(windows), _AT_ONCE):
        batch = make_batch(windows, np.arange(start, min(start + _AT_ONCE, len(windows))))
        for side, kept in zip((batch, mirror_batch(batch)), sides, strict=True):
            seen = side.seen if side.seen.image is None else replace(side.seen, image=jitter_colours(side.seen.image))
            vectors, _, behind = _read(encoder, seen)
            kept.append((vectors.reshape(*seen.dt.shape, -1), behind.reshape(*seen.dt.shape, 2)))
    vectors, behind = (torch.stack([torch.cat([pair[i] for pair in kept]) for kept in sides]) for i in (0, 1))
    return EncodedFields(vectors, behind)


@dataclass(frozen=True, slots=True)
class EncodedWindows:
    """Training windows with what the frozen encoders make of them."""

    windows: Windows
    """The windows."""
    encoded: Mapping[str, EncodedFields]
    """Their encodings, by the encoder's name."""

    def frames(self, every: int) -> EncodedWindows:
        """Every ``every``-th frame, as `Windows.frames`."""
        return EncodedWindows(
            self.windows.frames(every), {name: encoded.frames(every) for name, encoded in self.encoded.items()}
        )


class _CachedEncoder(nn.Module):
    """Replaces an encoder: returns the encodings computed before for the same frames."""

    def __init__(self) -> None:
        super().__init__()
        self.answer: Any = None

    def forward(self, *_seen: Tensor) -> Any:
        return self.answer


def train_regressor(
    config: LifterConfig,
    seed: int,
    encoders: Mapping[str, FieldEncoder],
    people: EncodedWindows,
    schedule: Schedule,
    name: str = "",
) -> Lifter:
    """Train one network on single frames of ``people``, then on their windows, with frozen ``encoders``.

    The encoders must have been trained on other people, since they describe their training data better than new data.
    The order of the data is a function of the seed alone: every variant gets the same data at the same step.
    """
    torch.manual_seed(seed)
    network = Lifter(config).train()
    parts = encoders_of(config)
    cached = {part: _CachedEncoder() for part in parts}
    for part, cache in cached.items():
        network.add_module(part, cache)
    body, parameters = TorchBody(load_body()), list(network.parameters())
    order = np.random.default_rng(seed)
    stages: tuple[tuple[EncodedWindows, int, int, float, bool], ...] = (
        (people.frames(_EVERY), schedule.frame_steps, schedule.frame_batch, schedule.rate, True),
        (people, schedule.window_steps, schedule.window_batch, schedule.rate / 2, False),
    )
    for shown, steps, size, rate, alone in stages:
        optimizer, pace = _optimizer(parameters, rate, steps)
        for step in range(1, steps + 1):
            rows = order.integers(0, len(shown.windows), size)
            side = int(order.random() < 0.5)
            batch = make_batch(shown.windows, rows)
            batch = mirror_batch(batch) if side else batch
            for part, cache in cached.items():
                encoded = shown.encoded[parts[part]]
                vectors, behind = encoded.vectors[side, rows].flatten(0, 1), encoded.behind[side, rows].flatten(0, 1)
                cache.answer = (vectors, behind) if part == "flow_encoder" else vectors
            # The cached encoder ignores its input, but the network requires an image.
            seen = replace(batch.seen, image=torch.zeros(*batch.seen.dt.shape, 1)) if config.image else batch.seen
            lifted = network(seen, network.start_state(size), alone=alone)
            joints, coco = body.skeleton(lifted.rotations, lifted.betas)
            loss, terms = regression_loss(lifted, joints, coco, batch, _WEIGHTS)
            _descend(loss, parameters, optimizer)
            pace.step()
            if step % 250 == 0:
                print(
                    f"{name}, seed {seed}: {'frames' if alone else 'windows'}, step {step}/{steps}, "
                    f"joints off by {terms['joints'] * 1000:.0f} mm",
                    flush=True,
                )
    for part, encoder in parts.items():
        network.add_module(part, encoders[encoder])
    return network.eval()
