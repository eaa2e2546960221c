"""One AsyncAPI 3.0 document of every topic, made from `schemas.topics` and the contracts.

Consumes the topics' table; `schemas.publish` writes the result to `schemas/catalog/asyncapi.json`.
"""

from typing import Any, Final

import msgspec

from schemas import examples
from schemas.jsonschemas import CONTRACTS, PAYLOADS, Json, attributes, components, draft_07, envelope_body
from schemas.topics import LABELS, RAW, TOPICS, Topic

_REFERENCE: Final = "#/components/schemas/{name}"
_KAFKA: Final = "0.5.0"  # version of the Kafka bindings' own specification
_RECEIVED: Final = (RAW, LABELS)


def document() -> Json:
    """Return the AsyncAPI document: what Headrace receives and sends, topic by topic."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Headrace",
            "version": "1.0.0",
            "description": "Event streams that keep machine-learning models in step with what they judge. "
            "Names are those without the installation's `topic_prefix`. Records are JSON in UTF-8; those of "
            "one transaction appear together to readers with `isolation.level=read_committed`.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": {
                "host": "127.0.0.1:9092",
                "protocol": "kafka",
                "description": "The local stack; `headrace status` prints the address in use.",
            }
        },
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": {_operation_name(topic): _operation(topic) for topic in TOPICS},
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def _channel(topic: Topic) -> Json:
    configuration: Json = {"cleanup.policy": ["compact" if topic.compacted else "delete"]}
    if not topic.compacted:
        configuration["retention.ms"] = topic.retention_ms
    configuration["max.message.bytes"] = int(topic.config()["max.message.bytes"])
    return {
        "address": topic.name,
        "title": topic.name,
        "description": f"{topic.description[0].upper()}{topic.description[1:]}. Keyed by: {topic.key}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _message_names(topic)},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "replicas": 1,
                "topicConfiguration": configuration,
                "bindingVersion": _KAFKA,
            }
        },
    }


def _operation_name(topic: Topic) -> str:
    return f"{'receive' if topic in _RECEIVED else 'send'}.{topic.name}"


def _operation(topic: Topic) -> Json:
    return {
        "action": "receive" if topic in _RECEIVED else "send",
        "channel": {"$ref": f"#/channels/{topic.name}"},
        "summary": topic.description,
        "messages": [{"$ref": f"#/channels/{topic.name}/messages/{name}"} for name in _message_names(topic)],
    }


def _message_names(topic: Topic) -> list[str]:
    if topic == RAW:
        return [*PAYLOADS, *(f"{name}.binary" for name in PAYLOADS)]
    return [topic.contract.__name__ if topic.contract else topic.name]


def _messages() -> dict[str, Json]:
    """Return every message: two forms of each raw event, one of each contract, and the opaque ones."""
    found: dict[str, Json] = {}
    for name in PAYLOADS:
        found[name] = _structured(name)
        found[f"{name}.binary"] = _binary(name)
    for topic in TOPICS:
        if topic.contract is not None:
            found[topic.contract.__name__] = _message(topic, topic.contract)
        elif topic != RAW:
            found[topic.name] = {
                "name": topic.name,
                "title": topic.name,
                "summary": f"{topic.description}; private to the cleaning stage",
                "contentType": "application/octet-stream",
                "payload": {"type": "string", "format": "binary"},
            }
    return found


def _message(topic: Topic, contract: type[msgspec.Struct]) -> Json:
    payload = msgspec.to_builtins(examples.CONTRACTS[contract])
    return {
        "name": contract.__name__,
        "title": contract.__name__,
        "summary": topic.description,
        "contentType": "application/json",
        "payload": {"$ref": _REFERENCE.format(name=contract.__name__)},
        "examples": [{"name": "one", "payload": payload}],
        "bindings": _key(topic),
    }


def _structured(name: str) -> Json:
    return {
        "name": name,
        "title": f"{name}, structured mode",
        "summary": "one CloudEvent as one JSON object",
        "contentType": "application/cloudevents+json",
        "payload": {"$ref": _REFERENCE.format(name=name)},
        "examples": [{"name": "one", "payload": examples.envelope(name, examples.PAYLOADS[name])}],
        "bindings": _key(RAW),
    }


def _binary(name: str) -> Json:
    """Describe CloudEvents' binary mode: attributes in `ce_` headers, the payload alone in the value."""
    payload = PAYLOADS[name]
    headers: dict[str, Any] = {"ce_specversion": {"const": "1.0"}}
    headers |= {f"ce_{key}": value for key, value in attributes(name).items() if key != "datacontenttype"}
    event = examples.envelope(name, examples.PAYLOADS[name])
    shown = {f"ce_{key}": value for key, value in event.items() if key not in {"data", "datacontenttype"}}
    return {
        "name": f"{name}.binary",
        "title": f"{name}, binary mode",
        "summary": "one CloudEvent with its attributes in the record's headers",
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "properties": headers | {"content-type": {"const": "application/json"}},
            "required": ["ce_specversion", "ce_id", "ce_source", "ce_type"],
        },
        "payload": {"$ref": _REFERENCE.format(name=payload.__name__)},
        "examples": [{"name": "one", "headers": shown, "payload": event["data"]}],
        "bindings": _key(RAW),
    }


def _key(topic: Topic) -> Json:
    key = {"type": "string", "description": f"the record's {topic.key}, as UTF-8"}
    return {"kafka": {"key": key, "bindingVersion": _KAFKA}}


def _schemas() -> dict[str, Json]:
    topical = [contract for contract in CONTRACTS if any(topic.contract is contract for topic in TOPICS)]
    found = components([*topical, *PAYLOADS.values()], _REFERENCE)
    for name, payload in PAYLOADS.items():
        found[name] = envelope_body(name, {"$ref": _REFERENCE.format(name=payload.__name__)})
    schemas: dict[str, Json] = draft_07(found)
    return schemas
