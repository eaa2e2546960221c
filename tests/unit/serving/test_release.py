"""Release folders: only what was announced, byte for byte, is ever opened."""

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas import codec
from schemas.release import Manifest, Release, Task
from serving.release import BadRelease, model_bytes, open_release
from tests.unit.serving.releases import folder_of, lay_out, reseal, seal, sensor


def manifest_of(release: Release) -> Manifest:
    """Read a release's manifest."""
    return codec.decode((folder_of(release) / "manifest.json").read_bytes(), Manifest)


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """A sound release in a folder whose URI needs quoting."""
    return lay_out(tmp_path / "with space", sensor(1, Task.CLASSIFICATION), model="host", version=1)


def test_a_sound_release_opens_with_the_bytes_that_were_hashed(release: Release) -> None:
    """Graph and golden answers come as bytes whose digests are the manifest's."""
    opened = open_release(release)
    files = opened.manifest.files
    assert hashlib.sha256(opened.graph).hexdigest() == files["model.fp32.onnx"]
    assert hashlib.sha256(opened.golden).hexdigest() == files["golden.json"]
    assert model_bytes(release) == len(opened.graph)


def test_another_manifest_than_announced_is_refused(release: Release) -> None:
    """A changed manifest has another sha256."""
    path = folder_of(release) / "manifest.json"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(BadRelease, match=r"manifest\.json: its sha256"):
        open_release(release)


@pytest.mark.parametrize("name", ["model.fp32.onnx", "golden.json"])
def test_a_flipped_bit_is_refused(release: Release, name: str) -> None:
    """Each file is hashed, the message names the one that differs."""
    path = folder_of(release) / name
    payload = bytearray(path.read_bytes())
    payload[len(payload) // 2] ^= 1
    path.write_bytes(payload)
    with pytest.raises(BadRelease, match=name):
        open_release(release)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/../../secret", "a\\b", "", "a\0b"])
def test_a_path_out_of_the_folder_is_refused(release: Release, name: str) -> None:
    """A manifest cannot make serving read another file, whatever its digest."""
    manifest = manifest_of(release)
    (folder_of(release).parent / "secret").write_bytes(b"secret")
    files = {**manifest.files, name: hashlib.sha256(b"secret").hexdigest()}
    with pytest.raises(BadRelease, match="out of the release folder"):
        open_release(seal(folder_of(release), msgspec.structs.replace(manifest, files=files)))


def test_a_link_is_refused(release: Release, tmp_path: Path) -> None:
    """Neither a link out of the folder nor one within it is followed."""
    outside = tmp_path / "outside"
    outside.write_bytes(b"x")
    (folder_of(release) / "link").symlink_to(outside)
    (folder_of(release) / "inner").symlink_to("golden.json")
    manifest = manifest_of(release)
    for name, payload in (("link", b"x"), ("inner", (folder_of(release) / "golden.json").read_bytes())):
        files = {**manifest.files, name: hashlib.sha256(payload).hexdigest()}
        with pytest.raises(BadRelease, match=name):
            open_release(seal(folder_of(release), msgspec.structs.replace(manifest, files=files)))


def test_a_missing_file_and_a_folder_in_its_place_are_refused(release: Release) -> None:
    """What cannot be read as a regular file is named."""
    (folder_of(release) / "golden.json").unlink()
    with pytest.raises(BadRelease, match=r"golden\.json: cannot be read"):
        open_release(release)
    (folder_of(release) / "golden.json").mkdir()
    with pytest.raises(BadRelease, match=r"golden\.json"):
        open_release(release)


def test_a_file_over_the_bound_is_refused(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes are bounded before anything is read into memory."""
    monkeypatch.setattr("serving.release.MAX_FILE_BYTES", 10)
    with pytest.raises(BadRelease, match="larger than 10 bytes"):
        open_release(release)


@pytest.mark.parametrize(
    "uri",
    ["https://example.org/x", "file://elsewhere/x", "file:///nowhere/at/all", "file:///a/../b", "x"],
)
def test_only_folders_of_this_host_are_opened(release: Release, uri: str) -> None:
    """A URI names an existing folder on this host's file system, without detours."""
    with pytest.raises(BadRelease, match="uri"):
        open_release(msgspec.structs.replace(release, uri=uri))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"version": 9}, "version"),
        ({"family": "image"}, "family"),
        ({"serve": "fp16"}, "serve"),
        ({"labels": ("one",)}, "labels"),
        ({"labels": ("one", "one", "two")}, "labels"),
        ({"features": ()}, "features"),
        ({"variants": {"fp32": "model.other.onnx"}}, "model.other.onnx"),
        ({"schema_version": 2}, "schema_version"),
        ({"family": "text", "max_tokens": 48}, r"tokenizer\.json"),
        ({"golden": "known.json"}, r"known\.json"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    release: Release, changes: dict[str, Any], named: str
) -> None:
    """The message names the field at fault."""
    changed = seal(folder_of(release), msgspec.structs.replace(manifest_of(release), **changes))
    with pytest.raises(BadRelease, match=named):
        open_release(msgspec.structs.replace(changed, version=release.version))


def test_an_unknown_task_is_refused(release: Release) -> None:
    """A task that this version of serving does not know is named as the manifest's fault."""
    path = folder_of(release) / "manifest.json"
    payload = path.read_bytes().replace(b'"classification"', b'"divination"')
    path.write_bytes(payload)
    forged = msgspec.structs.replace(release, sha256=hashlib.sha256(payload).hexdigest())
    with pytest.raises(BadRelease, match="task"):
        open_release(forged)


def test_a_resealed_file_opens(release: Release) -> None:
    """The tests' own way to plant a fault keeps the digests right."""
    assert open_release(reseal(release, "golden.json", b"{}")).golden == b"{}"
