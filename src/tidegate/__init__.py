"""tidegate runs coding agents unattended and waits out their usage limits."""

__version__ = "0.1.0"
