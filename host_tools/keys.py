"""Keys that bundles are signed with: an authority that boxes trust, and a signer that is soon over.

Fit for development and small fleets. Keys of releases belong on a token; RAUC takes PKCS#11 addresses in their place.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .errors import HostError
from .files import replaced

AUTHORITY_DAYS = 3650
SIGNER_DAYS = 90
EARLY = datetime.timedelta(days=1)  # a box's clock may be behind the laptop's


@dataclass(frozen=True, kw_only=True)
class KeyFolder:
    """``ca.pem``, ``ca.key``, ``signer.pem`` and ``signer.key``."""

    folder: Path

    @property
    def authority(self) -> Path:
        """The certificate that goes into images as the keyring."""
        return self.folder / "ca.pem"

    @property
    def signer(self) -> Path:
        """The certificate that signs."""
        return self.folder / "signer.pem"

    def make(self, name: str, days: int) -> None:
        """Make an authority and its first signer.

        Raises
        ------
        HostError
            When there are keys already: boxes that trust them would take nothing signed by new ones.
        """
        if self.authority.exists() or (self.folder / "ca.key").exists():
            raise HostError(f"{self.folder}: has an authority already; `evenhand keys renew` makes a new signer of it")
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise HostError(f"{self.folder}: {error.strerror}; name another folder") from None
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(f"{name} authority")
        certificate = (
            _begun(subject, subject, key.public_key(), AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(is_authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        _write(self.folder / "ca", certificate, key)
        self.renew(name, days)

    def renew(self, name: str, days: int) -> None:
        """Make a signer that is good for ``days``, in place of the one before."""
        try:
            authority = x509.load_pem_x509_certificate(self.authority.read_bytes())
            held = serialization.load_pem_private_key((self.folder / "ca.key").read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise HostError(f"{self.folder}: no authority to sign with ({error}); `evenhand keys make`") from None
        if not isinstance(held, ec.EllipticCurvePrivateKey):
            raise HostError(f"{self.folder}: ca.key is of another kind; make new keys in another folder")
        key = ec.generate_private_key(ec.SECP256R1())
        purposes = [ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.EMAIL_PROTECTION]
        certificate = (
            _begun(_name(f"{name} signer"), authority.subject, key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(is_authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(held.public_key()), critical=False)
            .sign(held, hashes.SHA256())
        )
        _write(self.folder / "signer", certificate, key)

    def dates(self) -> dict[str, str]:
        """Return until when each certificate is good."""
        told = {}
        for path in (self.authority, self.signer):
            try:
                certificate = x509.load_pem_x509_certificate(path.read_bytes())
            except (OSError, ValueError) as error:
                raise HostError(f"{path}: {error}; `evenhand keys make`") from None
            told[path.name] = certificate.not_valid_after_utc.strftime("%Y-%m-%d")
        return told


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _begun(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key)
        .serial_number(x509.random_serial_number()).not_valid_before(now - EARLY)
        .not_valid_after(now + datetime.timedelta(days=days))
    )  # fmt: skip


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority, key_cert_sign=is_authority, crl_sign=is_authority,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _write(stem: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    form = serialization.Encoding.PEM
    with replaced(stem.with_suffix(".key"), mode=0o600) as file:
        file.write(key.private_bytes(form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    with replaced(stem.with_suffix(".pem")) as file:
        file.write(certificate.public_bytes(form))
