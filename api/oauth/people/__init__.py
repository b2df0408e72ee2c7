"""People: their accounts and sessions, and the pages where they sign in, allow a client and sign out."""
