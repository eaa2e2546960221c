"""The gateway's certificate: its files in, what REST and gRPC shake hands by out.

A renewed certificate serves the handshakes from then on; connections that are open keep theirs.
"""

import os
import ssl
from pathlib import Path
from typing import Final

import grpc
from cryptography import x509

from infra.runtime import metrics
from infra.runtime.hot import Watched
from infra.runtime.log import get_logger
from schemas.errors import Fatal
from schemas.gateway import Tls

NAME: Final = "gateway.tls"
_log = get_logger(__name__)


class Certificate:
    """The certificate of one gateway, TLS 1.2 or newer.

    Raises:
        Fatal: a file cannot be read or does not fit the other, or everybody can read the key.
    """

    def __init__(self, section: Tls) -> None:
        self._cert, self._key = Path(section.cert), Path(section.key)
        self._files = [Watched(self._cert), Watched(self._key)]
        self._changed()
        self.context, self._grpc, self.expires = self._loaded()
        metrics.set_settings_valid(NAME, valid=True)

    @classmethod
    def of(cls, section: Tls) -> "Certificate | None":
        """Return the certificate that a section names; None without one."""
        return cls(section) if section.cert else None

    def poll(self) -> str | None:
        """Look at the files once; return what to tell if they are new.

        Both are written one after the other: a pair that does not fit is looked at again.

        Raises:
            Fatal: they are new and wrong; the certificate from before serves on.
        """
        if not self._changed():
            return None
        try:
            _, self._grpc, self.expires = self._loaded()
            self.context.load_cert_chain(self._cert, self._key)
        except (Fatal, OSError, ssl.SSLError) as error:
            metrics.set_settings_valid(NAME, valid=False)
            raise Fatal(str(error)) from error
        metrics.set_settings_valid(NAME, valid=True)
        _log.info("certificate.renewed", expires=self.expires)
        return f"it holds until {self.expires}"

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Return gRPC's credentials, which ask for the newest certificate at each handshake."""
        return grpc.dynamic_ssl_server_credentials(
            self._grpc, lambda: self._grpc, require_client_authentication=False
        )

    def _changed(self) -> bool:
        new = [file.changed() for file in self._files]  # both are looked at
        return any(content is not None for content in new)

    def _loaded(self) -> tuple[ssl.SSLContext, grpc.ServerCertificateConfiguration, str]:
        """Read both files; they are tried on a context of their own, for a pair that fails spoils it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            with self._key.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o007:
                    raise Fatal(f"{NAME}.key: everybody can read {self._key}; run: chmod o= {self._key}")
                key = file.read()
            chain = self._cert.read_bytes()
            context.load_cert_chain(self._cert, self._key)
            expires = x509.load_pem_x509_certificate(chain).not_valid_after_utc.isoformat()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise Fatal(
                f"{NAME}: {self._cert} and {self._key} are no certificate and its key: {error}"
            ) from error
        return context, grpc.ssl_server_certificate_configuration([(key, chain)]), expires
