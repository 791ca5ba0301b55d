"""The verbs of ``evenhand``, a file each."""
