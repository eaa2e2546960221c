"""What the operator's CRD (`flinkdeployments.flink.apache.org`, v1beta1, 1.15) says of the fields used.

The whole document has half a megabyte, nearly all of it Kubernetes' pod template three times, and is in no
package registry. So the fields that our manifest uses are told here, with the types and choices of the CRD's
`openAPIV3Schema`, and any other field is an error: a cluster would drop a misspelt one without a word.
"""

from typing import Any, Final

STRING: Final = {"type": "string"}
INTEGER: Final = {"type": "integer"}
TEXTS: Final = {"type": "object", "additionalProperties": STRING}


def exactly(**fields: Any) -> dict[str, Any]:
    """Return the schema of an object with no other fields than these."""
    return {"type": "object", "properties": fields, "additionalProperties": False}


def several(item: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a list."""
    return {"type": "array", "items": item}


CONTAINER: Final = exactly(
    name=STRING,
    env=several(exactly(name=STRING, value=STRING)),
    ports=several(exactly(name=STRING, containerPort=INTEGER)),
    volumeMounts=several(exactly(name=STRING, mountPath=STRING)),
)
POD: Final = exactly(
    metadata=exactly(annotations=TEXTS),
    spec=exactly(
        containers=several(CONTAINER),
        volumes=several(exactly(name=STRING, configMap=exactly(name=STRING))),
    ),
)
RESOURCE: Final = exactly(cpu={"type": "number"}, memory=STRING)
SPEC: Final = exactly(
    image=STRING,
    flinkVersion={"type": "string", "enum": [*(f"v1_{n}" for n in range(13, 21)), "v2_0", "v2_1", "v2_2"]},
    mode={"type": "string", "enum": ["native", "standalone"]},
    serviceAccount=STRING,
    flinkConfiguration=TEXTS,
    podTemplate=POD,
    jobManager=exactly(replicas=INTEGER, resource=RESOURCE),
    taskManager=exactly(replicas=INTEGER, resource=RESOURCE),
    job=exactly(
        jarURI=STRING,
        entryClass=STRING,
        args=several(STRING),
        parallelism=INTEGER,
        upgradeMode={"type": "string", "enum": ["last-state", "savepoint", "stateless"]},
        state={"type": "string", "enum": ["running", "suspended"]},
    ),
)
