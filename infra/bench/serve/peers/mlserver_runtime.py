"""The model as an MLServer runtime, asked by the Open Inference Protocol: a worker process for each core.

Run as `mlserver start FOLDER`, where `settings.json` and `model-settings.json` lie.
"""

import model
from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Judge(MLModel):
    """Answers a text (BYTES) or readings (FP64)."""

    async def load(self) -> bool:
        self._answer = model.load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        asked = payload.inputs[0]
        row = StringCodec.decode_input(asked)[0] if asked.datatype == "BYTES" else list(asked.data)
        given = self._answer(row)
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                ResponseOutput(name="label", shape=[1, 1], datatype="BYTES", data=[given["label"]]),
                ResponseOutput(name="score", shape=[1, 1], datatype="FP64", data=[given["score"]]),
            ],
        )
