"""The model behind Mosec: its Rust front, and a worker process for each core."""

import sys
from typing import Any

import model
from mosec import Server, Worker


class Judge(Worker):
    """Answers one request at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._answer = model.load()

    def forward(self, data: dict[str, Any]) -> dict[str, Any]:
        return self._answer(data["row"])


if __name__ == "__main__":
    sys.argv[1:] = ["--address", "127.0.0.1", "--port", str(model.port()), "--log-level", "warning"]
    server = Server()
    server.append_worker(Judge, num=model.cores())
    server.run()
