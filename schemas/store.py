"""The `[releases]` section of `headrace.toml`: where the trainer leaves them, and where serving gets them.

Credentials are in none of its keys: they come from the environment or from a file that only its owner reads.
"""

import re
from typing import Final, Self

from pydantic import Field, model_validator

from schemas.section import Duration, Section

_URL: Final = re.compile(
    r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?P<prefix>(/[A-Za-z0-9._=-]+)*)/?"
)


class ReleaseStore(Section):
    """A folder of this machine (`url` empty), or an S3-compatible store, `s3://bucket/prefix`.

    `endpoint` is the address of a store that is not AWS' own (MinIO, Ceph, R2, …); its buckets are then named
    in the path. `timeout` bounds one request, so the transfer of one file. Serving keeps what it fetched, up
    to `cache_bytes`; what it serves is never removed.

    `credentials_file` has AWS' form, with `aws_access_key_id` and `aws_secret_access_key` under `profile`;
    without it AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY count, and on AWS the machine's own role.
    """

    url: str = ""
    endpoint: str = Field(default="", pattern=r"^(https?://[^\s/?#@]+)?$")
    region: str = Field(default="us-east-1", pattern=r"^[A-Za-z0-9-]+$")
    credentials_file: str = ""
    profile: str = "default"
    timeout: Duration = 120.0
    cache_bytes: int = Field(default=4 * 1024**3, ge=1024**2)

    @property
    def bucket(self) -> str:
        """Return the bucket's name, empty for a folder."""
        match = _URL.fullmatch(self.url)
        return match["bucket"] if match else ""

    @property
    def prefix(self) -> str:
        """Return what the names of all objects begin with, without slashes at its ends."""
        match = _URL.fullmatch(self.url)
        return match["prefix"].strip("/") if match else ""

    @model_validator(mode="after")
    def _is_a_bucket(self) -> Self:
        parts = self.prefix.split("/")
        if self.url and (not self.bucket or "." in parts or ".." in parts):
            raise ValueError(
                f"{self.url!r} is no store; write s3://BUCKET/PREFIX, or nothing for the data folder"
            )
        if not self.url and (self.endpoint or self.credentials_file):
            raise ValueError("`endpoint` and `credentials_file` are of a store; name it in `url`")
        return self
