"""Making shards on a Ray cluster. Every machine needs this program and the same motion and output folders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from common.errors import UserError
from training.synth.factory import ShardJob, make_shard
from training.synth.shards import ShardRow

LOCAL_CLUSTER: Final = "local"
"""Address of a temporary cluster on this machine only, started for the run."""


class ClusterError(UserError, RuntimeError):
    """Ray is not installed or cannot be reached. The message says what to do."""


def run_ray(jobs: list[ShardJob], address: str, processors: int | None = None) -> Iterator[tuple[ShardRow, bool]]:
    """Make shards on the cluster at ``address``, one processor per shard, in the order in which they finish.

    A shard whose machine is lost is made again on another one.

    Args:
        jobs: The shards to make.
        address: `LOCAL_CLUSTER`, ``"auto"`` or ``HOST:PORT``.
        processors: Processors used on a local cluster; None for all.

    Raises:
        ClusterError: Ray is not installed or the cluster cannot be reached.
    """
    try:
        import ray
    except ImportError:
        raise ClusterError("--ray needs Ray: pip install -e '.[ray]'") from None
    local = address == LOCAL_CLUSTER
    try:
        ray.init(
            address=LOCAL_CLUSTER if local else address,
            num_cpus=processors if local else None,
            include_dashboard=False if local else None,
            log_to_driver=False,
            logging_level="ERROR",
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"no Ray cluster at {address} ({error}): give the address of its head, or --ray {LOCAL_CLUSTER}"
        ) from error
    try:
        make = ray.remote(num_cpus=1, max_retries=3)(make_shard)
        waiting = [make.remote(job) for job in jobs]
        while waiting:
            ready, waiting = ray.wait(waiting)
            yield ray.get(ready[0])
    finally:
        ray.shutdown()
