"""Pictures for pages that a server makes itself."""
