"""The model behind Ray Serve: its HTTP proxy, and a replica for each core."""

import os
import signal
import threading
from typing import Any

import model
import ray
from ray import serve
from starlette.requests import Request

CORES = model.cores()


@serve.deployment(num_replicas=CORES, ray_actor_options={"num_cpus": 1}, max_ongoing_requests=64)
class Judge:
    """Answers requests as they come to a replica."""

    def __init__(self) -> None:
        self._answer = model.load()

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Answer a text or readings."""
        return self._answer((await request.json())["row"])


if __name__ == "__main__":
    told = {name: os.environ[name] for name in ("BENCH_MODEL", "BENCH_CORES", "PYTHONPATH")}
    ray.init(
        num_cpus=CORES + 1, include_dashboard=False, object_store_memory=128 * 1024 * 1024,
        _temp_dir=os.environ["BENCH_SHORT_FOLDER"], log_to_driver=False,
        runtime_env={"env_vars": told},
    )  # fmt: skip
    serve.start(http_options={"host": "127.0.0.1", "port": model.port(), "access_log": False})
    judge = Judge.bind()  # type: ignore[attr-defined]  # Ray's decorator makes it a deployment
    serve.run(judge, route_prefix="/predict", logging_config={"enable_access_log": False})
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())  # Ray's own handler, set by init, aborts
    stop.wait()
    serve.shutdown()
    ray.shutdown()
