"""The commands of `penchant`, one file each: read the options, call what does the work, print the result."""
