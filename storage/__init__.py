"""The only room that knows SQL. It loads and saves plain rules objects and decides nothing."""
