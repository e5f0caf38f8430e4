"""Every verb by its name, in the order in which the help lists them."""

from __future__ import annotations

from tidegate.cli.verbs import keeping, looking, steering, working

VERBS = working.VERBS | looking.VERBS | steering.VERBS | keeping.VERBS
