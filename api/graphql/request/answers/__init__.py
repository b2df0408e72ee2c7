"""What is sent for a result: its status and its JSON, and who may keep it."""
