"""Shared by all and kept tiny: settings, the clock, logs, the event contract, the root of the error tree."""
