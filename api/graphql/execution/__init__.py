"""Runs valid operations: graphql-core's executor with a fast path whose answers are the same."""
