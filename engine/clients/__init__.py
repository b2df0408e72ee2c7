"""OAuth clients are created and changed here, each change with its entry in the audit trail."""
