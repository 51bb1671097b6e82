"""One HTML page with everything that people would rather look at than read."""

from catalog.report.page import write_report as write_report
