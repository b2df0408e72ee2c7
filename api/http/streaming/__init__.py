"""Answers that go on: bounds of all streams of a process, and server-sent events."""
