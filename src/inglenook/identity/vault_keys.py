"""The key material of a new account's vault, made on the server when no browser made it (spec/03 §4.3 step 6).

Strings in the form that password managers of the Bitwarden family read: `2.<iv>|<ciphertext>|<mac>`, AES-256-CBC
with HMAC-SHA256. The server keeps them and never opens them again.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives import padding, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from inglenook.environment import Randomness


@dataclass(frozen=True, slots=True)
class VaultKeys:
    """The vault's symmetric key under the passphrase, the public key, and the private key under the symmetric key."""

    key: str
    public_key: str
    private_key: str


async def make_vault_keys(master_key: bytes, random: Randomness) -> VaultKeys:
    """Fresh keys; `master_key` has 32 bytes (`passphrase_hash.master_key`)."""
    symmetric = random.bytes(64)
    return await asyncio.to_thread(_make, master_key, symmetric, random.bytes(16), random.bytes(16))


def _make(master_key: bytes, symmetric: bytes, iv_of_key: bytes, iv_of_private: bytes) -> VaultKeys:
    pair = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = pair.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = pair.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    stretched = HKDFExpand(SHA256(), 32, b"enc").derive(master_key) + HKDFExpand(SHA256(), 32, b"mac").derive(
        master_key
    )
    return VaultKeys(
        key=_sealed(stretched, iv_of_key, symmetric),
        public_key=base64.b64encode(public).decode(),
        private_key=_sealed(symmetric, iv_of_private, private),
    )


def _sealed(key: bytes, iv: bytes, data: bytes) -> str:
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key[:32]), modes.CBC(iv)).encryptor()
    ciphertext = encryptor.update(padder.update(data) + padder.finalize()) + encryptor.finalize()
    mac = hmac.digest(key[32:], iv + ciphertext, hashlib.sha256)
    return "2." + "|".join(base64.b64encode(part).decode() for part in (iv, ciphertext, mac))
