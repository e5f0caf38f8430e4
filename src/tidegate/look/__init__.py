"""The verbs that only look: `status`, `list`, `show`, `logs`, `events`, `accounts`.

They open the store for short reads, write nothing, and import neither a loop nor the settings.
"""
