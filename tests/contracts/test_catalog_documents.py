"""The checked-in catalog: current, valid in its own terms, and true of real events."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from jsonschema.exceptions import ValidationError

from schemas import examples
from schemas.jsonschemas import PAYLOADS
from schemas.publish import CATALOG, stale
from schemas.topics import TOPICS

SCHEMAS = sorted(path.name for path in CATALOG.glob("*.schema.json"))
ASYNCAPI: dict[str, Any] = json.loads((CATALOG / "asyncapi.json").read_text())


def read(name: str) -> dict[str, Any]:
    """Return a document of the catalog."""
    document: dict[str, Any] = json.loads((CATALOG / name).read_text())
    return document


def references(node: Any) -> Iterator[str]:
    """Yield every `$ref` below a node."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


def resolve(document: dict[str, Any], reference: str) -> Any:
    """Follow a reference inside a document; KeyError when it leads nowhere."""
    node: Any = document
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return node


def test_the_catalog_is_what_the_contracts_say() -> None:
    """Generating again gives the same bytes: nobody changed a contract and forgot its catalog."""
    assert stale() == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_valid_and_its_references_resolve(name: str) -> None:
    """Each file is a correct JSON Schema of the dialect that it names."""
    schema = read(name)
    Draft202012Validator.check_schema(schema)
    for reference in references(schema):
        assert isinstance(resolve(schema, reference), dict)


@pytest.mark.parametrize("name", [name for name in SCHEMAS if name != "headrace.toml.schema.json"])
def test_schema_examples_are_valid(name: str) -> None:
    """Every example that a schema shows obeys it."""
    schema = read(name)
    assert schema["examples"]
    for example in schema["examples"]:
        Draft202012Validator(schema).validate(example)


@pytest.mark.parametrize("name", list(PAYLOADS))
def test_envelope_schema_refuses_another_version(name: str) -> None:
    """An event's `type` must be the one that the schema is about."""
    event = examples.envelope(f"{name}9", examples.PAYLOADS[name])
    with pytest.raises(ValidationError, match=name):
        Draft202012Validator(read(f"{name}.schema.json")).validate(event)


def test_asyncapi_describes_every_topic_with_its_settings() -> None:
    """Each topic is a channel whose Kafka binding holds what the stack creates it with."""
    assert ASYNCAPI["asyncapi"] == "3.0.0"
    assert set(ASYNCAPI["channels"]) == {topic.name for topic in TOPICS}
    for topic in TOPICS:
        channel = ASYNCAPI["channels"][topic.name]
        kafka = channel["bindings"]["kafka"]
        assert channel["address"] == kafka["topic"] == topic.name
        assert kafka["partitions"] == topic.partitions
        for key, value in topic.config().items():
            described = kafka["topicConfiguration"][key]
            assert value == (described[0] if isinstance(described, list) else str(described))


def test_asyncapi_has_the_parts_that_the_specification_requires() -> None:
    """Its fixed fields are there; operations point at channels and at messages of those."""
    assert {"title", "version"} <= set(ASYNCAPI["info"])
    for server in ASYNCAPI["servers"].values():
        assert {"host", "protocol"} <= set(server)
    assert len(ASYNCAPI["operations"]) == len(TOPICS)
    for operation in ASYNCAPI["operations"].values():
        assert operation["action"] in {"send", "receive"}
        channel = operation["channel"]["$ref"]
        assert channel.startswith("#/channels/")
        for message in operation["messages"]:
            assert message["$ref"].startswith(f"{channel}/messages/")
    for channel in ASYNCAPI["channels"].values():
        assert channel["messages"]
        for message in channel["messages"].values():
            assert message["$ref"].startswith("#/components/messages/")


def test_asyncapi_references_resolve() -> None:
    """No reference of the document leads nowhere or out of it."""
    found = list(references(ASYNCAPI))
    assert found
    for reference in found:
        assert reference.startswith("#/")
        assert isinstance(resolve(ASYNCAPI, reference), dict)


def test_asyncapi_schemas_are_valid_and_used() -> None:
    """Every component is a correct schema and some message needs it."""
    used = {reference.rsplit("/", 1)[1] for reference in references(ASYNCAPI)}
    assert set(ASYNCAPI["components"]["schemas"]) <= used
    for schema in ASYNCAPI["components"]["schemas"].values():
        Draft7Validator.check_schema(schema)


@pytest.mark.parametrize("name", sorted(ASYNCAPI["components"]["messages"]))
def test_asyncapi_message_examples_obey_their_payload_and_headers(name: str) -> None:
    """What a reader copies out of the document is right."""
    message = ASYNCAPI["components"]["messages"][name]
    for example in message.get("examples", []):
        for part in ("payload", "headers"):
            if part in message:
                schema = {**message[part], "components": ASYNCAPI["components"]}
                Draft7Validator(inlined(schema)).validate(example[part])


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Wrap a reference, beside which draft 7 ignores everything, so that its target travels with it."""
    if "$ref" not in schema:
        return schema
    return {"allOf": [{"$ref": schema["$ref"]}], "components": schema["components"]}
