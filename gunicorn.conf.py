"""gunicorn for this service: threads, since every request waits for MongoDB, in a few processes that are renewed."""

import gc
import os
import resource
import select
import shutil
import socket
import tempfile
import zlib
from typing import Any

# The workers share their counters through files here; prometheus_client reads the name when it is first imported.
# A name that is given is a folder of this pod alone.
METRICS_FOLDER_GIVEN = bool(os.environ.get("PROMETHEUS_MULTIPROC_DIR"))
if not METRICS_FOLDER_GIVEN:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="booking-metrics-")
METRICS_FOLDER = os.environ["PROMETHEUS_MULTIPROC_DIR"]

from booking_service import settings  # noqa: E402 - after the folder's name is known


def open_files(wanted: int) -> int:
    """How many files a worker may have open, raised to ``wanted`` as far as the system lets it.

    A connection too many would end the worker, with everybody's requests: many systems let it have 1,024, some 256.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else min(wanted, soft)


wsgi_app = "booking_service.wsgi:application"
bind = f"0.0.0.0:{settings.PORT}"
worker_class = (
    "booking_service.operations.gunicorn_followers.FollowersWorker"
    if hasattr(select, "epoll")
    else "booking_service.operations.gunicorn_worker.BookingWorker"
)
workers = settings.WEB_CONCURRENCY
threads = settings.WEB_THREADS
worker_connections = open_files(1200) - 200  # the rest is for MongoDB, Redis, files and partners
backlog = 2048

# A worker whose main thread stands still this long is killed; requests have shorter deadlines of their own.
timeout = 60
# After SIGTERM requests in hand are finished; Kubernetes waits 40 s before it kills.
graceful_timeout = 30
# Longer than a load balancer keeps an idle connection, so that it is never we who close one it is about to use.
keepalive = 75
# Workers are renewed one by one, each after a different number of requests, whatever may have leaked.
max_requests = 200_000
max_requests_jitter = 20_000

# No header of a request says where the application is mounted, who signed in or how it came, whoever sends it. So
# nobody's address need be compared. What TRUSTED_PROXIES say, Django reads.
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}
forwarded_allow_ips = "*"

# A heartbeat file on a disk can stall a worker; this is memory, and writable in a read-only container.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
control_socket_disable = True

# The service writes one line for each request itself, with the route's template: gunicorn's would hold the query.
accesslog = None
logger_class = "booking_service.operations.gunicorn_logger.ServiceLogger"


def pre_fork(server: Any, worker: Any) -> None:
    """Number the workers 0, 1, 2…: a renewed worker goes on counting in the files of the one before it."""
    taken = {other.slot for other in server.WORKERS.values()}
    worker.slot = next(slot for slot in range(len(taken) + 1) if slot not in taken)


def pin(slot: int) -> None:
    """Keep the threads of a worker on one CPU: the next worker has the next one, the first what the pod's name gives.

    Only the thread that holds the interpreter's lock runs. On several CPUs each wait for MongoDB hands the lock to a
    sleeping CPU, which costs more than most requests: twice the processor time with 16 connections.
    """
    if hasattr(os, "sched_setaffinity"):
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cpus[(zlib.crc32(socket.gethostname().encode()) + slot) % len(cpus)]})


def post_fork(server: Any, worker: Any) -> None:
    """The metrics are made when the application is imported, after this."""
    from prometheus_client import values

    if settings.WEB_PIN_CPU:
        pin(worker.slot)
    values.ValueClass = values.MultiProcessValue(lambda: f"web{worker.slot}")


def post_worker_init(worker: Any) -> None:
    """Say what is not as it should be; do not serve where bookings could not be made."""
    from django.core.checks import ERROR
    from gunicorn.arbiter import Arbiter

    from booking_service.operations.checks import problems_at_start
    from patients import passwords

    problems = problems_at_start()
    for problem in problems:
        worker.log.log(problem.level, "%s %s (%s)", problem.msg, problem.hint, problem.id)
    if any(problem.level >= ERROR for problem in problems):
        raise SystemExit(Arbiter.APP_LOAD_ERROR)
    passwords.prepare()
    # What was imported stays until the end; full collections that look at it again stopped every request for 60 ms.
    gc.collect()
    gc.freeze()


def child_exit(server: Any, worker: Any) -> None:
    """Gauges of living processes end with the process."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(f"web{worker.slot}")


def on_exit(server: Any) -> None:
    """The files are of no use to the next start."""
    if not METRICS_FOLDER_GIVEN:
        shutil.rmtree(METRICS_FOLDER, ignore_errors=True)
