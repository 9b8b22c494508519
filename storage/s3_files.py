"""Files in an S3-compatible bucket. Needs the extra `s3` (obstore)."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from obstore.exceptions import AlreadyExistsError
from obstore.store import S3Store

from storage.files import FileLost, FilesSettings, checked_key, intact, key_of

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config  # they exist for the type checker only

# A turn waits for its file: short enough to fail while the rep still looks, long enough for a 20 MB upload.
_CONNECT = timedelta(seconds=5)
_ONE_REQUEST = timedelta(seconds=30)
_ALL_TRIES = timedelta(seconds=60)


class S3Files:
    """One object a file, named by its key under the prefix. The bucket must exist."""

    def __init__(self, settings: FilesSettings) -> None:
        config: S3Config = {"region": settings.region}
        if settings.endpoint:
            config["endpoint"] = settings.endpoint
            host = urlsplit(settings.endpoint).hostname or ""
            config["virtual_hosted_style_request"] = host.startswith(f"{settings.bucket}.")
        if settings.access_key:
            config["access_key_id"] = settings.access_key
            config["secret_access_key"] = settings.secret_key
        client: ClientConfig = {
            "allow_http": settings.endpoint.startswith("http://"),
            "connect_timeout": _CONNECT,
            "timeout": _ONE_REQUEST,
        }
        retry: RetryConfig = {"max_retries": 3, "retry_timeout": _ALL_TRIES}
        self._store = S3Store(
            settings.bucket,
            prefix=settings.prefix or None,
            config=config,
            client_options=client,
            retry_config=retry,
        )

    def put(self, data: bytes) -> str:
        key = key_of(data)
        try:
            self._store.put(key, data, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return key  # the name is made of the content, so what is there is the same
        return key

    def get(self, key: str) -> bytes:
        try:
            found = self._store.get(checked_key(key))
        except FileNotFoundError:
            raise FileLost(key) from None
        return intact(key, bytes(found.bytes()))

    def exists(self, key: str) -> bool:
        try:
            self._store.head(checked_key(key))
        except FileNotFoundError:
            return False
        return True

    def path_or_none(self, key: str) -> Path | None:
        checked_key(key)
        return None
