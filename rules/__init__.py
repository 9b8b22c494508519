"""The business, pure: standard library only, no clock, no file, no setting; `now` is always an argument."""
