"""Files that settings name: passwords and certificates beside the configuration."""

from __future__ import annotations

from pathlib import Path

from lanpost.app.settings import Settings
from lanpost.errors import ConfigurationError


def beside_configuration(settings: Settings, name: str) -> Path:
    """The file of that name: a relative path starts at the configuration file's folder."""
    return (settings.file.parent if settings.file else Path()) / Path(name).expanduser()


def read_secret(settings: Settings, key: str, name: str) -> str:
    """The first line of a file with a password in it. Raises ConfigurationError, which names the setting `key`."""
    lines = read_beside(settings, key, name).splitlines()
    if not lines or not lines[0]:
        path = beside_configuration(settings, name)
        raise ConfigurationError(f'{key} = "{name}": {path} is empty; write the password into its first line')
    return lines[0]


def read_beside(settings: Settings, key: str, name: str) -> str:
    """The text of a file that the setting `key` names. Raises ConfigurationError."""
    path = beside_configuration(settings, name)
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(f'{key} = "{name}": {path} cannot be read: {reason}') from None
