"""What songs are like, so that those are mixed that go together: tempo and key."""
