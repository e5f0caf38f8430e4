"""Tests against real CLIs and the fake provider that answers them."""
