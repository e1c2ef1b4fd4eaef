"""The body as an ONNX graph, so that a GPU can pose it and only the results leave the device.

Values, frames and the meaning of the translation are those of `body.lbs.NumpyBody`. The graph has a dynamic number of
people, no control flow, and only operators that every runtime supports.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from body.joints import ANCESTORS, COCO_NAMES, JOINTS, PARENTS
from body.model import BodyArrays
from body.onnx_graph import GraphBuilder
from body.packed import BETAS, POSE_FEATURES
from common.arrays import DoubleArray

BODY_OUTPUTS: Final = ("vertices", "joints", "keypoints")


def body_to_onnx(arrays: BodyArrays) -> bytes:
    """The serialised graph of a body of V vertices, for N people at a time.

    Inputs, all float32: betas (N, 10), clamped to the body's limit; rotations (N, 24, 3, 3) local, root included;
    translation (N, 3) of the pelvis joint, m. Outputs, m, in the camera frame: vertices (N, V, 3), joints (N, 24, 3)
    and COCO keypoints (N, 17, 3). The same body gives the same bytes.
    """
    graph = GraphBuilder()
    betas = "betas"
    if np.isfinite(arrays.beta_limit):
        limit = np.float32(arrays.beta_limit)
        betas = graph("Clip", betas, graph.weight(-limit), graph.weight(limit))
    joints = arrays.at_rest(arrays.joint_regressor)
    rest = graph(
        "Gemm", betas, graph.weight(joints[..., 1:].reshape(-1, BETAS).T), graph.weight(joints[..., 0].ravel())
    )
    rest = graph("Reshape", rest, graph.shape(-1, JOINTS, 3, 1))
    frames = graph.part(_walk(graph, betas, joints), 2, 0, 3)
    turns, places = graph.part(frames, 3, 0, 3), graph.part(frames, 3, 3, 4)

    # A rest vertex is linear in the betas and in each joint's rotation minus the identity.
    eye = np.eye(3, dtype=np.float32)
    bent = graph("Sub", graph.part("rotations", 1, 1, JOINTS), graph.weight(eye))
    feature = graph("Concat", betas, graph("Reshape", bent, graph.shape(-1, POSE_FEATURES)), axis=1)
    moves = np.concatenate([arrays.shapedirs, arrays.posedirs], 2).reshape(-1, BETAS + POSE_FEATURES).T
    shaped = graph("Gemm", feature, graph.weight(moves), graph.weight(arrays.v_template.ravel()))

    # Skinning blends each joint's rigid motion from the rest body: p ↦ turn · (p - rest) + place.
    shifts = graph("Sub", places, graph("MatMul", turns, rest))
    motions = graph("Reshape", graph("Concat", turns, shifts, axis=3), graph.shape(-1, JOINTS, 12))
    blend = graph("MatMul", graph.weight(arrays.weights), motions)
    blend = graph("Reshape", blend, graph.shape(-1, arrays.vertex_count, 3, 4))
    point = graph("Reshape", shaped, graph.shape(-1, arrays.vertex_count, 1, 3))
    turned = graph("ReduceSum", graph("Mul", graph.part(blend, 3, 0, 3), point), graph.shape(3), keepdims=0)
    skin = graph("Add", turned, graph("Squeeze", graph.part(blend, 3, 3, 4), graph.shape(3)))

    root = graph("Reshape", "translation", graph.shape(-1, 1, 3))
    graph("Add", skin, root, into="vertices")
    graph("Add", graph("Squeeze", places, graph.shape(3)), root, into="joints")
    graph("Add", graph("MatMul", graph.weight(arrays.coco_regressor), skin), root, into="keypoints")
    return graph.model(
        {"betas": (BETAS,), "rotations": (JOINTS, 3, 3), "translation": (3,)},
        {"vertices": (arrays.vertex_count, 3), "joints": (JOINTS, 3), "keypoints": (len(COCO_NAMES), 3)},
    )


def _walk(graph: GraphBuilder, betas: str, joints: DoubleArray) -> str:
    """Frame (N, 24, 4, 4) of every joint relative to the pelvis' position, from the rest ``joints`` (24, 3, 11)."""
    above = [0, *PARENTS[1:]]  # the pelvis' bone has no length
    change = joints - joints[above]
    # Two more columns, independent of the betas, hold the constants 0 and 1 of the frames.
    bones = np.append(change[..., 0].ravel(), [0, 1])
    growth = np.concatenate([change[..., 1:].reshape(-1, BETAS), np.zeros((2, BETAS))])
    entries = graph(
        "Concat",
        graph("Reshape", "rotations", graph.shape(-1, JOINTS * 9)),
        graph("Gemm", betas, graph.weight(growth.T), graph.weight(bones)),
        axis=1,
    )
    zero, one = JOINTS * 12, JOINTS * 12 + 1
    layout = np.full((JOINTS + 1, 4, 4), zero)
    layout[:, range(4), range(4)] = one
    layout[:JOINTS, :3, :3] = np.arange(JOINTS * 9).reshape(-1, 3, 3)
    layout[:JOINTS, :3, 3] = np.arange(JOINTS * 9, JOINTS * 12).reshape(-1, 3)
    frames = graph("Gather", entries, graph.shape(*layout.ravel()), axis=1)
    frames = graph("Reshape", frames, graph.shape(-1, JOINTS + 1, 4, 4))
    for ancestors in ANCESTORS:
        frames = graph("MatMul", graph("Gather", frames, graph.shape(*ancestors), axis=1), frames)
    return graph.part(frames, 1, 0, JOINTS)
