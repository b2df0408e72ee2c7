"""Redis behind TLS."""

import asyncio
import ipaddress
import ssl
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from redis.asyncio import Redis

from core import clock
from db.cache import connect_redis
from db.redis_client import ask

TIMEOUT = 20.0  # seconds


async def test_a_url_of_tls_is_read_and_written_through_tls(redis_url: str, redis: Redis, tmp_path: Path) -> None:
    certificate, context = _certificate(tmp_path)
    parts = urlsplit(redis_url)
    pumps = set[asyncio.Task[None]]()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, back = await asyncio.open_connection(parts.hostname, parts.port)

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(65_536):
                target.write(data)
            target.close()

        pumps.update({asyncio.create_task(pump(reader, back)), asyncio.create_task(pump(onward, writer))})

    server = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    url = redis_url.replace("redis://", "rediss://").replace(f":{parts.port}", f":{port}")
    await redis.set("large", b"x" * 500_000)
    async with connect_redis(f"{url}?ssl_ca_certs={certificate}", TIMEOUT) as client:
        found = await asyncio.gather(*(ask(client, ("ECHO", n), ("GET", "large")) for n in range(20)))
        assert [(int(number), len(large)) for number, large in found] == [(n, 500_000) for n in range(20)]
    server.close()
    await asyncio.wait(pumps)


def _certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate of 127.0.0.1 and a server's context with it."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string("CN=127.0.0.1")
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(clock.now() - timedelta(days=1))
        .not_valid_after(clock.now() + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private)
    return certificate, context
