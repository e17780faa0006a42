"""Certificates for ``localhost`` and 127.0.0.1, or other names."""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec


def make(folder, names=('localhost', '127.0.0.1'), issuer=None, expired=False, file='cert'):
    """:param issuer: (str, str), files that sign it; else it signs itself.

    :param expired: bool, whether it was good until yesterday.
    :param file: str, names the files.
    :returns: (str, str), files with certificate and key.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f'{names[0]} {file}')])
    by, by_key = _read(*issuer) if issuer else (name, key)
    now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=3 if expired else 0)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(list(map(_subject, names))), critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(by_key, hashes.SHA256())
    )
    paths = folder / f'{file}.pem', folder / f'{file}-key.pem'
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return tuple(map(str, paths))


def _read(certificate, key):
    with open(certificate, 'rb') as file:
        name = x509.load_pem_x509_certificate(file.read()).subject
    with open(key, 'rb') as file:
        return name, serialization.load_pem_private_key(file.read(), None)


def _subject(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
