"""Release folders in a real S3-compatible store: up whole or not at all, down verified or refused."""

import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from infra.runtime.object_store import MANIFEST, ObjectStore, StoreAway, StoreRefused, credentials
from infra.runtime.release_cache import ReleaseCache
from infra.runtime.releases import Releases
from infra.runtime.settings import parse
from infra.runtime.transfer import upload
from schemas import codec
from schemas.errors import Fatal
from schemas.release import Manifest, Release, State, Task
from schemas.store import ReleaseStore
from tests.s3 import S3Server
from tests.unit.serving.releases import CREATED_AT

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One server for this module; each test has a prefix of its own."""
    with S3Server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def store(server: S3Server, unique: str) -> ObjectStore:
    """A store with a prefix of its own."""
    return ObjectStore(config(server, unique), server.environment)


def config(server: S3Server, prefix: str, **more: object) -> ReleaseStore:
    """The section of `headrace.toml`."""
    return ReleaseStore(url=f"s3://models/{prefix}", endpoint=server.endpoint, timeout=5.0, **more)


def folder(root: Path, version: int, **files: bytes) -> Release:
    """A release folder with a few small files, and what announces it."""
    there = root / "shop" / str(version)
    (there / "training").mkdir(parents=True)
    contents = {"model.onnx": b"graph %d" % version, "training/rows.gz": b"rows", **files}
    for name, payload in contents.items():
        (there / name).write_bytes(payload)
    manifest = Manifest(
        model="shop", version=version, stream="shop", task=Task.ANOMALY, family="sensor", base="mlp",
        variants={"fp32": "model.onnx"}, serve="fp32", created_at=CREATED_AT,
        files={name: hashlib.sha256(payload).hexdigest() for name, payload in contents.items()},
    )  # fmt: skip
    payload = codec.encode(manifest)
    (there / MANIFEST).write_bytes(payload)
    return Release(
        model="shop", stream="shop", version=version, uri=there.as_uri(), state=State.RELEASED,
        sha256=hashlib.sha256(payload).hexdigest(), created_at=CREATED_AT,
    )  # fmt: skip


def published(root: Path, store: ObjectStore, version: int, **files: bytes) -> Release:
    """A release that lies in the store."""
    return Releases(root, store).publish(folder(root, version, **files))


def fetched(cache: ReleaseCache, release: Release) -> Path:
    """The release's folder in the cache."""
    return cache.fetched(release.uri, release.sha256, lambda: None)


def contents(there: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(file.relative_to(there)): file.read_bytes() for file in there.rglob("*") if file.is_file()}


def test_what_goes_up_comes_down(tmp_path: Path, store: ObjectStore) -> None:
    """The same bytes, under their sha256; a second time nothing is asked of the store but where it lies."""
    release = published(tmp_path / "here", store, 3, **{"big.bin": os.urandom(12_000_000)})
    assert release.uri == f"{store.root}/shop/3"
    assert store.versions() == store.versions("shop") == {"shop": [3]}
    cache = ReleaseCache(store, tmp_path / "cache", 2**30)
    there = fetched(cache, release)
    assert there.name == release.sha256
    assert contents(there) == contents(tmp_path / "here" / "shop" / "3")
    for name in store.sizes("shop/3"):
        store.delete("shop/3", name)
    assert fetched(cache, release) == there


def test_a_broken_copy_is_fetched_again(tmp_path: Path, store: ObjectStore) -> None:
    """What changed on this machine's disk is replaced from the store."""
    release = published(tmp_path / "here", store, 1)
    cache = ReleaseCache(store, tmp_path / "cache", 2**30)
    (fetched(cache, release) / "model.onnx").write_bytes(b"other")
    assert (fetched(cache, release) / "model.onnx").read_bytes() == b"graph 1"


def test_half_an_upload_is_no_release(tmp_path: Path, store: ObjectStore) -> None:
    """Without its manifest nothing is listed or fetched; the next upload completes it."""
    release = folder(tmp_path / "here", 1)
    store.put("shop/1", "model.onnx", tmp_path / "here" / "shop" / "1" / "model.onnx")
    assert store.versions() == {}
    cache = ReleaseCache(store, tmp_path / "cache", 2**30)
    located = Releases(tmp_path / "here", store).located(release)
    with pytest.raises(StoreRefused, match="not in"):
        fetched(cache, located)
    upload(store, tmp_path / "here" / "shop" / "1", "shop", 1)
    assert fetched(cache, located).is_dir()


