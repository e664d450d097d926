"""From evidence to structured messages; chat templates as data."""
