"""What stands between a test and a box: power, serial line, boot ROM."""
