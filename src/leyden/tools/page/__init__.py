"""The parts of the HTML page that `leyden.tools.report_page` writes."""
