"""KServe's own clients against a gateway, in an environment of their own: what they were answered, as JSON.

    kserve_client.py URL GRPC_ADDRESS < {"texts": […], "readings": [[…]], "unknown": "name"}

Headrace's environment cannot hold them: kserve needs an older psutil.
"""

import asyncio
import json
import sys

import grpc
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig


def requests(given, *, binary):
    """Build the requests as the client's own examples do: texts, and readings."""
    texts = InferInput("text", [len(given["texts"])], "BYTES")
    texts.set_data_from_numpy(np.array([one.encode() for one in given["texts"]], dtype=object), binary)
    readings = np.array(given["readings"], dtype=np.float64)
    values = InferInput("values", list(readings.shape), "FP64")
    values.set_data_from_numpy(readings, binary)
    return InferRequest("requests", [texts], request_id="7"), InferRequest("host", [values], request_id="8")


def answers(response):
    """Read an answer's tensors and what says which model gave it."""
    outputs = {output.name: output.as_numpy().tolist() for output in response.outputs}
    labels = [one.decode() if isinstance(one, bytes) else one for one in outputs["label"]]
    return {
        "labels": labels,
        "scores": outputs["score"],
        "model": response.model_name,
        "version": response.model_version,
        "id": response.id,
    }


async def refusal(asked):
    """Return what a refusal says."""
    try:
        await asked
    except (httpx.HTTPError, grpc.RpcError) as error:
        return str(error)
    raise AssertionError("it was not refused")


async def over_rest(url, given, *, binary):
    """Ask everything over REST."""
    async with InferenceRESTClient(RESTConfig(protocol="v2", retries=0)) as client:
        texts, readings = requests(given, binary=binary)
        unknown = InferRequest(given["unknown"], texts.inputs)
        return {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url),
            "model_ready": await client.is_model_ready(url, "requests"),
            "text": answers(await client.infer(url, texts, model_name="requests")),
            "readings": answers(await client.infer(url, readings, model_name="host")),
            "refused": await refusal(client.infer(url, unknown, model_name=given["unknown"])),
        }


async def over_grpc(address, given, *, binary):
    """Ask everything over gRPC."""
    async with InferenceGRPCClient(address, retries=0) as client:
        texts, readings = requests(given, binary=binary)
        return {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model_ready": await client.is_model_ready("requests"),
            "text": answers(await client.infer(texts)),
            "readings": answers(await client.infer(readings)),
            "refused": await refusal(client.infer(InferRequest(given["unknown"], texts.inputs))),
        }


async def main():
    """Ask both clients, with tensors as JSON or messages and as bytes, and print what they say."""
    given = json.load(sys.stdin)
    url, address = sys.argv[1:]
    said = {}
    for form, binary in (("plain", False), ("binary", True)):
        said[f"rest {form}"] = await over_rest(url, given, binary=binary)
        said[f"grpc {form}"] = await over_grpc(address, given, binary=binary)
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    asyncio.run(main())
