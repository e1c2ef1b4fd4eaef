"""The networks of one run: opened by what the user chose, made into stages, closed together."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from body.conversion import BodyConversion
from body.lbs import NumpyBody
from body.model import BodyArrays, load_body
from body.stature import BodyScale, Stature
from engines.device_array import DeviceArray
from engines.engine import Arrays, Engine, EngineError
from engines.finite import FiniteEngine
from engines.manifest import resolve
from engines.plans import PlanPolicy
from engines.registry import announce_builds, open_engine, why_no_tensorrt
from engines.trial import try_model
from realtime.options import MAX_PERSONS, FlowMethod, KeypointModel, Options
from realtime.quality import keypoint_model, look_ahead_frames
from realtime.stages.flow.choice import FlowTrial, median_ms
from realtime.stages.flow.crop_flow import CropFlow, DisFlow, RaftFlow
from realtime.stages.flow.raft_engine import open_raft
from realtime.stages.keypoints.movenet import MoveNet
from realtime.stages.keypoints.parity import fits_bf16
from realtime.stages.regressor.body_regressor import BodyRegressor
from realtime.stages.regressor.engine_body import Poser, open_engine_body
from realtime.stages.regressor.engine_regressor import PosingRegressor, open_posing_regressor
from realtime.stages.regressor.ensemble import MemoryEnsemble
from realtime.stages.tracking.detection import PersonDetector
from realtime.stages.tracking.finder import FinderThread
from realtime.stages.tracking.tracker import Tracker

_LOG = logging.getLogger(__name__)

KEYPOINT_MODELS: Final[dict[KeypointModel, str]] = {"fast": "movenet-lightning", "accurate": "movenet-thunder"}
DETECTOR: Final = "movenet-multipose"
FLOW_MODELS: Final[dict[FlowMethod, str]] = {"raft": "raft-small", "raft-256": "raft-small-256"}
"""From the most accurate to the fastest."""

_NOBODY: Final = -100.0
"""Replaces outputs of a detector that are not finite: as a logit it is a score of zero."""

EngineOpener = Callable[[str | Path], Engine]
"""Opens the engine of a shipped model's name or of an .onnx file. Raises `engines.engine.EngineError`."""


