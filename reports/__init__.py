"""Figures into tables: what a manager reads. It looks things up and decides nothing."""
