"""The model behind LitServe: its FastAPI front, and a worker process for each core."""

from typing import Any

import litserve
import model


class Judge(litserve.LitAPI):
    """Answers one request at a time."""

    def setup(self, device: str) -> None:
        self._answer = model.load()

    def decode_request(self, request: dict[str, Any]) -> Any:
        return request["row"]

    def predict(self, row: Any) -> dict[str, Any]:
        return self._answer(row)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    server = litserve.LitServer(Judge(), accelerator="cpu", workers_per_device=model.cores())
    server.run(
        host="127.0.0.1", port=model.port(), num_api_servers=1, log_level="error", generate_client_file=False,
        access_log=False,
    )  # fmt: skip
