"""AWS Signature Version 4, by botocore's signer.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html (read 2026-11). The signature covers method, path,
host, time and body, so it is made for each request, and again for each attempt.
"""

from __future__ import annotations

from gateway.errors import GatewayError
from gateway.upstream.credentials.credentials import HeaderLines

_ADDED = ("authorization", "x-amz-date", "x-amz-security-token")


class SigV4Credentials:
    """Signs with fixed keys. `session_token` goes with temporary ones; `service` is the name that AWS signs by."""

    def __init__(
        self,
        access_key_id: str,
        secret_access_key: str,
        session_token: str | None = None,
        *,
        region: str,
        service: str = "bedrock",
    ) -> None:
        """Raises upstream_auth where botocore is not installed, or a key or the region is empty."""
        for what, value in (("access key", access_key_id), ("secret key", secret_access_key), ("region", region)):
            if not value:
                raise GatewayError("upstream_auth", f"To sign requests for AWS a {what} is needed.")
        try:
            from botocore.auth import SigV4Auth
            from botocore.awsrequest import AWSRequest
            from botocore.credentials import ReadOnlyCredentials
        except ImportError:
            raise GatewayError(
                "upstream_auth", "To sign requests for AWS botocore is needed: install kubechat-gateway[bedrock]."
            ) from None
        self._make_request = AWSRequest
        keys = ReadOnlyCredentials(access_key_id, secret_access_key, session_token or None)
        self._signer = SigV4Auth(keys, service, region)

    async def headers(self, method: str, url_path: str, host: str, body: bytes) -> HeaderLines:
        """`authorization`, `x-amz-date` and, with temporary keys, `x-amz-security-token`."""
        request = self._make_request(method=method, url=f"https://{host}{url_path}", data=body, headers={"Host": host})
        try:
            self._signer.add_auth(request)
            return [
                (name.encode(), value.encode("ascii"))
                for name in _ADDED
                if (value := request.headers.get(name)) is not None
            ]
        except Exception as error:  # the signer's own errors have no base, and may quote what they were given
            reason = type(error).__name__
            raise GatewayError("upstream_auth", f"The request to {host} could not be signed ({reason}).") from None
