"""A self-upgrade system for a self-hosted service, in one file."""
