"""The networks between a camera and a mesh, and running them all on a video with engines of one's own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from body.lbs_onnx import body_to_onnx
from body.model import load_body
from common.arrays import AnyArray, FloatArray, Int64Array
from engines.engine import Arrays, Engine
from engines.manifest import resolve, shipped_models
from engines.ort import OnnxRuntimeEngine
from export.body_graph import sample_poses
from export.conversion.network import PipelineNetwork
from realtime.networks import FLOW_MODELS, KEYPOINT_MODELS, EngineOpener
from realtime.options import FlowMethod, Options
from realtime.session import Session
from realtime.sources import open_source
from realtime.stages.tracking.detection import PersonDetector, search_regions

BODY = "body"
CLIP = Path(__file__).resolve().parent.parent / "assets" / "synthetic_walk.mp4"
"""A rendered person walking: what is measured and calibrated with where no other video is named."""

_KINDS = ("detector", "keypoints", "flow", "regressor")
_MAX_SAMPLES = 24


def load_networks(names: list[str] | None = None, body: Path | None = None) -> dict[str, PipelineNetwork]:
    """The networks of the pipeline by name, or those that are named.

    ``body`` is the body whose graph is made, as in ``run_camera.py --body``. Raises `engines.engine.EngineError` for an
    unknown name and `body.errors.BodyError`.
    """
    if names is None:
        names = [model.name for model in shipped_models().values() if model.kind in _KINDS]
        names.append(BODY)
    found = {}
    for name in names:
        if name == BODY:
            found[name] = PipelineNetwork(BODY, "body", body_to_onnx(load_body(body)))
        else:
            model = resolve(name)
            found[model.name] = PipelineNetwork(model.name, model.kind or "regressor", model.read(), name)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class PipelineOutput:
    """What the pipeline found in N frames, one row each; NaN where nobody was found."""

    frames: Int64Array
    """(N,) their numbers in the source."""
    keypoints: FloatArray
    """(N, 17, 2) COCO order, image pixels."""
    confidence: FloatArray
    """(N, 17) confidences of the keypoints, 0..1."""
    joints: FloatArray
    """(N, 24, 3) SMPL order, metres, camera frame."""

    def rows(self, frames: Int64Array) -> PipelineOutput:
        """The rows of some ``frames``."""
        chosen = np.isin(self.frames, frames)
        return PipelineOutput(self.frames[chosen], self.keypoints[chosen], self.confidence[chosen], self.joints[chosen])


def run_pipeline(options: Options, opener: EngineOpener) -> PipelineOutput:
    """Run the live program with the engines that ``opener`` gives for model names or files."""
    with tempfile.TemporaryDirectory() as folder:
        path = options.save[0] if options.save else Path(folder, "motion.npz")
        Session(replace(options, save=(path,), view="none"), opener=opener).run()
        with np.load(path, allow_pickle=False) as motion:
            return PipelineOutput(
                motion["frame"], motion["keypoints_px"], motion["keypoint_confidence"], motion["joints_m"]
            )


class Recorder(Engine):
    """Passes everything on to ``engine`` and keeps a copy of some inputs, spread evenly over the run."""

    def __init__(self, engine: Engine, samples: list[Arrays], max_samples: int = _MAX_SAMPLES) -> None:
        """Record what goes into ``engine``."""
        self._engine, self._samples, self._max_samples = engine, samples, max_samples
        self._seen, self._every = 0, 1
        self.runtime, self.device = engine.runtime, engine.device
        self.inputs, self.outputs = engine.inputs, engine.outputs

    def infer(self, feeds: Arrays) -> dict[str, AnyArray]:
        """See `engines.engine.Engine.infer`."""
        if self._seen % self._every == 0:
            if len(self._samples) == self._max_samples:
                del self._samples[1::2]
                self._every *= 2
            if self._seen % self._every == 0:
                self._samples.append({name: array.copy() for name, array in feeds.items()})
        self._seen += 1
        return self._engine.infer(feeds)

    def warm_up(self) -> None:
        """Warm the engine up; its inputs then are no samples."""
        self._engine.warm_up()

    def close(self) -> None:
        """See `engines.engine.Engine.close`."""
        self._engine.close()


def record_samples(networks: Mapping[str, PipelineNetwork], video: Path, frames: int) -> dict[str, list[Arrays]]:
    """Inputs that each of ``networks`` sees while the pipeline runs over a video: for calibration and comparison.

    Only real inputs are recorded, each network's in one run: a network that the pipeline does not use gets no samples. The
    body's are random poses.
    """
    samples: dict[str, list[Arrays]] = {name: [] for name in networks}
    speeds = [speed for speed, model in KEYPOINT_MODELS.items() if model in networks] or ["fast"]
    pairs = _regressors_and_flows(networks)
    for place in range(max(len(speeds), len(pairs))):
        regressor, flow = pairs[min(place, len(pairs) - 1)]
        options = Options(
            source=str(video),
            keypoints=speeds[min(place, len(speeds) - 1)],
            regressor=regressor,
            frames=frames,
            flow=flow,
            quality="live",
            persons=1,
        )
        missing = {name: rows for name, rows in samples.items() if not rows}

        def opener(model: str | Path, missing: Mapping[str, list[Arrays]] = missing) -> Engine:
            file = resolve(model)
            engine: Engine = OnnxRuntimeEngine(file.read(), label=file.name)
            return Recorder(engine, missing[file.name]) if file.name in missing else engine

        run_pipeline(options, opener)
    for network in networks.values():
        if network.kind == "detector":  # the pipeline searches for people once and then tracks them
            samples[network.name] = _search(network, video, frames)
        elif network.kind == "body":
            poses = [sample_poses(1, seed) for seed in range(_MAX_SAMPLES)]
            samples[network.name] = [{key: pose[key] for key in pose if key != "pose"} for pose in poses]
    return samples


def _regressors_and_flows(networks: Mapping[str, PipelineNetwork]) -> list[tuple[str, FlowMethod]]:
    """Runs in which each regressor and each flow network among ``networks`` is used: flow is computed only for a regressor that
    reads it."""
    regressors = [network for network in networks.values() if network.kind == "regressor"]
    flows = [method for method, model in FLOW_MODELS.items() if model in networks]
    readers = [network.model for network in regressors if "flow" in _inputs(network)]
    reader = readers[0] if readers else Options().regressor
    pairs: list[tuple[str, FlowMethod]] = [(reader, flow) for flow in flows]
    pairs += [(network.model, "auto") for network in regressors if not flows or network.model != reader]
    return pairs or [(Options().regressor, "auto")]


def _inputs(network: PipelineNetwork) -> set[str]:
    return {tensor.name for tensor in onnx.load_from_string(network.data).graph.input}


def _search(network: PipelineNetwork, video: Path, frames: int) -> list[Arrays]:
    """What the detector sees when it searches every tile of some frames."""
    samples: list[Arrays] = []
    with (
        Recorder(OnnxRuntimeEngine(network.data, label=network.name), samples) as engine,
        open_source(str(video)) as source,
    ):
        detector = PersonDetector(engine)
        width, height = source.size
        image = np.empty((height, width, 3), np.uint8)
        for number in range(frames):
            if source.read_into(image) is None:
                break
            if number % 8 == 0:
                for region in search_regions(width, height):
                    detector(image, region)
    return samples
