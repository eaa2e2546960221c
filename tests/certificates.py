"""Certificates of tests: an authority of their own, and what it issues for this machine's address."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM


class Authority:
    """Issues certificates for 127.0.0.1 and localhost; `ca` is the file by which clients know it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of tests")])
        self.ca = folder / "ca.pem"
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        certificate = self._builder(self._name, self._key).add_extension(constraints, critical=True)
        self.ca.write_bytes(certificate.sign(self._key, hashes.SHA256()).public_bytes(_PEM))

    def issue(self, name: str) -> bytes:
        """Write `cert.pem` and `key.pem` anew; return the certificate's DER."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        hosts = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        builder = self._builder(subject, key).add_extension(
            x509.SubjectAlternativeName(hosts), critical=False
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        secret = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.key.touch(0o600)
        self.key.write_bytes(secret)
        self.cert.write_bytes(certificate.public_bytes(_PEM))
        return certificate.public_bytes(serialization.Encoding.DER)

    @property
    def cert(self) -> Path:
        """Return where the issued certificate lies."""
        return self._folder / "cert.pem"

    @property
    def key(self) -> Path:
        """Return where its key lies."""
        return self._folder / "key.pem"

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(hours=1))
        )