def test_a_number_is_never_given_twice(tmp_path: Path, store: ObjectStore) -> None:
    """An upload again is harmless; another trainer's release of that number is refused."""
    release = published(tmp_path / "here", store, 1)
    assert Releases(tmp_path / "here", store).publish(release) is release
    upload(store, tmp_path / "here" / "shop" / "1", "shop", 1)
    with pytest.raises(Fatal, match="another release of that number"):
        published(tmp_path / "there", store, 1, more=b"1")
    assert fetched(ReleaseCache(store, tmp_path / "cache", 2**30), release).is_dir()


def _tampered(there: Path) -> None:
    (there / "model.onnx").write_bytes(b"evil 17")


def _missing(there: Path) -> None:
    (there / "model.onnx").unlink()


def _foreign(there: Path) -> None:
    (there / "model.onnx.data").write_bytes(b"")


def _other_manifest(there: Path) -> None:
    (there / MANIFEST).write_bytes((there / MANIFEST).read_bytes() + b" ")


def _huge_manifest(there: Path) -> None:
    (there / MANIFEST).write_bytes(b" " * 1024 * 1025)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (_tampered, "model.onnx: its sha256"),
        (_missing, "model.onnx: it is not in"),
        (_foreign, r"model.onnx.data: .* does not list"),
        (_other_manifest, "manifest.json: its sha256"),
        (_huge_manifest, "manifest.json: .* more than"),
    ],
)
def test_what_was_not_released_is_refused(
    tmp_path: Path, store: ObjectStore, server: S3Server, unique: str, harm: object, told: str
) -> None:
    """Changed, missing, added or oversized objects are refused by name, and leave nothing in the cache."""
    release = published(tmp_path / "here", store, 1)
    assert callable(harm)
    harm(server.objects(unique) / "shop" / "1")
    cache = ReleaseCache(store, tmp_path / "cache", 2**30)
    with pytest.raises(StoreRefused, match=told):
        fetched(cache, release)
    assert [path.name for path in cache.folder.iterdir()] == [".lock"]


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "a\\b", "./evil"])
def test_no_name_leads_out_of_the_folder(
    tmp_path: Path, store: ObjectStore, server: S3Server, unique: str, name: str
) -> None:
    """A manifest whose names are paths elsewhere is refused before anything is fetched."""
    release = published(tmp_path / "here", store, 1)
    path = server.objects(unique) / "shop" / "1" / MANIFEST
    manifest = codec.decode(path.read_bytes(), Manifest)
    path.write_bytes(
        codec.encode(msgspec.structs.replace(manifest, files={**manifest.files, name: "0" * 64}))
    )
    forged = msgspec.structs.replace(release, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(StoreRefused, match="leads out"):
        fetched(ReleaseCache(store, tmp_path / "cache", 2**30), forged)


@pytest.mark.parametrize(
    "where",
    [
        *("s3://other/x/shop/1", "{root}/../shop/1", "{root}/shop/1/2", "{root}x/shop/1", "file:///etc"),
        *("{root}/shop/one", "{root}//1", "{root}/../1", "{root}/shop/1?x=1", "{root}/shop/"),
    ],
)
def test_only_this_store_is_asked(tmp_path: Path, store: ObjectStore, where: str) -> None:
    """An address in another bucket, prefix or depth is refused without a request."""
    cache = ReleaseCache(store, tmp_path / "cache", 2**30)
    with pytest.raises(StoreRefused, match="uri"):
        cache.fetched(where.format(root=store.root), "0" * 64, lambda: None)


def test_the_cache_keeps_what_is_used(tmp_path: Path, store: ObjectStore) -> None:
    """Least lately used goes first; what another process of this machine holds stays, whatever comes."""
    releases = [published(tmp_path / "here", store, n, big=os.urandom(300_000)) for n in (1, 2, 3, 4, 5)]
    mine, others = (ReleaseCache(store, tmp_path / "cache", 2**20) for _ in range(2))
    first, second, third = (fetched(mine, release) for release in releases[:3])
    fetched(others, releases[0])
    mine.keep([])
    for age, path in ((30, first), (20, third), (10, second)):
        os.utime(path, (time.time() - age, time.time() - age))
    fetched(mine, releases[3])
    assert first.is_dir() and second.is_dir() and not third.exists()
    fetched(others, releases[1])
    with pytest.raises(StoreRefused, match="cache_bytes"):
        fetched(mine, releases[4])
    others.keep([])
    assert fetched(mine, releases[4]).is_dir()
    assert not first.exists()


def test_a_killed_download_leaves_nothing(tmp_path: Path, store: ObjectStore) -> None:
    """A half folder has no release's name, and the next fetch clears it away."""
    release = published(tmp_path / "here", store, 1)
    cache = ReleaseCache(store, tmp_path / "cache", 2**30)
    half = cache.folder / f".fetching-{release.sha256}-1"
    half.mkdir(parents=True)
    (half / "model.onnx").write_bytes(b"gra")
    there = fetched(cache, release)
    assert sorted(path.name for path in cache.folder.iterdir()) == sorted([".lock", there.name])


def test_a_store_that_is_away_says_so(tmp_path: Path, unique: str) -> None:
    """Nothing listens: a few tries, then an error that names address and object; it works once it is back."""
    server = S3Server(tmp_path / "s3")
    store = ObjectStore(config(server, unique), server.environment)
    with pytest.raises(StoreAway, match=f"{server.endpoint}.*shop"):
        store.sizes("shop/1")
    with server:
        published(tmp_path / "here", store, 1)
    with pytest.raises(StoreAway):
        Releases(tmp_path / "there", store).bring("shop", 1)


def test_who_may_not_come_in_is_told_without_the_key(server: S3Server, unique: str) -> None:
    """A wrong secret is told as such, and neither it nor the key's name is in the message."""
    wrong = {"AWS_ACCESS_KEY_ID": "headrace", "AWS_SECRET_ACCESS_KEY": "very-wrong"}
    with pytest.raises(StoreAway) as caught:
        ObjectStore(config(server, unique), wrong).versions()
    told = f"{caught.value!r} {caught.value.__cause__!r}"
    assert "very-wrong" not in told
    assert "SignatureDoesNotMatch" in str(caught.value) and "<" not in str(caught.value)


def test_a_machine_without_the_folder_fetches_it(tmp_path: Path, store: ObjectStore) -> None:
    """The trainer's champion and a version asked for by number come from the store, and go for good."""
    release = published(tmp_path / "here", store, 1)
    there = Releases(tmp_path / "there", store)
    assert there.near(release).uri == (tmp_path / "there" / "shop" / "1").as_uri()
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    shutil.rmtree(tmp_path / "there")
    assert there.bring("shop", 1) and there.bring("shop", 1)
    assert not there.bring("shop", 2)
    there.delete("shop", 1)
    assert there.stored() == {} and store.sizes("shop/1") == {}
    folder(tmp_path / "elsewhere", 1, other=b"1")
    with pytest.raises(Fatal, match="another release"):
        Releases(tmp_path / "elsewhere", store).near(release)


def test_without_a_store_everything_is_here(tmp_path: Path) -> None:
    """The default: a release keeps its address, and nothing is asked of anybody."""
    release = folder(tmp_path, 1)
    releases = Releases(tmp_path)
    assert (
        releases.publish(release) is releases.near(release) is releases.published_before(release) is release
    )
    assert releases.bring("shop", 1) and not releases.bring("shop", 2) and releases.stored() == {}


def test_credentials_come_from_the_environment_or_a_private_file(tmp_path: Path) -> None:
    """A file wins, must not be everybody's, and is never quoted; another's store needs one of the two."""
    path = tmp_path / "credentials"
    path.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = %s3cr3t\n[bare]\n")
    path.chmod(0o640)
    section = ReleaseStore(url="s3://models/x", endpoint="http://127.0.0.1:1", credentials_file=str(path))
    other = {"AWS_ACCESS_KEY_ID": "b", "AWS_SECRET_ACCESS_KEY": "c", "AWS_SESSION_TOKEN": "d"}
    assert credentials(section, other) == {"access_key_id": "a", "secret_access_key": "%s3cr3t"}
    assert credentials(section.model_copy(update={"credentials_file": ""}), other) == {
        "access_key_id": "b", "secret_access_key": "c", "session_token": "d",
    }  # fmt: skip
    assert credentials(ReleaseStore(url="s3://models"), {}) == {}
    with pytest.raises(Fatal, match="AWS_ACCESS_KEY_ID"):
        credentials(section.model_copy(update={"credentials_file": ""}), {})
    with pytest.raises(Fatal, match="bare"):
        credentials(section.model_copy(update={"profile": "bare"}), {})
    path.chmod(path.stat().st_mode | stat.S_IROTH)
    with pytest.raises(Fatal, match="chmod"):
        credentials(section, {})
    path.chmod(0o600)
    path.write_text("%s3cr3t")
    with pytest.raises(Fatal) as caught:
        credentials(section, {})
    assert "s3cr3t" not in repr((caught.value, caught.value.__cause__))


@pytest.mark.parametrize(
    "url", ["models", "s3:/models", "s3://M", "s3://models/../x", "http://models/x", "s3://m?x"]
)
def test_an_address_that_is_no_bucket_is_said(url: str) -> None:
    """What is no `s3://bucket/prefix` is an error of the file that names the key."""
    with pytest.raises(Fatal, match=r"releases.*no store"):
        parse(f'[streams.a]\nkind = "log"\n[releases]\nurl = "{url}"', "the test")
