"""Workers on a Ray cluster: the cluster started or joined, its cores shared out, lost workers replaced."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from transfer.features.plan import ClusterRequest
from transfer.features.ray_worker import Worker
from transfer.features.units import share_cores
from transfer.system import signals
from transfer.system.errors import UserError
from transfer.system.hardware import usable_cores
from transfer.system.progress import Progress, reported
from transfer.system.text import first_line
from transfer.system.timer import Stopwatch

# So many workers in a row may be lost before one has answered.
TRIES = 4
# A server that does not answer within so long is not there.
ANSWERS_WITHIN_S = 5.0
# After so long without a worker, a line says what is waited for.
PATIENCE_S = 30.0
# Of a cluster that is started: images and features go through files, only the network through Ray.
OBJECT_STORE_BYTES = 2**30
# The path of a socket has at most 107 bytes, and Ray's has 70 below its folder.
LONGEST_FOLDER = 30

log = logging.getLogger(__name__)


@contextlib.contextmanager
def connected(request: ClusterRequest, watch: Stopwatch, on_progress: Progress) -> Iterator[WorkerPool]:
    """Start or join a cluster for the block, with workers that are about to start.

    Parameters
    ----------
    request : ClusterRequest
    watch : Stopwatch
    on_progress : Progress

    Yields
    ------
    WorkerPool

    Raises
    ------
    UserError
        If there is no cluster, or not what was asked for.
    """
    with contextlib.ExitStack() as stack:
        with watch("connect"), reported(on_progress, "connect", request.on):
            stack.enter_context(_cluster(request.on))
            pool = WorkerPool(request)
        stack.callback(pool.stop)
        # What Ray says of lost workers goes to standard output, where results may be; `run` names them.
        stack.enter_context(contextlib.redirect_stdout(stack.enter_context(Path(os.devnull).open("w"))))
        yield pool


@contextlib.contextmanager
def _cluster(on: str) -> Iterator[None]:
    """Join the cluster that is named, or start one, for the block."""
    import ray

    if ray.is_initialized():  # by whoever calls this library
        yield
        return
    address = on if "://" in on else os.environ.get("RAY_ADDRESS") or "local"
    with contextlib.ExitStack() as stack:
        if address == "local":
            stack.enter_context(started(usable_cores()))
        else:
            _check_answers(address)
            stack.enter_context(_initialised(address))
        yield


@contextlib.contextmanager
def started(cores: int) -> Iterator[None]:
    """Start a cluster of so many cores on this machine; it ends with the block, or with the process."""
    folder = tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix="transfer-", dir=folder if len(folder) <= LONGEST_FOLDER else "/tmp")
    remove = partial(shutil.rmtree, folder, ignore_errors=True)
    tokens = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}
    if not (tokens & os.environ.keys() or Path(os.environ.get("HOME", ""), ".ray/auth_token").exists()):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # Ray would write its own into the home folder
    with contextlib.ExitStack() as stack:
        stack.callback(remove)
        stack.enter_context(signals.at_end(remove))
        settings = {"num_cpus": cores, "include_dashboard": False, "_temp_dir": folder}
        stack.enter_context(_initialised("local", object_store_memory=OBJECT_STORE_BYTES, **settings))
        yield


@contextlib.contextmanager
def _initialised(address: str, **settings: Any) -> Iterator[None]:
    """Connect to Ray for the block."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # reports go over the network
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")  # an actor without a GPU sees none
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        with _handlers_kept():
            ray.init(address, log_to_driver=False, configure_logging=False, **settings)
    except Exception as error:  # Ray and gRPC raise of every kind
        raise UserError(
            f"can't use Ray at {address} ({first_line(error)}); versions of Ray and Python must agree, and a "
            "cluster that asks for a token needs RAY_AUTH_MODE=token"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
    """Restore the handlers of signals that Ray replaces by its own, which dump stacks and exit with another status."""
    before = {number: signal.getsignal(number) for number in signals.SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def _check_answers(address: str) -> None:
    """Raise `UserError` at once where nothing listens at an address: Ray would try for half a minute."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        if parts.hostname and parts.port:
            socket.create_connection((parts.hostname, parts.port), ANSWERS_WITHIN_S).close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"no Ray cluster answers at {address} ({reason}); start one, or name another"
        ) from error


class WorkerPool:
    """The workers of one run.

    Parameters
    ----------
    request : ClusterRequest

    Raises
    ------
    UserError
        If the cluster does not have room for the workers that are asked for.
    """

    def __init__(self, request: ClusterRequest) -> None:
        import ray

        self.ray = ray
        self.on = request.on
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        machines = [(int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in nodes]
        has_gpus = any(gpus for _, gpus in machines)
        on_gpus = request.device == "cuda" or (request.device == "auto" and has_gpus)
        self.size, cores = share_cores(machines, request.workers, on_gpus=on_gpus)
        self._make = partial(
            ray.remote(Worker)
            .options(
                num_cpus=cores,
                num_gpus=int(on_gpus),
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy="SPREAD",
            )
            .remote,
            cores,
        )
        self.workers = [self._make() for _ in range(self.size)]
        self.unready = 0
        """Workers lost in a row before any of them answered."""

    def put(self, value: Any) -> list[Any]:
        """Give workers a value once; what is returned stands for it."""
        return [self.ray.put(value)]

    def stop(self) -> None:
        """End all workers."""
        for worker in self.workers:
            with contextlib.suppress(Exception):  # the cluster may be gone
                self.ray.kill(worker)

    def list_options(self, request: ClusterRequest) -> Any:
        """List the ways to compute that workers have; `UserError` where there is none."""
        return self.ask("list_options", request.engine, request.precision, request.device)

    def begin(self, name: str, *args: Any) -> None:
        """Have all workers call a method without waiting; what fails is met when they are next asked."""
        for worker in self.workers:
            worker.call.remote(name, *args)

    def ask(self, name: str, *args: Any) -> Any:
        """Return what a method of one worker returns; a worker that is lost is replaced."""
        while True:
            worker = self.workers[0]
            reference = worker.call.remote(name, *args)
            if not self.ray.wait([reference], timeout=PATIENCE_S)[0]:
                log.info("waiting for a worker: starting, or for cores and GPUs that others use")
            try:
                value, error = self.ray.get(reference)
            except self.ray.exceptions.RayError as lost:
                self.replace(worker, lost)
                continue
            self.unready = 0
            if error:
                raise error
            return value

    def replace(self, worker: Any, lost: Exception) -> Any:
        """Start a worker in place of one that is lost; `UserError` where several in a row were lost before any work."""
        self.unready += 1
        if self.unready == TRIES:
            raise UserError(f"workers can't be started on {self.on}: {reason_of(lost)}") from lost
        place = self.workers.index(worker)
        with contextlib.suppress(Exception):
            self.ray.kill(worker)
        self.workers[place] = self._make()
        return self.workers[place]


def reason_of(error: Exception) -> str:
    """Return the line of an error of Ray's that says why."""
    cause = getattr(error, "cause", None)
    text = str(cause if isinstance(cause, Exception) else error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # Of a traceback the last line says it.
    is_traceback = "Traceback" in text or "creation task" in text
    return (lines[-1] if is_traceback else lines[0]) if lines else type(error).__name__
