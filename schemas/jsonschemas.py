"""JSON Schemas (2020-12) made from the contracts themselves, so that nothing is described twice.

Consumes the contract classes and `schemas.config`; `schemas.publish` writes the result to `schemas/catalog`.
"""

import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from schemas import examples
from schemas.config import Headrace
from schemas.lift import payload_types
from schemas.refusal import MAX_NAME_BYTES
from schemas.release import Manifest
from schemas.topics import TOPICS

Json = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
CONTRACTS: Final[tuple[type[msgspec.Struct], ...]] = (
    *(topic.contract for topic in TOPICS if topic.contract is not None),
    Manifest,
)
PAYLOADS: Final = {name: shape for name, (_, shape) in payload_types().items()}
"""The payload of every CloudEvents `type` that is accepted: each kind in each of its versions."""

_DURATION: Final = r"^\s*\d+(\.\d+)?\s*(ms|s|m|h|d)\s*$"


def documents() -> dict[str, Json]:
    """Return every JSON Schema by its file name."""
    found = {f"{file_stem(contract)}.schema.json": contract_schema(contract) for contract in CONTRACTS}
    for name in PAYLOADS:
        found[f"{name}.schema.json"] = envelope_schema(name)
    found["headrace.toml.schema.json"] = config_schema()
    return found


def file_stem(contract: type[msgspec.Struct]) -> str:
    """Return `drift_alert` for DriftAlert."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", contract.__name__).lower()


def components(contracts: Iterable[type[msgspec.Struct]], ref_template: str) -> dict[str, Json]:
    """Return the schemas of contracts and of all they are made of, by name, in alphabetical order."""
    wanted = tuple(contracts)
    _, found = msgspec.json.schema_components(wanted, ref_template=ref_template)
    for schema in found.values():
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    for struct in _structs(msgspec.inspect.multi_type_info(wanted)):
        for field in struct.fields:
            if isinstance(field.type, msgspec.inspect.DateTimeType):
                found[struct.cls.__name__]["properties"][field.encode_name]["format"] = "date-time"
    return {name: found[name] for name in sorted(found)}


def contract_schema(contract: type[msgspec.Struct]) -> Json:
    """Return the schema of the JSON records of one topic, or of the manifest file."""
    definitions = components([contract], "#/$defs/{name}")
    body = definitions.pop(contract.__name__)
    example = msgspec.to_builtins(examples.CONTRACTS[contract], builtin_types=())
    return _with_definitions(_head(file_stem(contract)) | body | {"examples": [example]}, definitions)


def envelope_schema(name: str) -> Json:
    """Return the schema of a CloudEvent in structured mode whose `type` is `name`."""
    payload = PAYLOADS[name]
    definitions = components([payload], "#/$defs/{name}")
    example = examples.envelope(name, examples.PAYLOADS[name])
    body = envelope_body(name, {"$ref": f"#/$defs/{payload.__name__}"}) | {"examples": [example]}
    return _with_definitions(_head(name) | body, definitions)


def envelope_body(name: str, data: Json) -> Json:
    """Return CloudEvents 1.0's own attributes, of type `name`, around `data`.

    Narrower than what is read: Headrace skips extension attributes of any form.
    """
    encoded = {"type": "string", "contentEncoding": "base64", "description": "`data` as JSON in base64."}
    return {
        "title": name,
        "description": f"A CloudEvents 1.0 event of type `{name}` in structured mode.",
        "type": "object",
        "properties": {
            "specversion": {"const": "1.0"},
            **attributes(name),
            "data": data,
            "data_base64": encoded,
        },
        "required": ["specversion", "id", "source", "type"],
        "oneOf": [{"required": ["data"]}, {"required": ["data_base64"]}],
        "propertyNames": {"pattern": "^[a-z0-9_]+$"},
        "additionalProperties": {
            "description": "An extension attribute.",
            "type": ["string", "integer", "boolean"],
        },
    }


def attributes(name: str) -> dict[str, Json]:
    """Return the schemas of the context attributes that Headrace reads."""
    identifier = {"type": "string", "minLength": 1, "maxLength": MAX_NAME_BYTES}
    optional = {"type": ["string", "null"], "maxLength": MAX_NAME_BYTES}
    moment = {"type": ["string", "number", "null"], "maxLength": MAX_NAME_BYTES}
    return {
        "id": {**identifier, "description": "Unique per source: a repetition is a duplicate."},
        "source": {**identifier, "description": "Who publishes; also the record's key."},
        "type": {"const": name},
        "time": {**moment, "description": "When it happened, in RFC 3339; the arrival counts when absent."},
        "stream": {**optional, "description": "The stream, where several are of this kind."},
        "subject": {**optional, "description": "What the event is about, within its source."},
        "datacontenttype": {"type": "string", "description": "`application/json`, also when absent."},
        "dataschema": {"type": "string", "description": "This schema's identifier; not read."},
    }


def config_schema() -> Json:
    """Return the schema of `headrace.toml`, for editors that check TOML while one writes."""
    schema = _durations(Headrace.model_json_schema(mode="validation"))
    definitions = schema.pop("$defs")
    return _with_definitions(_head("headrace.toml") | schema, dict(sorted(definitions.items())))


def draft_07(schema: Any) -> Any:
    """Return a schema with tuples in the words of draft 7, which AsyncAPI's own schemas are written in."""
    if isinstance(schema, list):
        return [draft_07(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    renamed = {key: draft_07(value) for key, value in schema.items()}
    if "prefixItems" in renamed:
        renamed["additionalItems"] = renamed.pop("items", True)
        renamed["items"] = renamed.pop("prefixItems")
    return renamed


def _head(name: str) -> Json:
    return {"$schema": DIALECT, "$id": f"urn:headrace:schema:{name}"}


def _with_definitions(schema: Json, definitions: dict[str, Json]) -> Json:
    """Put the definitions last, where a reader expects them; leave them out when there are none."""
    return schema | {"$defs": definitions} if definitions else schema


def _durations(schema: Any) -> Any:
    """Allow text such as `7d` wherever a positive duration is asked for.

    pydantic describes what a duration becomes, seconds, and leaves its own `gt` in the schema.
    """
    if isinstance(schema, list):
        return [_durations(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    walked = {key: _durations(value) for key, value in schema.items()}
    if "gt" not in walked or walked.get("type") != "number":
        return walked
    number = {"type": "number", "exclusiveMinimum": walked.pop("gt")}
    number |= {key: walked.pop(key) for key in ("maximum",) if key in walked}
    del walked["type"]
    return walked | {"anyOf": [number, {"type": "string", "pattern": _DURATION}]}


def _structs(types: Iterable[Any]) -> Iterator[msgspec.inspect.StructType]:
    """Yield the structs among `types` and inside them."""
    for found in types:
        if isinstance(found, msgspec.inspect.StructType):
            yield found
            yield from _structs(field.type for field in found.fields)
        elif isinstance(found, msgspec.inspect.UnionType):
            yield from _structs(found.types)
        elif isinstance(found, msgspec.inspect.VarTupleType):
            yield from _structs([found.item_type])
