"""What the bot does when something happens. Knows no chat library, no SQL and no channel by name."""
