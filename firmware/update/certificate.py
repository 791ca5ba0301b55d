"""The certificate of a box: made by itself at its first start, and known to a laptop from pairing on."""

from __future__ import annotations

import datetime
import hashlib
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ..atomic import Outputs

# A box may not know the time at its first start; and nobody renews what a laptop has pinned.
VALID_FROM = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
VALID_TO = datetime.datetime(2099, 12, 31, tzinfo=datetime.UTC)


def tls_context(folder: Path, box_id: str) -> tuple[ssl.SSLContext, str]:
    """Return the server's context and the SHA-256 of its certificate, which is made where there is none.

    Raises
    ------
    EvenhandError
        When the folder takes no certificate.
    """
    certificate, key = folder / "box.pem", folder / "box.key"
    if not (certificate.exists() and key.exists()):
        _make(certificate, key, box_id)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text(encoding="ascii"))
    return context, hashlib.sha256(der).hexdigest()


def _make(certificate: Path, key: Path, box_id: str) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"evenhand-{box_id}")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(VALID_FROM)
        .not_valid_after(VALID_TO)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"evenhand-{box_id}.local")]), critical=False)
        .sign(private, hashes.SHA256())
    )
    form = serialization.Encoding.PEM
    with Outputs() as outputs:
        outputs.stage(certificate).write_bytes(made.public_bytes(form))  # renamed last: where it is, the key is
        part = outputs.stage(key)
        part.chmod(0o600)
        part.write_bytes(private.private_bytes(form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        outputs.commit()
