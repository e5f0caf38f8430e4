"""Tests against a real systemd, booted for them in namespaces."""
