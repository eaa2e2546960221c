"""What a cluster checks a `FlinkDeployment` against: the schema in the jar of the Flink operator's types."""

import zipfile
from pathlib import Path
from typing import Any

import yaml

from infra.local.jars import JarSet, ensure_jars

_HERE = Path(__file__).with_name("flink_operator")
_JARS = JarSet("the Flink operator's types", "flink-operator-1.10.0", _HERE)
_CRD = "META-INF/fabric8/flinkdeployments.flink.apache.org-v1.yml"


def deployment_schema() -> dict[str, Any]:
    """Return the `openAPIV3Schema` of v1beta1, in which a field that it does not name is an error.

    A cluster drops such a field without a word.
    """
    (jar,) = ensure_jars(jars=_JARS).glob("*.jar")
    with zipfile.ZipFile(jar) as archive:
        document = yaml.load(archive.read(_CRD), Loader=yaml.CSafeLoader)
    (version,) = (found for found in document["spec"]["versions"] if found["name"] == "v1beta1")
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    # The API server itself knows what every object has.
    schema["properties"] |= {name: {} for name in ("apiVersion", "kind", "metadata")}
    _close(schema)
    return schema


def _close(schema: Any) -> None:
    if isinstance(schema, list):
        for item in schema:
            _close(item)
    elif isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
            schema["additionalProperties"] = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
        for value in schema.values():
            _close(value)
