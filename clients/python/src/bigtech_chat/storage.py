"""Where a client keeps its session and its outbox between two runs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Protocol


class Storage(Protocol):
    """Texts by key. A program can bring its own, such as a keyring or a database."""

    def load(self, key: str) -> str | None:
        """The text of the key, None if there is none."""

    def save(self, key: str, text: str | None) -> None:
        """Replaces the text of the key; None deletes it."""


class MemoryStorage:
    """Keeps texts for as long as the process runs."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def load(self, key: str) -> str | None:
        return self._texts.get(key)

    def save(self, key: str, text: str | None) -> None:
        if text is None:
            self._texts.pop(key, None)
        else:
            self._texts[key] = text


class FileStorage:
    """Keeps each text in a file of its own, which only the user of the process can read.

    A file is replaced as a whole, so that a process that ends in the middle leaves the previous text.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def load(self, key: str) -> str | None:
        try:
            return (self._folder / f"{key}.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def save(self, key: str, text: str | None) -> None:
        path = self._folder / f"{key}.json"
        if text is None:
            path.unlink(missing_ok=True)
            return
        # `mkstemp` creates the file with the permissions 0600.
        descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=f"{key}.")
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
