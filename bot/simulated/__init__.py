"""A made-up firm of any size whose every number follows from a seed, so that what the bot must find in it is known."""
