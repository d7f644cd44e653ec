"""The contents of a certificate, for people and for programs."""

from __future__ import annotations

import datetime
import hashlib
from typing import Any

from cryptography import x509


def describe(der: bytes) -> dict[str, Any]:
    """Return the contents of the X.509 certificate `der`, verified or not.

    `subject` and `issuer` are distinguished names (RFC 4514), `names` the host names and addresses it is for
    (RFC 5280 4.2.1.6; empty without any), `not_after` the end of its validity in UTC (ISO 8601), `days_left`
    the whole days until then, negative once that has passed, and `sha256` its fingerprint, in hexadecimal.

    ValueError for a malformed certificate.
    """
    try:
        found = x509.load_der_x509_certificate(der)
        subject, issuer = found.subject.rfc4514_string(), found.issuer.rfc4514_string()
        try:
            alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            names = [name.value for name in alternatives if isinstance(name, x509.DNSName)]
            names += [str(name.value) for name in alternatives if isinstance(name, x509.IPAddress)]
        except x509.ExtensionNotFound:
            names = []
        end = found.not_valid_after_utc
    except (ValueError, x509.DuplicateExtension) as error:
        raise ValueError(f"the certificate cannot be read: {error}") from error
    return {
        "subject": subject,
        "names": names,
        "issuer": issuer,
        "not_after": end.isoformat().replace("+00:00", "Z"),
        "days_left": (end - datetime.datetime.now(datetime.UTC)).days,
        "sha256": hashlib.sha256(der).hexdigest(),
    }
