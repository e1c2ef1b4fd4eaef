"""Posing one person's body without torch: linear blend skinning with pose correctives (Loper et al. 2015)."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from body.joints import JOINT_NAMES, PARENTS
from body.kernels import articulate, blend_shape, skin
from body.model import BodyArrays
from body.packed import BETAS
from common.arrays import FloatArray

DENSE_FROM: Final = 0.3
"""Correctives with more than this share of non-zero entries (SMPL: all) use one dense matrix-vector product.

It is faster there than the sparse loop.
"""


class PosedBody(NamedTuple):
    """A posed body, metres."""

    vertices: FloatArray
    """float32 (V, 3)."""
    joints: FloatArray
    """float32 (24, 3), SMPL order."""
    keypoints: FloatArray
    """float32 (17, 3), COCO order."""


class NumpyBody:
    """One body model, posed for one person a frame. NOT thread-safe: it owns scratch buffers; give each thread its own.

    ``transl`` is the position of the PELVIS JOINT in the camera frame wherever ``pelvis=True`` (the default, and this
    project's convention). SMPL's own ``transl`` is something else, the shift of the model's origin; pass
    ``pelvis=False`` to use it. The two differ by ``rest_pelvis``.
    """

    def __init__(self, arrays: BodyArrays) -> None:
        """Prepare the tables and compile the kernels."""
        self.arrays: Final = arrays
        self._parents: Final = np.array(PARENTS, np.int32)
        count = arrays.vertex_count
        used = max(int((arrays.weights > 0).sum(1).max()), 1)
        # 24 joints and 207 pose features are numbered in bytes: posing takes as long as reading its tables.
        bones = np.argsort(-arrays.weights, axis=1, kind="stable")[:, :used]
        self._bones: Final = bones.astype(np.uint8)
        self._bone_weights: Final = np.take_along_axis(arrays.weights, bones, 1).astype(np.float32)
        touched = (arrays.posedirs != 0).any(1)
        self._dense: Final[FloatArray | None] = (
            arrays.posedirs.reshape(count * 3, -1).copy() if touched.mean() > DENSE_FROM else None
        )
        if self._dense is not None:
            touched = np.zeros_like(touched)
        vertex, column = np.nonzero(touched)
        self._starts: Final = np.searchsorted(vertex, np.arange(count + 1)).astype(np.int32)
        self._columns: Final = column.astype(np.uint8)
        self._values: Final = np.ascontiguousarray(arrays.posedirs[vertex, :, column], np.float32)
        self._template: Final = np.ascontiguousarray(arrays.v_template.reshape(-1), np.float32)
        self._directions: Final = np.ascontiguousarray(arrays.shapedirs.reshape(count * 3, -1).T, np.float32)
        self._rest_joints: Final = arrays.at_rest(arrays.joint_regressor)
        row, self._coco_vertex = np.nonzero(arrays.coco_regressor)
        self._coco_weight: Final = arrays.coco_regressor[row, self._coco_vertex][:, None]
        self._coco_start: Final = np.searchsorted(row, np.arange(len(arrays.coco_regressor)))
        self._pose: Final = np.zeros((len(JOINT_NAMES), 3), np.float32)
        self._frames: Final = np.zeros((len(JOINT_NAMES), 3, 4), np.float32)
        self._feature: Final = np.zeros(arrays.posedirs.shape[2], np.float32)
        self._betas: FloatArray | None = None
        self._shaped = np.zeros((count, 3), np.float32)
        self._rest = np.zeros((len(JOINT_NAMES), 3), np.float32)
        self.set_shape(np.zeros(BETAS))
        self.pose(np.zeros(3), np.zeros((23, 3)), np.zeros(3))  # compiles now instead of in the first frame

    @property
    def rest_pelvis(self) -> FloatArray:
        """Pelvis joint of the current shape's rest body, (3,) float32, metres."""
        return np.array(self._rest[0])

    @property
    def betas(self) -> FloatArray:
        """The current shape after clamping, (10,) float32."""
        assert self._betas is not None
        return self._betas.copy()

    def set_shape(self, betas: ArrayLike) -> None:
        """Use ``betas`` (10,), clamped to ``arrays.beta_limit``, for all later calls. Free when they are unchanged.

        Raises:
            ValueError: There are not ten betas.
        """
        wanted = self.arrays.clamp_betas(np.asarray(betas, np.float32))
        if wanted.shape != (BETAS,):
            raise ValueError(f"betas must have shape ({BETAS},), got {wanted.shape}")
        if self._betas is not None and np.array_equal(wanted, self._betas):
            return
        self._betas = wanted
        blend_shape(self._template, self._directions, wanted, self._shaped.reshape(-1))
        self._rest = (self._rest_joints @ np.append(1.0, wanted)).astype(np.float32)

    def pose(
        self,
        global_orient: ArrayLike,
        body_pose: ArrayLike,
        transl: ArrayLike,
        out: tuple[FloatArray, FloatArray] | None = None,
        *,
        pelvis: bool = True,
    ) -> tuple[FloatArray, FloatArray]:
        """Pose the current shape.

        Args:
            global_orient: (3,) axis-angle, radians.
            body_pose: (23, 3) axis-angle, radians.
            transl: (3,) metres, see the class.
            out: Two C-contiguous float32 arrays to fill, (V, 3) and (24, 3). Without it both are new, so they may be
                kept or handed to another thread.
            pelvis: Whether ``transl`` is the position of the pelvis joint.

        Returns:
            Vertices (V, 3) and joints (24, 3), float32, metres, camera frame.

        Raises:
            ValueError: An argument has the wrong shape.
        """
        count = self.arrays.vertex_count
        if out is None:
            out = np.empty((count, 3), np.float32), np.empty((len(JOINT_NAMES), 3), np.float32)
        vertices, joints = out
        if vertices.shape != (count, 3) or vertices.dtype != np.float32 or not vertices.flags.c_contiguous:
            raise ValueError(f"out[0] must be C-contiguous float32 ({count}, 3), got {vertices.dtype} {vertices.shape}")
        self._walk(global_orient, body_pose, transl, pelvis)
        shaped = self._shaped
        if self._dense is not None:
            shaped = shaped + (self._dense @ self._feature).reshape(count, 3)
        skin(
            shaped,
            self._rest,
            self._frames,
            self._feature,
            self._starts,
            self._columns,
            self._values,
            self._bones,
            self._bone_weights,
            vertices,
        )
        joints[...] = self._frames[:, :, 3]
        return vertices, joints

    def pose_all(self, betas: FloatArray, poses: FloatArray) -> list[PosedBody]:
        """Bodies of shapes ``betas`` (N, 10) in ``poses`` (N, 24, 3) axis-angle, each with its pelvis joint at the origin."""
        found, origin = [], np.zeros(3, np.float32)
        for shape, pose in zip(betas, poses, strict=True):
            self.set_shape(shape)
            vertices, joints = self.pose(pose[0], pose[1:], origin)
            found.append(PosedBody(vertices, joints, self.coco(vertices)))
        return found

    def joints_only(
        self, global_orient: ArrayLike, body_pose: ArrayLike, transl: ArrayLike, *, pelvis: bool = True
    ) -> FloatArray:
        """The joints (24, 3) that ``pose`` would give, without skinning: some ten microseconds."""
        self._walk(global_orient, body_pose, transl, pelvis)
        return self._frames[:, :, 3].copy()

    def coco(self, vertices: FloatArray) -> FloatArray:
        """COCO-17 keypoints (17, 3) of posed ``vertices`` (V, 3), in their frame."""
        weighted = vertices[self._coco_vertex] * self._coco_weight
        keypoints: FloatArray = np.add.reduceat(weighted, self._coco_start, axis=0)
        return keypoints

    def _walk(self, global_orient: ArrayLike, body_pose: ArrayLike, transl: ArrayLike, pelvis: bool) -> None:
        self._pose[0] = global_orient
        self._pose[1:] = np.asarray(body_pose, np.float32).reshape(23, 3)
        root = np.array(transl, np.float32)
        if root.shape != (3,):
            raise ValueError(f"transl must have shape (3,), got {root.shape}")
        if not pelvis:
            root += self._rest[0]
        articulate(self._pose, self._rest, self._parents, root, self._feature, self._frames)
