"""What an identifier names, at a glance: a document for JSON, or a page of text."""

from catalog.show.identifier import describe as describe
from catalog.show.page import page as page
