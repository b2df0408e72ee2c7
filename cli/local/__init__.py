"""A whole Penchant on one machine, as `penchant up` and `penchant demo` run it."""
