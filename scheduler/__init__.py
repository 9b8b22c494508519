"""Time passes: a few fixed ticks, and the worker of slow jobs. Sends nothing; everything it does ends as rows."""
