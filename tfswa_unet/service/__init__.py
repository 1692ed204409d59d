"""A service that separates songs: jobs that survive a restart, streams, and a page, in one command."""