class Networks(contextlib.ExitStack):
    """Opens networks one by one; leaving the context closes all of them.

    Args:
        options: which networks, and on what they run.
        opener: where engines come from. None: `engines.registry.open_engine` with the runtime of ``options``.

    Each of its methods raises `engines.engine.EngineError`.
    """

    def __init__(self, options: Options, opener: EngineOpener | None = None) -> None:
        super().__init__()
        self._options = options
        most = MAX_PERSONS if options.persons == "auto" or options.persons > 1 else 1
        self._plans = PlanPolicy(options.precision, trust=options.trust_engine, rows=most)
        self._has_own_opener = opener is not None
        # The GPU finishes a mesh before it begins the next frame's keypoints and flow.
        self._opener = opener or (
            lambda model: open_engine(
                model,
                options.engine,
                plans=self._plans,
                urgent=model == options.regressor,
                bf16=_takes_bf16(model, options),
            )
        )
        self._ready: dict[str | Path, Engine] = {}
        self._body: tuple[Engine, Poser] | None = None
        self._body_was_tried = False
        self._posing: PosingRegressor | None = None
        self._flow: FlowMethod | None = None
        self._start_raft: Callable[[Arrays], DeviceArray | None] | None = None
        self.engines: list[Engine] = []
        """All that are open, in the order in which they were opened."""

    @property
    def runtimes(self) -> str:
        """The runtimes in use, as "openvino and onnxruntime"."""
        return " and ".join(dict.fromkeys(engine.runtime for engine in self.engines))

    @property
    def device(self) -> str:
        """What the first network runs on."""
        return self.engines[0].device

    @property
    def bad_answers(self) -> int:
        """How often a network answered with NaN, infinity or absurd numbers."""
        return sum(engine.bad_answers for engine in self.engines if isinstance(engine, FiniteEngine))

    @property
    def graph_replays(self) -> int:
        """How many runs of the networks were replays of CUDA graphs."""
        return sum(engine.replays for engine in self.engines)

    def prepare(self, arrays: BodyArrays) -> None:
        """Open and warm up all that the other methods will ask for, with the body ``arrays``.

        The first time on a GPU this builds engines, which takes seconds to minutes.
        """
        options = self._options
        models = [KEYPOINT_MODELS[keypoint_model(options)], DETECTOR, options.regressor]
        flow = FLOW_MODELS.get("raft" if options.flow == "auto" else options.flow)
        if not self._has_own_opener:
            own = resolve(options.regressor)
            if not own.shipped:
                try_model(own.path, options.engine)
            announce_builds([*models, *([flow] if flow else [])], options.engine, self._plans)
        self._prepare_posing(arrays)
        for model in models:
            if model != options.regressor or self._posing is None:
                self._ready[model] = self._open(model)
        if self._posing is None and self._ready[options.regressor].runtime == "tensorrt":
            self._prepare_body(arrays)
        self._prepare_flow(self._ready[models[0]], self._posing or self._ready[options.regressor])

    def _open(self, model: str | Path) -> Engine:
        engine = self.enter_context(self._opener(model))
        engine.warm_up()
        return engine

    def _prepare_flow(self, keypoints: Engine, regressor: Engine | None = None) -> None:
        """Decide on the flow and open RAFT where it is taken: worth its time only on a GPU (a CPU takes most of a second)."""
        self._flow = self._options.flow
        if self._flow in FLOW_MODELS:
            self._open_raft(self._flow, regressor, self)
        if self._flow != "auto":
            return
        self._flow = "dis"
        if keypoints.runtime != "tensorrt":
            return
        trial = FlowTrial(median_ms(keypoints.warm_up) / keypoints.runs_to_warm_up)
        for name, model in FLOW_MODELS.items():
            with contextlib.ExitStack() as opened:
                try:
                    engine = self._open_raft(name, regressor, opened)
                    if engine.runtime == "tensorrt" and trial.passes(name, RaftFlow(engine, self._start_raft)):
                        self._flow = name
                        self.enter_context(opened.pop_all())
                        break
                except EngineError as error:  # nobody has asked for it by name
                    _LOG.warning(f"{error}: --flow auto does without {name}")
            self._ready.pop(model, None)
            self._start_raft = None
        trial.log(self._flow)

    def _open_raft(self, name: FlowMethod, regressor: Engine | None, closing: contextlib.ExitStack) -> Engine:
        """RAFT, which ``closing`` closes; on the GPU with the means that ``regressor`` reads, where that one runs there too."""
        model = FLOW_MODELS[name]
        reads = regressor.inputs if regressor is not None and regressor.runtime == "tensorrt" else ()
        cells = next((spec.shape[1] for spec in reads if spec.name == "flow"), 0)
        engine: Engine | None = None
        if cells and not self._has_own_opener:
            try:
                linked = open_raft(model, cells, self._plans)
            except EngineError as error:
                _LOG.debug(f"{error}: the flow is copied from the GPU and back")
            else:
                engine, self._start_raft = linked, linked.start
        self._ready[model] = closing.enter_context(engine or self._opener(model))
        self._ready[model].warm_up()
        return self._ready[model]

    def open(self, model: str | Path, instead: float | None = 0.0) -> Engine:
        """One network, opened unless `prepare` has done so; ``instead`` replaces outputs that are not finite, see
        `FiniteEngine`."""
        ready = self._ready.pop(model) if model in self._ready else self._open(model)
        engine = FiniteEngine(ready, str(model), instead)
        self.engines.append(engine)
        return engine

    def open_tracker(self, thorough: bool) -> Tracker:
        """The keypoint stage; see `Tracker` for ``thorough``."""
        movenet = MoveNet(self.open(KEYPOINT_MODELS[keypoint_model(self._options)]))
        finder = FinderThread(PersonDetector(self.open(DETECTOR, _NOBODY)))
        persons = self._options.persons
        # Of a live source, more are let in as their cost becomes known: see `realtime.person_limit`.
        most = persons if persons != "auto" else MAX_PERSONS if thorough else 1
        return Tracker(movenet, finder, most, thorough)

    def open_regressor(self, arrays: BodyArrays, steadied: bool = False) -> BodyRegressor:
        """The regressor, and the body ``arrays`` that it poses. ``steadied``: a look-ahead smooths its
        predictions, so that they may be the less steady ones of a `MemoryEnsemble`."""
        if self._posing is not None:
            posing = FiniteEngine(self._posing, str(self._options.regressor), None)
            self.engines.append(posing)
            return BodyRegressor(posing, self._posing.poser, filters=False, scale=BodyScale(arrays))
        network = self.open(self._options.regressor, None)
        # The network answers in the default body's betas and rest pose, which are not those of another body.
        conversion = BodyConversion.where_needed(load_body(), arrays) if self._options.body else None
        stature = _stature(arrays, self._options)
        body = self._open_body(arrays, network)
        if steadied:
            network = MemoryEnsemble(network)
        return BodyRegressor(network, body, conversion=conversion, stature=stature, scale=BodyScale(arrays))

    def _open_body(self, arrays: BodyArrays, regressor: Engine) -> Poser:
        """The body where the regressor runs."""
        if regressor.runtime == "tensorrt" and not self._body_was_tried:
            self._prepare_body(arrays)
        if self._body is None:
            return NumpyBody(arrays)
        engine, body = self._body
        self.engines.append(engine)
        return body

    def _prepare_posing(self, arrays: BodyArrays) -> None:
        """Regressor, filter and body in one, where all of them are wanted as they are and a GPU runs them."""
        options = self._options
        if (
            self._has_own_opener
            or look_ahead_frames(options, 30.0)
            or options.body
            or options.height
            or options.engine not in ("auto", "tensorrt")
        ):
            return
        if why_no_tensorrt():
            return
        try:
            posing = open_posing_regressor(options.regressor, arrays, self._plans)
        except EngineError as error:
            _LOG.debug(f"{error}: regressor and body run one after the other")
            return
        self.enter_context(posing)
        posing.warm_up()
        self._posing = posing

    def _prepare_body(self, arrays: BodyArrays) -> None:
        self._body_was_tried = True
        try:
            engine, body = open_engine_body(arrays, self._plans)
        except EngineError as error:
            _LOG.warning(f"{error}: the body is posed on the CPU")
            return
        self.enter_context(engine).warm_up()
        self._body = engine, body

    def open_flow(self) -> CropFlow | None:
        """The optical flow, None where none is wanted. Call it after `open_tracker`: it runs on the first network's device."""
        if self._flow is None:
            self._prepare_flow(self.engines[0])
        if self._flow in FLOW_MODELS:
            return RaftFlow(self.open(FLOW_MODELS[self._flow]), self._start_raft)
        return DisFlow() if self._flow == "dis" else None

    def log(self) -> None:
        """Tell the user what the networks run on."""
        _LOG.info(f"networks run on {self.runtimes}, {self.device}")
        if self._options.engine == "auto" and (missing := why_no_tensorrt()):
            _LOG.debug(missing)


def _takes_bf16(model: str | Path, options: Options) -> bool:
    """Whether ``model`` is to run in bfloat16 on the CPU: a keypoint network that was found to keep its keypoints.
    Not the person detector, whose scores decide who is found."""
    if model not in KEYPOINT_MODELS.values() or options.precision != "auto":
        return False
    on_cpu = options.engine == "openvino" or (options.engine == "auto" and bool(why_no_tensorrt()))
    return on_cpu and fits_bf16(str(model))


def _stature(arrays: BodyArrays, options: Options) -> Stature | None:
    """Scales people to the height that the user gives; warns where no shape of ``arrays`` has it."""
    if options.height is None:
        return None
    stature = Stature(arrays, options.height / 100)
    low, high = (100 * reach for reach in stature.reach_m)
    if not low <= options.height <= high:
        _LOG.warning(
            f"--height {options.height:g}: this body is {low:.0f} to {high:.0f} cm tall; people are made as tall as "
            "that allows, and placed accordingly"
        )
    return stature
