"""A plain FastAPI handler: one process; what blocks runs in Starlette's threads, as its docs advise."""

from typing import Any

import model
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
answer = model.load()


class Asked(BaseModel):
    """A request's body: a text, or readings."""

    row: str | list[float]


def blocking(asked: Asked) -> dict[str, Any]:
    """Answer in a thread of the pool, so that the event loop goes on."""
    return answer(asked.row)


async def quick(asked: Asked) -> dict[str, Any]:
    """Answer in the event loop: what takes microseconds is not worth a thread's hop."""
    return answer(asked.row)


app.post("/predict")(blocking if model.blocks() else quick)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=model.port(), access_log=False, log_level="warning")
