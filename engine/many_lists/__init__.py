"""Lists for many people at once: streamed, or written to files by a job."""
