"""The flow of moving people as the network gets it, made while training runs: a coarse grid over the person's region.

The live program computes dense flow of a 128² crop and hands the network the means of 32 x 32 cells. At that resolution a
body of a few hundred triangles is as good as the full one, and thousands of exact fields are drawn in a second. The
real flow engine's errors are added by `training.simulation.flow_noise`.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import torch
from numba import njit
from torch import Tensor

from body.fitting.decimate import Decimator
from body.joints import PARENTS
from body.kernels import kinematics, skin
from body.model import load_body
from common.arrays import FloatArray, Int32Array, Int64Array
from training.simulation.raster import background_flow, fill_triangles, project_vertices, surface_flow

CELLS: Final = 32
"""Cells along each side of the grid."""
_FACES: Final = 860


@cache
def _coarse() -> tuple[Int64Array, Int32Array]:
    """The vertices of the smaller body that are left, and the faces between them. Takes some seconds once a process."""
    arrays = load_body("body_1722")
    free, alike = np.zeros(arrays.vertex_count, bool), np.ones(arrays.vertex_count)
    corners, triangles = arrays.v_template.astype(np.float64), arrays.faces.astype(np.int64)
    decimator = Decimator(corners, triangles, free, free, alike)
    kept, faces = np.unique(decimator.run(_FACES), return_inverse=True)
    return kept, np.ascontiguousarray(faces.reshape(-1, 3), np.int32)


class FlowGrid:
    """Draws the exact flow of bodies between neighbouring frames. One thread."""

    def __init__(self) -> None:
        arrays = load_body("body_1722")
        kept, self.faces = _coarse()
        self.limit: Final = arrays.beta_limit
        self._template: Final = arrays.v_template[kept]
        self._directions: Final = arrays.shapedirs[kept]
        regressor = arrays.joint_regressor.astype(np.float64)
        self._rest: Final = (regressor @ arrays.v_template).astype(np.float32)
        self._rest_directions: Final = np.einsum("jv,vab->jab", regressor, arrays.shapedirs).astype(np.float32)
        weights = arrays.weights[kept]
        self._bones: Final = np.ascontiguousarray(np.argsort(-weights, 1, kind="stable")[:, :4], np.int32)
        self._weights: Final = np.ascontiguousarray(np.take_along_axis(weights, self._bones, 1))
        self._parents: Final = np.array(PARENTS, np.int32)

    @torch.no_grad()
    def __call__(
        self,
        rotations: Tensor,
        betas: Tensor,
        pelvis: Tensor,
        turns: Tensor,
        focal: Tensor,
        centre: Tensor,
        boxes: Tensor,
        size: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Flow from frame t - 1 to frame t inside ``boxes[:, t]``.

        Args:
            rotations: (B, T, 24, 3, 3) local, the first one to the camera frame.
            betas: (B, 10).
            pelvis: (B, T, 3) in the camera frame, m.
            turns: (B, T, 3, 3) world to camera, for the background.
            focal: (B,) px.
            centre: (B, 2) px.
            boxes: (B, T, 3) centre x, y and side of the region that both frames are cut with, px.
            size: (B, 2) width and height of the frame, px.

        Returns:
            flow (B, T, 32, 32, 2) in sides of the box, zero for t = 0; where the body is in frame t - 1, and where the
            frame is, (B, T, 32, 32), 1 or 0.
        """
        shape = betas.clamp(-self.limit, self.limit).numpy()
        shaped = (self._template + np.einsum("vab,nb->nva", self._directions, shape)).astype(np.float32)
        rest = (self._rest + np.einsum("jab,nb->nja", self._rest_directions, shape)).astype(np.float32)
        batch, length = pelvis.shape[:2]
        relative = torch.eye(3).expand(batch, length, 3, 3).clone()
        relative[:, 1:] = turns[:, 1:] @ turns[:, :-1].transpose(-1, -2)
        flow = np.zeros((batch, length, CELLS, CELLS, 2), np.float32)
        seen = np.zeros((batch, length, CELLS, CELLS), np.float32)
        _draw(
            rotations.contiguous().numpy(),
            pelvis.contiguous().numpy(),
            rest,
            shaped,
            self._parents,
            self._bones,
            self._weights,
            self.faces,
            relative.numpy(),
            focal.contiguous().numpy(),
            centre.contiguous().numpy(),
            boxes.contiguous().numpy(),
            flow,
            seen,
        )
        cell = ((torch.arange(CELLS) + 0.5) / CELLS - 0.5) * boxes[..., 2:]
        inside = [
            (boxes[..., axis, None] + cell > -0.5) & (boxes[..., axis, None] + cell < size[:, axis, None, None] - 0.5)
            for axis in (0, 1)
        ]
        there = (inside[1][..., :, None] & inside[0][..., None, :]).float()
        return torch.from_numpy(flow), torch.from_numpy(seen) * there, there


@njit(cache=True, nogil=True, error_model="numpy")
def _draw(
    rotations: FloatArray,
    pelvis: FloatArray,
    rest: FloatArray,
    shaped: FloatArray,
    parents: Int32Array,
    bones: Int32Array,
    weights: FloatArray,
    faces: Int32Array,
    turns: FloatArray,
    focal: FloatArray,
    centre: FloatArray,
    boxes: FloatArray,
    flow: FloatArray,
    seen: FloatArray,
) -> None:
    vertices = np.empty((2, shaped.shape[1], 3), np.float32)
    points = np.empty((shaped.shape[1], 3), np.float32)
    frames = np.empty((24, 3, 4), np.float32)
    # No pose correctives: they move the skin by millimetres, a small part of a cell.
    none = np.zeros(shaped.shape[1] + 1, np.int32)
    columns, values, feature = np.zeros(0, np.int32), np.zeros((0, 3), np.float32), np.zeros(207, np.float32)
    depth = np.empty((flow.shape[2], flow.shape[3]), np.float32)
    ids = np.empty((flow.shape[2], flow.shape[3]), np.int32)
    cells = np.float32(flow.shape[2])
    for b in range(flow.shape[0]):
        for t in range(flow.shape[1]):
            now, before = vertices[t % 2], vertices[(t + 1) % 2]
            kinematics(rotations[b, t], rest[b], parents, pelvis[b, t], frames)
            skin(shaped[b], rest[b], frames, feature, none, columns, values, bones, weights, now)
            if t == 0:
                continue
            # Pixels of the frame become cells of the box.
            scale = cells / boxes[b, t, 2]
            f = focal[b] * scale
            cx = (centre[b, 0] - boxes[b, t, 0]) * scale + (cells - 1) / 2
            cy = (centre[b, 1] - boxes[b, t, 1]) * scale + (cells - 1) / 2
            field = flow[b, t]
            background_flow(turns[b, t], f, f, cx, cy, field)
            depth[:] = np.float32(0)
            ids[:] = -1
            project_vertices(before, f, f, cx, cy, points)
            fill_triangles(points, faces, 0, depth, ids)
            surface_flow(points, faces, now, ids, 0, f, f, cx, cy, field)
            for y in range(ids.shape[0]):
                for x in range(ids.shape[1]):
                    field[y, x, 0] /= cells
                    field[y, x, 1] /= cells
                    seen[b, t, y, x] = np.float32(ids[y, x] >= 0)
