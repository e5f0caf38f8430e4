"""Backups of a state directory: one file each, with checksums."""

from tidegate.backup.manifest import Manifest
from tidegate.backup.reading import unpack
from tidegate.backup.saving import default, name, save
from tidegate.backup.writing import Wanted, write

__all__ = ["Manifest", "Wanted", "default", "name", "save", "unpack", "write"]
