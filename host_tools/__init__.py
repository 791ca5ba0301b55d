"""The laptop command: what an installer holds in the hand."""
