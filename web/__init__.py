"""Pages on the firm's own machine: the local chat for reps, the day for managers, and the login to both."""
