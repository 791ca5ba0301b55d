"""Who may talk to this box: a code is shown on it once, a laptop that knows it is given a token of its own.

The code never travels. Both sides stretch it with scrypt over the certificate that they see, so somebody in between,
who must show another certificate, learns nothing to try codes on cheaply and cannot pass on what he hears. Of a token
only its SHA-256 is kept here.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..atomic import Outputs
from .keep import read_json, write_json
from .refusal import Refusal

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: nothing that is mistaken for something else
CODE_LENGTH = 8  # 40 bits
# RFC 7914; 16 MiB and some 50 ms of a Raspberry Pi's core, once a try.
SCRYPT = {"n": 1 << 14, "r": 8, "p": 1, "dklen": 32}
MAX_FAILURES = 5  # then a pause:
PAUSE_S = 60.0
MAX_TOKENS = 32
MAX_NAME_LENGTH = 64
NONCE_LENGTH = 32  # characters, hexadecimal


@dataclass(frozen=True, kw_only=True)
class Paired:
    """A laptop that may talk to this box."""

    name: str
    token_id: str


def key_of(code: str, fingerprint: str, nonce: str) -> bytes:
    """Return what both sides know when code and certificate are the same."""
    salt = f"evenhand-pairing-1:{fingerprint}:{nonce}".encode()
    return hashlib.scrypt(normal(code).encode(), salt=salt, **SCRYPT)


def proof(key: bytes, side: str, text: str = "") -> str:
    """Return what shows that ``side`` knows the key."""
    return hmac.new(key, f"{side}:{text}".encode(), hashlib.sha256).hexdigest()


def normal(code: str) -> str:
    """Return a code as it is meant, however it was typed."""
    swapped = code.upper().translate(str.maketrans("OIL", "011"))
    return "".join(c for c in swapped if c in ALPHABET)


class Pairing:
    """Code and tokens of a box.

    Parameters
    ----------
    folder
        Where they are kept; ``pairing-code`` in it can be read by who stands in front of the box.
    seeded_code
        What the code is at the very first start, or None for one by chance.
    clock
        Seconds that only grow.
    """

    def __init__(self, folder: Path, seeded_code: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._code_path, self._tokens_path = folder / "pairing-code", folder / "tokens.json"
        self._clock = clock
        self._tokens: list[dict[str, Any]] = [
            t
            for t in read_json(self._tokens_path).get("tokens", [])
            if isinstance(t, dict) and {"name", "sha256"} <= t.keys()
        ]
        self._n_failures, self._paused_until_s = 0, 0.0
        if len(self.code) != CODE_LENGTH:
            is_first = not self._tokens
            self._show(seeded_code if seeded_code and is_first else _new_code())

    @property
    def code(self) -> str:
        """The code of today, without its dash."""
        try:
            return normal(self._code_path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return ""

    @property
    def shown_code(self) -> str:
        """The code as it is shown."""
        return f"{self.code[:4]}-{self.code[4:]}"

    @property
    def names(self) -> list[str]:
        """The laptops that are paired."""
        return [str(t["name"]) for t in self._tokens]

    def pair(self, request: dict[str, Any], fingerprint: str) -> dict[str, str]:
        """Return a token for who proves to know the code; from then on the code is another one. Takes a while.

        Raises
        ------
        Refusal
            When it is not proven, or was tried too often.
        """
        name, nonce, shown = (request.get(key) for key in ("name", "nonce", "proof"))
        if not (isinstance(name, str) and 0 < len(name) <= MAX_NAME_LENGTH and name.isprintable()):
            raise Refusal(400, f"name: the laptop's, at most {MAX_NAME_LENGTH} characters")
        if not (isinstance(nonce, str) and len(nonce) == NONCE_LENGTH and isinstance(shown, str)):
            raise Refusal(400, f"nonce: {NONCE_LENGTH} characters; proof: a text")
        left_s = self._paused_until_s - self._clock()
        if left_s > 0:
            raise Refusal(429, f"{MAX_FAILURES} wrong codes in a row; try again in {left_s:.0f} s", retry_s=left_s)
        key = key_of(self.code, fingerprint, nonce)
        if not hmac.compare_digest(proof(key, "laptop"), shown.encode("ascii", "replace").decode()):
            self._n_failures += 1
            if self._n_failures >= MAX_FAILURES:
                self._n_failures, self._paused_until_s = 0, self._clock() + PAUSE_S
            raise Refusal(403, "wrong pairing code; it is shown on the box, and on `evenhand pair --show` elsewhere")
        if len(self._tokens) >= MAX_TOKENS:
            raise Refusal(409, f"{MAX_TOKENS} laptops are paired already; let one of them go: `evenhand pair --forget`")
        token = secrets.token_urlsafe(32)
        self._keep([*self._tokens, {"name": name, "sha256": _digest(token)}])
        self._n_failures = 0
        self._show(_new_code())
        return {"token": token, "proof": proof(key, "box", token)}

    def who(self, token: str) -> Paired | None:
        """Return whose token it is; every one is compared, whichever fits."""
        digest, found = _digest(token), None
        for kept in self._tokens:
            if hmac.compare_digest(digest, str(kept["sha256"])):
                found = Paired(name=str(kept["name"]), token_id=digest[:16])
        return found

    def forget(self, token: str) -> None:
        """Let the laptop of this token go."""
        self._keep([t for t in self._tokens if not hmac.compare_digest(_digest(token), str(t["sha256"]))])

    def _keep(self, tokens: list[dict[str, Any]]) -> None:
        write_json(self._tokens_path, {"tokens": tokens})
        self._tokens = tokens

    def _show(self, code: str) -> None:
        with Outputs() as outputs:
            part = outputs.stage(self._code_path)
            part.chmod(0o640)
            part.write_text(f"{normal(code)[:4]}-{normal(code)[4:]}\n", encoding="ascii")
            outputs.commit()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _new_code() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))
