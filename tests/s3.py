"""An S3-compatible server for tests: S3Proxy, which keeps each object as a file and checks signatures."""

import http.client
import subprocess
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.local.jars import JarSet, ensure_jars
from infra.local.ports import LOOPBACK, lease_port
from tests.waiting import eventually

HERE = Path(__file__).parent / "s3proxy"
S3PROXY = JarSet("S3Proxy 4.1.0", "s3proxy-4.1.0", HERE)
BUCKET = "models"


class S3Server:
    """A server with one bucket; `stop` and `start` take it away and bring it back, on the same port."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "objects"
        (self.folder / BUCKET).mkdir(parents=True)
        self._lease = lease_port()
        self._properties = home / "s3proxy.properties"
        self._log = home / "s3proxy.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint = f"http://{LOOPBACK}:{self._lease.port}"
        self.environment = {"AWS_ACCESS_KEY_ID": "headrace", "AWS_SECRET_ACCESS_KEY": "of-this-test-alone"}
        lines = {
            "s3proxy.endpoint": self.endpoint,
            "s3proxy.authorization": "aws-v4",
            "s3proxy.identity": self.environment["AWS_ACCESS_KEY_ID"],
            "s3proxy.credential": self.environment["AWS_SECRET_ACCESS_KEY"],
            "jclouds.provider": "filesystem-nio2",
            "jclouds.filesystem.basedir": str(self.folder),
            "jclouds.identity": "unused",
            "jclouds.credential": "unused",
        }
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))

    def section(self, prefix: str = "releases") -> str:
        """Return the part of a `headrace.toml` that names this store."""
        return f'[releases]\nurl = "s3://{BUCKET}/{prefix}"\nendpoint = "{self.endpoint}"\ntimeout = "5s"\n'

    def objects(self, prefix: str = "releases") -> Path:
        """Return the folder that has a prefix's objects as files."""
        return self.folder / BUCKET / prefix

    def start(self) -> None:
        """Start it and wait until it answers."""
        jars = ensure_jars(jars=S3PROXY)
        argv = ["java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        argv += [f"-Dlogback.configurationFile={HERE / 'logback.xml'}", "-cp", f"{jars}/*"]
        argv += ["org.gaul.s3proxy.Main", "--properties", str(self._properties)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log)
        eventually(self._answers, 30.0, 0.05)

    def stop(self) -> None:
        """Stop it; what it keeps stays."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._lease.release()

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, self._lease.port, timeout=0.5)
        with closing(connection), suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/")
            return connection.getresponse().status == 403
        return False
