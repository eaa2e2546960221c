"""Jars that Flink's pip package lacks: consumes the pinned ``pom.xml``, produces verified files."""

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.local.errors import StackError
from infra.local.jars import cache_folder

FLINK_VERSION: Final = "2.3.0"
_POM: Final = Path(__file__).with_name("pom.xml")


@dataclass(frozen=True)
class Jar:
    """One artifact of the pom; `sha256` is that of the published file."""

    artifact: str
    version: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.artifact}-{self.version}.jar"


KAFKA_CONNECTOR: Final = Jar(
    "flink-sql-connector-kafka",
    "5.0.0-2.2",
    "5605c691d11a501382c383fecba37a7a552467da5ab7ba904ef5d6f3d62c5616",
)
"""Built for Flink 2.2, works with 2.3, which has no build of its own yet."""

SQL_GATEWAY: Final = Jar(
    "flink-sql-gateway", FLINK_VERSION, "aad296a152dc367ddd70727f5a57dd61958cff3d8dceb1f947bf8d9705c8d724"
)
"""The SQL client's other half."""

JARS: Final[Mapping[str, Jar]] = {jar.artifact: jar for jar in (KAFKA_CONNECTOR, SQL_GATEWAY)}


def jars_folder() -> Path:
    """Return where the jars lie once fetched."""
    return cache_folder() / f"flink-{FLINK_VERSION}"


def ensure_jar(jar: Jar, progress: Callable[[str], None] = lambda _line: None) -> Path:
    """Return a jar's verified file, fetched with Maven first where it is not there.

    Raises:
        StackError: Maven is missing or failed, or the file is not the checked one.
    """
    path = jars_folder() / jar.name
    if not path.exists():
        if shutil.which("mvn") is None:
            raise StackError(f"{jar.name} is not there and Maven is missing: apt-get install -y maven")
        progress(f"fetching {jar.name} (once)")
        _fetch(jar, path)
    if _sha256(path) != jar.sha256:
        raise StackError(f"{path} has another sha256 than the checked one: delete it")
    return path


def _fetch(jar: Jar, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".jar-", dir=path.parent) as scratch:
        argv = ["mvn", "--quiet", "--batch-mode", "-Dstyle.color=never", "--file", str(_POM)]
        argv += ["dependency:copy-dependencies", "-DexcludeTransitive=true"]
        argv += [f"-DincludeArtifactIds={jar.artifact}", f"-DoutputDirectory={scratch}"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StackError(f"Maven could not bring {jar.name}:\n" + (done.stdout + done.stderr)[-1500:])
        (Path(scratch) / jar.name).replace(path)  # whole or not at all, beside another fetch too


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
