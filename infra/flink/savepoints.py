"""What a savepoint says about Kafka: consumes its path, produces the next offset of each partition read.

Flink commits a group's offsets only to be seen, and not always the last ones of a job that stops. The truth
is in the state of the Kafka source, which Flink's own classes read here, in a JVM that lives as long.
"""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from aiokafka import TopicPartition

from infra.flink.errors import FlinkError
from infra.flink.layout import flink_package, require_java

_STATE: Final = "SourceReaderState"
"""Flink's name of a source's state: a list of its splits, each behind its length, version and length."""

_VERSION: Final = 0


def source_positions(path: str) -> dict[TopicPartition, int]:
    """Return the next offset of each partition that the job had read of; one it had not is left out.

    Raises:
        FlinkError: it cannot be read from here, holds no Kafka source, or one of a form not known.
        StackError: Flink or Java is not installed here.
    """
    from py4j.protocol import Py4JError

    with _flink() as jvm:
        try:
            splits = [split for handle in _handles(jvm, path) for split in _elements(handle)]
        except Py4JError as error:
            told = str(getattr(error, "java_exception", error))
            raise FlinkError(f"the savepoint {path} cannot be read from here: {told}") from error
    if not splits:
        raise FlinkError(f"the savepoint {path} holds no state of a Kafka source")
    return {place: offset for place, offset in map(decoded, splits) if offset >= 0}


def decoded(element: bytes) -> tuple[TopicPartition, int]:
    """Return partition and next offset of a split as the connector writes it; negative: none was read yet.

    Raises:
        FlinkError: another version of the connector wrote it.
    """
    stream = io.BytesIO(element)
    _, version, _, length = struct.unpack(">iiih", stream.read(14))
    if version != _VERSION:
        raise FlinkError(f"the Kafka source's state is of version {version}, not {_VERSION}")
    topic = stream.read(length).decode()
    partition, offset = struct.unpack(">iq", stream.read(12))
    return TopicPartition(topic, partition), offset


@contextmanager
def _flink() -> Iterator[Any]:
    """Run a JVM with Flink's classes for the length of a block."""
    from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway

    require_java()
    jars = ":".join(str(jar) for jar in sorted((flink_package() / "lib").glob("*.jar")))
    port, token = launch_gateway(classpath=jars, die_on_exit=True, enable_auth=True)
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port, auth_token=token))
    try:
        yield gateway.jvm
    finally:
        gateway.shutdown()


def _handles(jvm: Any, path: str) -> Iterator[Any]:
    """Yield what each task of each operator kept as lists."""
    flink = jvm.org.apache.flink
    folder = flink.core.fs.Path(path)
    metadata = folder.getFileSystem().open(flink.core.fs.Path(folder, "_metadata"))
    loader = jvm.java.lang.ClassLoader.getSystemClassLoader()
    known = flink.runtime.checkpoint.Checkpoints.loadCheckpointMetadata(
        jvm.java.io.DataInputStream(metadata), loader, path
    )
    for operator in known.getOperatorStates().toArray():
        for task in operator.getStates().toArray():
            yield from task.getManagedOperatorState().toArray()


def _elements(handle: Any) -> Iterator[bytes]:
    """Yield a source's splits; nothing of other operators."""
    lists = handle.getStateNameToPartitionOffsets()
    if _STATE not in lists:
        return
    kept = bytes(handle.openInputStream().readAllBytes())
    for offset in lists[_STATE].getOffsets():
        (length,) = struct.unpack_from(">i", kept, offset)
        yield kept[offset : offset + 4 + length]
