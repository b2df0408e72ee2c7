"""The checks of `penchant doctor`: one file for each part, each returns findings."""
