"""Message formats: trace lines, delivery reports, the chart as a table. Pure functions."""
