"""Measurements of a run: durations of stages, latency, rates, dropped frames."""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
from typing_extensions import override

from common.arrays import FloatArray
from common.errors import UserError
from common.files import reason_of, write_bytes_atomically
from common.version import version

WARM_UP = 5
"""Number of first measurements of each kind that are left out, while compilers, caches and CPU clocks warm up."""
_RECENT = 30  # meshes
_TIMELINE = 60  # runs of stages


class Samples:
    """Durations in ms of one kind, in an array that doubles when full. Written by one thread."""

    def __init__(self) -> None:
        self._values: FloatArray = np.empty(4096, np.float32)
        self._count = 0

    def add(self, ms: float) -> None:
        """Append one duration."""
        if self._count == len(self._values):
            self._values = np.concatenate([self._values, np.empty_like(self._values)])
        self._values[self._count] = ms
        self._count += 1

    @property
    def values(self) -> FloatArray:
        """All durations, ms, the warm-up included: a view that does not change while more are added."""
        return self._values[: self._count]

    @property
    def count(self) -> int:
        """Number of durations, the warm-up included."""
        return self._count

    def percentiles(self) -> tuple[float, float, float]:
        """p50, p95 and p99 in ms without the warm-up, or with it if there are no others; NaN if empty."""
        values = self.values
        if len(values) > WARM_UP:
            values = values[WARM_UP:]
        if not len(values):
            return (float("nan"),) * 3
        p50, p95, p99 = np.percentile(values, [50, 95, 99])
        return float(p50), float(p95), float(p99)


@dataclass(slots=True)
class Latency:
    """Latency from capture to mesh: percentiles over the meshes of a run."""

    p50: float
    """Median, ms."""
    p95: float
    """95th percentile, ms."""
    p99: float
    """99th percentile, ms."""


@dataclass(slots=True)
class StageReport:
    """How often a stage ran and how long it took."""

    count: int
    """Runs, the warm-up included."""
    p50_ms: float
    """Median duration, ms."""
    p95_ms: float
    """95th percentile, ms."""
    p99_ms: float
    """99th percentile, ms."""


@dataclass(slots=True)
class Report:
    """What was measured; written by ``--report``. Times are of the steady state: warm-up is excluded."""

    frames_in: int
    """Frames that the source gave."""
    frames_dropped: int
    """Number of these frames that were replaced by a newer one."""
    meshes: int
    """Frames with at least one body, however many people are in them."""
    mesh_rate_hz: float
    """Such frames per second."""
    latency_ms: Latency
    """Latency from grabbing a frame to its mesh."""
    first_mesh_s: float
    """Time from the program's start to the first mesh, s."""
    stages: dict[str, StageReport]
    """Durations by the stage's name."""
    peak_rss_mb: float
    """Largest resident size of the process, MB."""
    engine: str
    """Runtimes of the networks."""
    device: str
    """The CPU or GPU that they ran on."""
    cpu_count: int
    """Cores of the machine."""
    source: str
    """The source's name; addresses without their secrets."""
    version: str
    """Version of this program."""
    look_ahead_frames: int = 0
    """How many later frames each frame waited for."""
    look_ahead_ms: float = 0.0
    """Median time that the look-ahead held a frame: a part of ``latency_ms``."""
    results: int = 0
    """Frames that were processed, with somebody in them or not."""
    recorded: int | None = None
    """How many of ``results`` are in the video; None: no video was requested."""
    saved: int | None = None
    """How many of ``results`` are in the motion file; None: no such file was requested."""
    bad_answers: int = 0
    """Number of network outputs with NaN, infinity or absurd values."""
    graph_replays: int = 0
    """Runs of networks that were replays of CUDA graphs."""
    max_people: int = 0
    """Largest number of people in one frame."""
    person_ms: float = 0.0
    """Mean duration of keypoints and regressor for one person in one frame, ms."""
    timeline: list[tuple[str, float, float]] = field(default_factory=list)
    """The last runs of stages: name, begin and end, ms since the first of them."""

    def save(self, path: Path) -> None:
        """Write JSON; values that were not measured are null. Raises `UserError` when ``path`` cannot be written."""
        text = json.dumps(nulls(asdict(self)), indent=2) + "\n"
        try:
            write_bytes_atomically(path, text.encode())
        except OSError as error:
            raise UserError(f"cannot write {path} ({reason_of(error, path)}): choose another place") from None


