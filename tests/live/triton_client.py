"""NVIDIA's own client against a gateway, in an environment of its own: what it was answered, as JSON.

    triton_client.py HTTP_ADDRESS GRPC_ADDRESS < {"texts": […], "readings": [[…]], "unknown": "name"}

Headrace's environment cannot hold it: its gRPC half needs a newer grpcio than Flink allows.
"""

import json
import sys

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException, np_to_triton_dtype


def client_input(module, name, array):
    """Build an input as the client's own examples do."""
    given = module.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    given.set_data_from_numpy(array)
    return given


def answers(result):
    """Read an answer's tensors and what says which model gave it."""
    response = result.get_response(as_json=True) if isinstance(result, triton_grpc.InferResult) else None
    response = response or result.get_response()
    return {
        "labels": [label.decode() for label in result.as_numpy("label").tolist()],
        "scores": result.as_numpy("score").tolist(),
        "version": response["model_version"],
        "parameters": response["parameters"],
        "id": response["id"],
    }


def refused(call):
    """Return the message and status of a refusal."""
    try:
        call()
    except InferenceServerException as error:
        return {"message": error.message(), "status": error.status()}
    raise AssertionError("it was not refused")


def asked(module, client, given):
    """Ask everything of one client."""
    texts = np.array(given["texts"], dtype=object)
    readings = np.array(given["readings"], dtype=np.float32)
    as_json = {"as_json": True} if module is triton_grpc else {}
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready("requests"),
        "version_ready": client.is_model_ready("requests", "99"),
        "unknown_ready": client.is_model_ready(given["unknown"]),
        "server": client.get_server_metadata(**as_json),
        "model": client.get_model_metadata("host", **as_json),
        "index": client.get_model_repository_index(**as_json),
        "text": answers(client.infer("requests", [client_input(module, "text", texts)], request_id="7")),
        "column": answers(
            client.infer(
                "requests",
                [client_input(module, "text", texts.reshape(-1, 1))],
                model_version="1",
                outputs=[module.InferRequestedOutput("score"), module.InferRequestedOutput("label")],
                request_id="8",
            )
        ),
        "readings": answers(client.infer("host", [client_input(module, "values", readings)], request_id="9")),
        "refused": [
            refused(lambda: client.infer(given["unknown"], [client_input(module, "text", texts)])),
            refused(lambda: client.infer("host", [client_input(module, "values", readings[:, :2])])),
        ],
    }


def main():
    """Ask both clients and print what they say."""
    given = json.load(sys.stdin)
    http, grpc = sys.argv[1:]
    said = {
        "http": asked(triton_http, triton_http.InferenceServerClient(http), given),
        "grpc": asked(triton_grpc, triton_grpc.InferenceServerClient(grpc), given),
    }
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main()
