"""The slow rules: each module is one law, vectorised over channels, with its own period and its own reasons."""
