"""A keyring in a file of the test's, in place of a desktop's: `PYTHON_KEYRING_BACKEND` names it, the library uses it."""

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend


class Keyring(KeyringBackend):  # type: ignore[misc,unused-ignore]  # where the library is absent
    """Keeps what it is given where HEDGEROW_TEST_KEYRING says, and complains if there is no such variable."""

    priority = 1.0

    @property
    def _path(self) -> Path:
        return Path(os.environ["HEDGEROW_TEST_KEYRING"])

    def _known(self) -> dict[str, str]:
        return dict(json.loads(self._path.read_text())) if self._path.exists() else {}

    def get_password(self, service: str, username: str) -> str | None:
        return self._known().get(f"{service} {username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self._path.write_text(json.dumps({**self._known(), f"{service} {username}": password}))

    def delete_password(self, service: str, username: str) -> None:
        known = self._known()
        del known[f"{service} {username}"]
        self._path.write_text(json.dumps(known))


class PlaintextKeyring(Keyring):
    """Like the one of that name that writes passwords down as they are."""
