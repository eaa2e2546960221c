"""The image and the manifest for Kubernetes: valid for the operator, and agreeing with what runs locally."""

import re
from typing import Any

import jsonschema
import pytest
import yaml

from infra.flink.bridge import RELEASE, SOURCES
from infra.flink.cluster import RECOVERY
from infra.flink.jars import FLINK_VERSION, KAFKA_CONNECTOR
from infra.flink.jobs import MODULES
from infra.flink.layout import COLLECTOR, STATE
from infra.flink.package import closure, module_path, root
from tests.kubernetes import deployment_schema

FOLDER = root() / "infra" / "k8s" / "flink"


@pytest.fixture
def manifest() -> dict[str, Any]:
    """The manifest of the cleaning job."""
    found: dict[str, Any] = yaml.safe_load((FOLDER / "clean.yaml").read_text(encoding="utf-8"))
    return found


@pytest.fixture
def dockerfile() -> str:
    """The recipe of the image."""
    return (FOLDER / "Dockerfile").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The operator's schema, which every field that it does not name breaks."""
    return deployment_schema()


def test_the_manifest_is_valid_for_the_operator(manifest: dict[str, Any], schema: dict[str, Any]) -> None:
    """Every field is one that the CRD knows, with its type and choices.

    But for Flink's own version: the operators that know 2.x have published no such document.
    """
    found = list(jsonschema.Draft202012Validator(schema).iter_errors(manifest))
    assert [error.json_path for error in found] == ["$.spec.flinkVersion"]
    assert manifest["spec"]["flinkVersion"] == "v2_2"
    manifest["spec"]["flinkVersion"] = "v1_20"
    jsonschema.Draft202012Validator(schema).validate(manifest)


def test_a_misspelt_field_is_found(manifest: dict[str, Any], schema: dict[str, Any]) -> None:
    """The check itself works, as deep as the pod's template."""
    manifest["spec"]["job"]["upgradMode"] = manifest["spec"]["job"].pop("upgradeMode")
    container = manifest["spec"]["podTemplate"]["spec"]["containers"][0]
    container["volumeMount"] = container.pop("volumeMounts")
    told = str(list(jsonschema.Draft202012Validator(schema).iter_errors(manifest)))
    assert "upgradMode" in told
    assert "volumeMount'" in told


def test_it_recovers_as_the_local_cluster_does(manifest: dict[str, Any]) -> None:
    """State, heartbeats and restarts are set alike; only the store of the jobs is Kubernetes' own."""
    told = manifest["spec"]["flinkConfiguration"]
    alike = {**STATE, **COLLECTOR, **RECOVERY}
    assert {key: told.get(key) for key in alike} == alike
    assert told["high-availability.type"] == "kubernetes"


def test_the_job_is_one_of_ours_and_all_its_tasks_have_a_slot(manifest: dict[str, Any]) -> None:
    """The client runs a module that is there, with the parallelism that the operator counts with."""
    job = manifest["spec"]["job"]
    module = job["args"][job["args"].index("-pym") + 1]
    assert module in MODULES.values()
    assert module_path(root(), module) is not None
    assert int(job["args"][job["args"].index("--parallelism") + 1]) == job["parallelism"]
    assert FLINK_VERSION in job["jarURI"]


def test_the_image_holds_the_pinned_jars_and_flink(dockerfile: str) -> None:
    """The recipe moves with the pins of the local cluster."""
    assert f"FROM flink:{FLINK_VERSION}-" in dockerfile
    assert f"{KAFKA_CONNECTOR.sha256} /jars/lib/{KAFKA_CONNECTOR.name}" in dockerfile
    assert f"COPY {SOURCES.relative_to(root())} /java" in dockerfile
    assert f"javac --release {RELEASE}" in dockerfile


def test_the_image_holds_the_code_of_every_job(dockerfile: str) -> None:
    """What a job imports lies in a folder that is copied, and what is copied is there."""
    copied = [
        root() / source for source in re.findall(r"^COPY (\S+) /opt/headrace/code/", dockerfile, re.MULTILINE)
    ]
    assert copied
    assert all(path.exists() for path in copied)
    modules = [module for module in MODULES.values() if module_path(root(), module)]
    for path in closure(modules, root()).values():
        assert any(source in (path, *path.parents) for source in copied), path


def test_no_part_that_serves_or_learns_is_needed() -> None:
    """The image leaves torch and its kin out: no job may come to import what needs them."""
    modules = [module for module in MODULES.values() if module_path(root(), module)]
    packages = {name.split(".", maxsplit=1)[0] for name in closure(modules, root())}
    assert packages <= {"schemas", "streams", "infra"}