def nulls(value: object) -> object:
    """``value`` with None for every number that is not finite, which JSON cannot hold."""
    if isinstance(value, dict):
        return {key: nulls(item) for key, item in value.items()}
    if isinstance(value, list):
        return [nulls(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


class _Run(AbstractContextManager[None]):
    """One run of a stage. A class of its own takes half the time of a generator, several times a frame."""

    __slots__ = ("_begin_ns", "_meter", "_name", "_range")

    def __init__(self, meter: Meter, name: str) -> None:
        self._meter, self._name, self._begin_ns = meter, name, 0
        self._range: AbstractContextManager[object] | None = _range(name) if _range else None

    @override
    def __enter__(self) -> None:
        self._begin_ns = self._meter.note_begin(self._name)
        if self._range is not None:
            self._range.__enter__()

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._range is not None:
            self._range.__exit__(kind, error, trace)
        self._meter.note_end(self._name, self._begin_ns, done=kind is None)


class Meter:
    """Collects everything that a `Report` says. ``start_ns``: when the program began, for the time to the first mesh."""

    def __init__(self, start_ns: int | None = None) -> None:
        self._start_ns = time.monotonic_ns() if start_ns is None else start_ns
        self._stages: dict[str, Samples] = {}
        self._latency = Samples()
        self._held_back = Samples()
        self._lock = threading.Lock()
        self._mesh_times = Samples()
        self.frames_in = 0
        self.frames_dropped = 0
        self.meshes = 0
        self.results = 0
        self.max_people = 0
        self._bodies = 0
        self._busy_since_ns: dict[str, int] = {}
        self._last_runs: deque[tuple[str, int, int]] = deque(maxlen=_TIMELINE)

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Time what is inside as one run of stage ``name``."""
        return _Run(self, name)

    def note_begin(self, name: str) -> int:
        """Note that a run of stage ``name`` begins. Returns the time, ns."""
        begin = self._busy_since_ns[name] = time.perf_counter_ns()
        return begin

    def note_end(self, name: str, begin_ns: int, done: bool) -> None:
        """Note that the run of stage ``name`` that began at ``begin_ns`` ends; it counts if it is ``done``."""
        self._busy_since_ns.pop(name, None)
        if not done:
            return
        end_ns = time.perf_counter_ns()
        self._last_runs.append((name, begin_ns, end_ns))
        samples = self._stages.get(name)
        if samples is None:
            with self._lock:
                samples = self._stages.setdefault(name, Samples())
        samples.add((end_ns - begin_ns) / 1e6)

    def silent(self, seconds: float) -> dict[str, float]:
        """Stages whose present run began more than ``seconds`` ago, and how long ago, seconds. Without capture, which waits
        for the camera."""
        now_ns = time.perf_counter_ns()
        since = {name: (now_ns - begin) * 1e-9 for name, begin in list(self._busy_since_ns.items())}
        return {name: past for name, past in since.items() if past > seconds and name != "capture"}

    def _timeline(self) -> list[tuple[str, float, float]]:
        runs = sorted(self._last_runs.copy(), key=lambda run: run[1])
        return [(name, (begin - runs[0][1]) / 1e6, (end - runs[0][1]) / 1e6) for name, begin, end in runs]

    def mesh(self, captured_ns: int, finished_ns: int, people: int = 1) -> None:
        """Record that the meshes of the ``people`` in a frame are finished."""
        self.meshes += 1
        self.max_people = max(self.max_people, people)
        self._bodies += people
        self._latency.add((finished_ns - captured_ns) / 1e6)
        self._mesh_times.add((finished_ns - self._start_ns) / 1e6)

    def held_back(self, since_ns: int, finished_ns: int) -> None:
        """Record that a frame is finished that the look-ahead held back since ``since_ns``."""
        self._held_back.add((finished_ns - since_ns) / 1e6)

    def mesh_rate(self, look_ahead: int = 0) -> float:
        """New meshes a second, from the first after the warm-up to the last. Without the last ``look_ahead``, which are
        finished together when the source ends; NaN where only one is left."""
        times = self._mesh_times.values[: max(0, self._mesh_times.count - look_ahead)].astype(np.float64)
        times = times[WARM_UP:] if len(times) > 2 * WARM_UP else times
        return float((len(times) - 1) / (times[-1] - times[0]) * 1e3) if len(times) > 1 else float("nan")

    def recent(self) -> tuple[float, float]:
        """Mesh rate (1/s) and median latency (ms) of the last 30 meshes, for display on the image."""
        times = self._mesh_times.values[-_RECENT:].astype(np.float64)
        delays = self._latency.values[-_RECENT:]
        if len(times) < 2 or times[-1] <= times[0]:
            return float("nan"), float("nan")
        return float((len(times) - 1) / (times[-1] - times[0]) * 1e3), float(np.median(delays))

    def person_ms(self) -> float:
        """Mean duration of keypoints and regressor for one person in one frame, ms; 0 before the first person."""
        stages = [self._stages[name].values for name in ("keypoints", "regressor") if name in self._stages]
        return float(sum(values.sum() for values in stages) / self._bodies) if self._bodies else 0.0

    def recent_stages(self) -> dict[str, float]:
        """Median duration of each stage's last 30 runs, ms."""
        return {name: float(np.median(samples.values[-_RECENT:])) for name, samples in list(self._stages.items())}

    def report(self, engine: str, device: str, source: str, look_ahead: int = 0) -> Report:
        """Sum up. ``frames_in`` counts what the source delivered, ``frames_dropped`` what was never processed;
        ``look_ahead`` frames were waited for."""
        first = float(self._mesh_times.values[0]) / 1e3 if self._mesh_times.count else float("nan")
        stages = {name: StageReport(s.count, *s.percentiles()) for name, s in self._stages.items()}
        return Report(
            self.frames_in,
            self.frames_dropped,
            self.meshes,
            self.mesh_rate(look_ahead),
            Latency(*self._latency.percentiles()),
            first,
            stages,
            peak_rss_mb(),
            engine,
            device,
            os.cpu_count() or 1,
            source,
            version(),
            look_ahead,
            self._held_back.percentiles()[0] if look_ahead else 0.0,
            self.results,
            max_people=self.max_people,
            person_ms=self.person_ms(),
            timeline=self._timeline(),
        )


def _nvtx_ranges() -> Callable[[str], AbstractContextManager[object]] | None:
    """Ranges that mark stages in NVIDIA's profilers, if the package ``nvtx`` is installed; else None."""
    try:
        import nvtx
    except ImportError:
        return None
    return lambda name: nvtx.annotate(message=name, domain="motionmesh")


_range = _nvtx_ranges()


def peak_rss_mb() -> float:
    """Largest resident size of this process so far, MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)
