"""Faults on purpose: kills, stops, broken disks and hostile agents, and what must hold all the same."""
