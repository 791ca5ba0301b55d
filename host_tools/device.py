"""A box over the network: HTTPS to the certificate that was seen when pairing, and to no other."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from .boxes import PairedBox
from .errors import BoxAbsentError, HostError, RefusedError
from .interrupt import heed

PORT = 4717
CONNECT_S = 5.0
CABLE_CONNECT_S = 45.0  # a handshake over a serial cable takes its time, and the cable may be out just now
ANSWER_S = 90.0  # RAUC looks through a bundle, an SD card syncs
# What both sides of pairing agree on; firmware/update/pairing.py says why.
SCRYPT = {"n": 1 << 14, "r": 8, "p": 1, "dklen": 32}
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_LENGTH = 8


class Device:
    """One box. A context manager.

    Parameters
    ----------
    host, port
        Where it is.
    fingerprint
        SHA-256 of the certificate it must show.
    token
        What it knows us by; without one it only says hello.
    connect_s
        How long a handshake may take.
    """

    def __init__(
        self, host: str, port: int, fingerprint: str, token: str | None = None, connect_s: float = CONNECT_S
    ) -> None:
        self.host, self.port, self._connect_s = host, port, connect_s
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._pool = urllib3.HTTPSConnectionPool(
            host, port, maxsize=1, cert_reqs="CERT_NONE", assert_hostname=False, assert_fingerprint=fingerprint,
            timeout=urllib3.Timeout(connect=connect_s, read=ANSWER_S), retries=False,
        )  # fmt: skip

    @classmethod
    def of(cls, box: PairedBox) -> Self:
        """Return a paired box."""
        connect_s = CABLE_CONNECT_S if box.is_cabled else CONNECT_S
        return cls(box.host, box.port, box.fingerprint, box.token, connect_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.close()

    def get(self, *path: str, **query: Any) -> dict[str, Any]:
        """Return an object of the box."""
        return self._object("GET", path, query=query)

    def post(self, *path: str, **value: Any) -> dict[str, Any]:
        """Ask the box to do something."""
        return self._object("POST", path, json.dumps(value).encode())

    def send(self, method: str, *path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> dict[str, Any]:
        """Send bytes, and return what the box says to them."""
        return self._object(method, path, body, headers)

    @contextmanager
    def reading(
        self, *path: str, headers: dict[str, str] | None = None, **query: Any
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """Yield an answer whose bytes have not been read yet."""
        with self._trouble_told():
            response = self._ask("GET", path, None, headers, query)
            try:
                if response.status >= 400:
                    raise self._refusal(response)
                yield response
            finally:
                response.close()  # what was not read would be taken for the next answer

    def read(self, *path: str, **query: Any) -> bytes:
        """Return the bytes of an answer."""
        with self.reading(*path, **query) as response:
            return response.read()

    # ----------------------------------------------------------------------------------------------------- within

    def _object(
        self, method: str, path: tuple[str, ...], body: bytes | None = None, headers: dict[str, str] | None = None,
        query: dict[str, Any] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        with self._trouble_told():
            response = self._ask(method, path, body, headers, query)
            with suppress(ValueError):
                if response.status < 400 and isinstance(value := json.loads(response.read()), dict):
                    return value
            raise self._refusal(response)

    def _ask(
        self, method: str, path: tuple[str, ...], body: bytes | None, headers: dict[str, str] | None,
        query: dict[str, Any] | None,
    ) -> urllib3.BaseHTTPResponse:  # fmt: skip
        heed()
        target = "/v1/" + "/".join(quote(part, safe="") for part in path)
        target += f"?{urlencode(query)}" if query else ""
        return self._pool.urlopen(
            method, target, body=body, headers={**self._headers, **(headers or {})}, preload_content=False
        )

    def _refusal(self, response: urllib3.BaseHTTPResponse) -> HostError:
        try:
            told = json.loads(response.read(1 << 20) if not response.closed else b"")
            reason, facts = str(told.pop("error")), told
        except (ValueError, KeyError, AttributeError, TypeError):
            reason, facts = "says what cannot be read; is it an Evenhand box?", {}
        return RefusedError(f"{self.host}: {reason}", response.status, facts)

    @contextmanager
    def _trouble_told(self) -> Iterator[None]:
        place = f"{self.host}:{self.port}"
        try:
            yield
        except NameResolutionError:
            raise BoxAbsentError(
                f"{self.host}: no such host; is it on this network? `evenhand discover` looks"
            ) from None
        except NewConnectionError as error:
            raise BoxAbsentError(f"{place}: {_reason(error)}; is the box on, and on this network?") from None
        except ConnectTimeoutError:
            raise BoxAbsentError(
                f"{place}: no answer in {self._connect_s:.0f} s; is the box on, and on this network?"
            ) from None
        except SSLError as error:
            if "ingerprint" in str(error):
                raise HostError(
                    f"{place}: shows another certificate than when it was paired; if it was set up anew, pair again, "
                    "else somebody is in between"
                ) from None
            raise BoxAbsentError(f"{place}: no TLS ({_reason(error)}); is it an Evenhand box?") from None
        except ReadTimeoutError:  # in the handshake too
            raise BoxAbsentError(f"{place}: no answer in time; try again") from None
        except (HTTPError, OSError) as error:
            raise BoxAbsentError(f"{place}: the connection broke ({_reason(error)}); try again") from None


def _reason(error: BaseException) -> str:
    inner = error
    while (deeper := inner.__cause__ or inner.__context__) is not None:
        inner = deeper
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return str(error.args[-1] if error.args else error)[:120]


# ------------------------------------------------------------------------------------------------------------ pairing


def seen_fingerprint(host: str, port: int, connect_s: float = CONNECT_S) -> str:
    """Return the SHA-256 of the certificate that is shown there now.

    Raises
    ------
    BoxAbsentError
        When nothing answers.
    """
    try:
        pem = ssl.get_server_certificate((host, port), timeout=connect_s)
    except socket.gaierror:
        raise BoxAbsentError(f"{host}: no such host; is it on this network? `evenhand discover` looks") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "no answer"
        raise BoxAbsentError(f"{host}:{port}: {reason}; is the box on, and on this network?") from None
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def pair(host: str, port: int, code: str, laptop: str, connect_s: float = CONNECT_S) -> PairedBox:
    """Prove to the box that we know its code, have it prove the same, and return how it is reached from now on.

    Raises
    ------
    HostError
        When either proof fails.
    """
    typed = "".join(c for c in code.upper().translate(str.maketrans("OIL", "011")) if c in ALPHABET)
    if len(typed) != CODE_LENGTH:
        raise HostError(f"{code!r} is no pairing code: {CODE_LENGTH} letters and digits, as ABCD-1234")
    fingerprint, nonce = seen_fingerprint(host, port, connect_s), secrets.token_hex(16)
    salt = f"evenhand-pairing-1:{fingerprint}:{nonce}".encode()
    key = hashlib.scrypt(typed.encode(), salt=salt, **SCRYPT)
    with Device(host, port, fingerprint, connect_s=connect_s) as device:
        given = device.post("pair", name=laptop, nonce=nonce, proof=_proof(key, "laptop"))
    token = str(given.get("token", ""))
    if not hmac.compare_digest(_proof(key, f"box:{token}", ends=""), str(given.get("proof", ""))):
        raise HostError(f"{host}: does not know its own pairing code; somebody else answers in its place")
    return PairedBox(
        box_id=str(given["id"]), name=str(given["name"]), board=str(given["board"]), host=host, port=port,
        fingerprint=fingerprint, token=token,
    )  # fmt: skip


def _proof(key: bytes, side: str, ends: str = ":") -> str:
    return hmac.new(key, f"{side}{ends}".encode(), hashlib.sha256).hexdigest()


def split_address(text: str) -> tuple[str, int]:
    """Return host and port of ``host``, ``host:port`` or ``[address]:port``.

    Raises
    ------
    HostError
        When the port is none.
    """
    host, port = text, ""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, port = text.split(":")
    if not host or (port and not (port.isdecimal() and 0 < int(port) < 65536)):
        raise HostError(f"{text!r} is no address: host, host:port or [IPv6 address]:port")
    return host, int(port or PORT)
